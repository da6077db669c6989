"""Until when a node may take to become ready. Registration and observation must agree on it to the second."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from reconciler.model.memory import Blindness

# After a blindness nodes come back one by one, each with the pause that it makes between two tries.
CATCH_UP: Final = timedelta(minutes=5)


def deadline(
    *,
    launched_at: datetime,
    deferred_at: datetime | None,
    sighted_again_at: datetime | None,
    bootstrap_s: float,
    blindnesses: Sequence[Blindness] = (),
) -> datetime:
    """When a node that never became ready has failed.

    A blindness postpones it by as long as it lasted and at most CATCH_UP more: so that nobody fails who could not reach
    us, and that short ones which come again and again do not postpone it for ever.

    Args:
        deferred_at: the last 503 that it got from us: it waited for us, so its time begins again (NodeRecord).
        sighted_again_at: the first complete pass after a time of failed reads: nobody could have answered it (Memory).
            Its time begins again then, where nothing is known of when that time began.
        blindnesses: Memory's, in their order.
    """
    again_at = None if blindnesses else sighted_again_at
    begins_at = max(at for at in (launched_at, deferred_at, again_at) if at is not None)
    ends_at = begins_at + timedelta(seconds=bootstrap_s)
    for one in blindnesses:
        lost = one.ended_at - max(one.began_at, begins_at)
        if lost > timedelta(0) and one.began_at < ends_at:  # what has failed does not come back
            ends_at += lost + min(lost, CATCH_UP)
    return ends_at
