"""The spec: files of one revision become desired state, or findings that say what to mend."""

from reconciler.spec.explain import Explained, Value, explain_folder, part_of
from reconciler.spec.local import validate_folder
from reconciler.spec.policy import MonthlyCost, bounds_cost
from reconciler.spec.reader import SpecReader

__all__ = [
    "Explained",
    "MonthlyCost",
    "SpecReader",
    "Value",
    "bounds_cost",
    "explain_folder",
    "part_of",
    "validate_folder",
]
