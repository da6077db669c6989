"""Frozen values that every stage shares: names, desired and observed state, memory, actions, plans, conditions. No I/O."""
