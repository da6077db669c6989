"""Reviewing: what merging a change would do, before anybody merges it. Pure, as planning is, which it does twice."""

from reconciler.review.assumed import assume
from reconciler.review.foresee import Foreseen, Side, foresee
from reconciler.review.review import EnvironmentReview, Hold, Kind, Review, Verdict, review
from reconciler.review.snapshot import Snapshot, Stop, sources_of

__all__ = [
    "EnvironmentReview",
    "Foreseen",
    "Hold",
    "Kind",
    "Review",
    "Side",
    "Snapshot",
    "Stop",
    "Verdict",
    "assume",
    "foresee",
    "review",
    "sources_of",
]
