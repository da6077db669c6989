"""Whose the fleet is. Pure: what the claim should be, and whether the one that stands is ours."""

from reconciler.model.memory import Memory
from reconciler.model.plan import Blocked, Guard
from reconciler.ports import Claim
from reconciler.settings import Settings


def own_claim(settings: Settings, memory: Memory, account: str) -> Claim:
    """The claim as this installation would write it."""
    return Claim(
        fleet=settings.fleet,
        installation=memory.installation,
        account=account,
        region=settings.aws.region,
        repository=_without_password(settings.repository.url),
        branch=settings.repository.branch,
        path=settings.repository.path,
        applied=memory.applied,
    )


def _without_password(url: str) -> str:
    """The claim is read by everybody who may read data bags."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator and scheme != "ssh" else url


def judge(*, standing: Claim | None, own: Claim, has_fleet: bool) -> Blocked | None:
    """None: the fleet is ours, or it is free because there is none yet; otherwise nothing may be written.

    Args:
        has_fleet: a complete reading found something that carries the fleet's marks.
    """
    if standing is not None:
        differences = standing.differences(own)
    elif has_fleet:
        differences = ("nobody has claimed it, but it exists",)
    else:
        return None
    if not differences:
        return None
    return Blocked(
        guard=Guard.NOT_OWNER,
        message=f"fleet {own.fleet} is not this installation's: {'; '.join(differences)}",
        remedy="make sure that no other daemon runs for it, then: hivequeen claim --take-over",
    )
