"""Converging: carry one environment's plan out, in its order, and say of each action how it went."""

from reconciler.converge.environment import Converger
from reconciler.converge.launch import Launcher
from reconciler.converge.setbacks import is_setback, setbacks

__all__ = ["Converger", "Launcher", "is_setback", "setbacks"]
