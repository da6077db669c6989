"""Until when a node may take to become ready. Registration and observation must agree on it to the second."""

from datetime import datetime, timedelta


def deadline(
    *, launched_at: datetime, deferred_at: datetime | None, sighted_again_at: datetime | None, bootstrap_s: float
) -> datetime:
    """When a node that never became ready has failed.

    Args:
        deferred_at: the last 503 that it got from us: it waited for us, so its time begins again (NodeRecord).
        sighted_again_at: the first complete pass after a time of failed reads: nobody could have answered it (Memory).
    """
    begins_at = max(at for at in (launched_at, deferred_at, sighted_again_at) if at is not None)
    return begins_at + timedelta(seconds=bootstrap_s)
