"""What the daemon would do about a change that nobody has committed yet."""

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import foresee, screen
from reconciler.cli.foresee import Terms
from reconciler.daemon.client import ask
from reconciler.daemon.requests import AskWorld
from reconciler.errors import HivequeenError, Stalled
from reconciler.model.names import RevisionId

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.adapters.worktree import Edit
    from reconciler.cli.workplace import Workplace
    from reconciler.model.cost import Cost
    from reconciler.model.desired import Desired, Environment
    from reconciler.model.plan import Guard
    from reconciler.review import Review, Snapshot

UNBORN: Final = RevisionId("0" * 40)  # as git itself calls what is not there


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    review: "Review"
    world: str  # what it was planned against, for people
    is_priced: bool

    def is_held_by(self, guard: "Guard") -> bool:
        return any(hold.guard is guard for one in self.review.environments for hold in one.holds)


def preview(edit: "Edit", subject: str, *, before: "Desired", after: "Desired", at: "Workplace") -> Preview | None:
    """What the edit adds to what is to be done anyway. None, with a note: that cannot be told, and hinders nobody."""
    try:
        return _preview(edit, subject, before, after, at)
    except HivequeenError as trouble:
        screen.note(f"what the daemon would do is not known: {trouble.message}")
        return None


def _preview(edit: "Edit", subject: str, before: "Desired", after: "Desired", at: "Workplace") -> Preview:
    from reconciler.adapters.git_borrowed import BorrowedRepository  # noqa: PLC0415 - only where something is planned
    from reconciler.model.commits import Commit  # noqa: PLC0415 - as above
    from reconciler.review import review  # noqa: PLC0415 - as above

    seen, told = _world(at)
    with tempfile.TemporaryDirectory(prefix="hivequeen-") as scratch:
        borrowed = BorrowedRepository(at.directory, Path(scratch) / "clone.git", folder=at.clone.folder)
        try:
            if seen is not None and not foresee.is_of(borrowed, Terms(settings=at.settings, snapshot=seen)):
                seen, told = None, "the daemon follows another repository than this clone"
            terms = Terms(settings=at.settings, snapshot=seen)
            world = seen or terms.assumed(before)
            sides = foresee.Sides(borrowed, terms, folder=at.clone.folder)
            base, head = sides.of(before, world.memory), sides.of(after, world.memory)
        finally:
            borrowed.close()
    mine = Commit(revision=UNBORN, author=at.clone.email or "you", subject=subject, at=datetime.now(UTC))
    head = replace(
        head,
        desired=replace(after, revision=UNBORN),
        commit=mine,
        touched={**head.touched, edit.path: mine},
    )
    return Preview(
        review=review(base, head, world, _price(at)),
        world=told if seen is not None else f"taking what is declared to run exactly so ({told})",
        is_priced=at.price is not None,
    )


def _world(at: "Workplace") -> "tuple[Snapshot | None, str]":
    """As the daemon sees it; else as it last saw it. And what is to be said of that: without any, why there is none."""
    from reconciler.review.codec import decode  # noqa: PLC0415 - as above
    from reconciler.settings import control_of  # noqa: PLC0415 - as above

    try:
        control = control_of(at.config)
        if control is None:
            raise Stalled(f"{at.config} cannot be read")
        answered: Any = ask(control, AskWorld(), on_progress=screen.note)
        return decode(answered, file="the daemon's answer"), "as the daemon sees the world now"
    except HivequeenError as trouble:
        why = trouble.message
    try:
        kept = foresee.last_known(at.settings) if at.settings is not None else None
    except HivequeenError as trouble:
        return None, f"{why}; {trouble.message}"
    if kept is None:
        return None, why
    return kept, f"as the daemon last saw the world, at {kept.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({why})"


def _price(at: "Workplace") -> "Callable[[Environment], Cost]":
    from reconciler.model.cost import Cost  # noqa: PLC0415 - as above

    return at.price or (lambda _: Cost(unknown=("anything",)))
