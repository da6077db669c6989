"""A sandbox on loopback: EC2, a Chef Server, the authority behind identity documents, and instances that really boot."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.sandbox.assembly import Sandbox

__all__ = ["Sandbox"]


def __getattr__(name: str) -> object:
    """Only who wants the whole waits for moto, which is slow to import."""
    if name == "Sandbox":
        from reconciler.sandbox.assembly import Sandbox  # noqa: PLC0415 - see above

        return Sandbox
    raise AttributeError(name)
