"""Which revision is desired: the newest one, unless history was rewritten under what was applied last."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reconciler.model.memory import Approval
from reconciler.model.names import RevisionId
from reconciler.model.plan import Blocked, Guard

Descends = Callable[[RevisionId, RevisionId], bool]  # as `Repository.descends`


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What to desire now."""

    revision: RevisionId | None  # None: only while held, where no last applied revision can be read or told
    hold: Blocked | None  # why it is not the newest
    is_new: bool  # desired, and not yet the journal's applied one


def choose(
    *,
    tip: RevisionId,
    applied: RevisionId | None,
    claimed: RevisionId | None,
    descends: Descends,
    approvals: Sequence[Approval],
) -> Followed:
    """Follow the branch to `tip` if it equals or descends from everything that is known to have been applied.

    Two witnesses tell what that was: the journal (`applied`) and the claim on the Chef server (`claimed`). A journal
    restored from a backup is older than the claim, so neither alone suffices. An installation that never applied
    anything accepts the tip; so does one whose person approved exactly this revision.

    Args:
        tip: the branch's newest revision, fetched.
        descends: must answer False, and not raise, for an ancestor that the mirror does not hold.
        approvals: those in force.
    """
    witnesses = tuple(dict.fromkeys(known for known in (applied, claimed) if known is not None))
    broken = tuple(witness for witness in witnesses if not descends(tip, witness))
    if not broken or any(approval.digest == tip for approval in approvals):
        return Followed(revision=tip, hold=None, is_new=tip != applied)
    last = _last(witnesses, descends)
    return Followed(
        revision=last,
        hold=Blocked(
            guard=Guard.HISTORY,
            message=_why(tip, broken, last, descends),
            remedy=f"hivequeen approve {tip}",
            digest=tip,
        ),
        is_new=last is not None and last != applied,
    )


def _last(witnesses: Sequence[RevisionId], descends: Descends) -> RevisionId | None:
    """The one that was applied last; None if it cannot be read, or if two lines of history leave no saying.

    A guess could move history back, and what an old revision lacks would be torn down.
    """
    if not all(_is_here(witness, descends) for witness in witnesses):
        return None
    return next((one for one in witnesses if all(descends(one, other) for other in witnesses)), None)


def _is_here(revision: RevisionId, descends: Descends) -> bool:
    return descends(revision, revision)  # an unknown ancestor is False, even of itself


def _why(tip: RevisionId, broken: Sequence[RevisionId], last: RevisionId | None, descends: Descends) -> str:
    where = ", ".join(
        f"{one[:8]}{'' if _is_here(one, descends) else ' (not in the repository any more)'}" for one in broken
    )
    kept = f"{last[:8]} stays desired" if last else "nothing changes"
    return f"the newest revision {tip[:8]} does not descend from the applied one {where}; until it is approved, {kept}"
