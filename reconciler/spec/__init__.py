"""The spec: files of one revision become desired state, or findings that say what to mend."""

from reconciler.spec.local import validate_folder
from reconciler.spec.reader import SpecReader

__all__ = ["SpecReader", "validate_folder"]
