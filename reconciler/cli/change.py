"""What `launch`, `teardown` and `extend` share: one file of the repository changed by a commit of the person's own."""

import sys
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import typer

from reconciler.cli import render_review, screen
from reconciler.cli.screen import Format
from reconciler.errors import Stalled
from reconciler.model.names import REVISION_SHOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.adapters.worktree import Clone, Edit, Published, Snapshot
    from reconciler.cli.follow import Watch
    from reconciler.cli.preview import Preview
    from reconciler.cli.workplace import Workplace
    from reconciler.model.desired import Desired
    from reconciler.model.names import EnvironmentName

Document = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What is shown before anybody says yes."""

    name: "EnvironmentName"
    edit: "Edit"
    subject: str  # of the commit
    effects: tuple[str, ...]  # what will come of it
    preview: "Preview | None"  # what the daemon would do; None: that cannot be told
    warnings: tuple[str, ...] = ()
    check: "Callable[[Desired], None]" = field(default=lambda _: None)  # raises if the result is not what was meant
    undo: str = ""  # for people; {revision} is the commit's
    is_end: bool = False  # to wait is to wait for its absence


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the person wants it done."""

    yes: bool
    dry_run: bool
    output: Format
    watch: "Watch | None" = None

    @property
    def is_json(self) -> bool:
        return self.output is Format.JSON


def carry_out(proposal: Proposal, *, at: "Workplace", snapshot: "Snapshot", manner: Manner) -> int:
    """Show it, ask, commit and push, and wait if that is wished. The exit code.

    Raises:
        Exit: the person said no.
        Stalled: nobody is there to say yes.
    """
    proposal.check(at.declared(snapshot, proposal.edit))
    warnings = (*proposal.warnings, *at.elsewhere())
    if not manner.is_json:
        _show(proposal, warnings, at)
    published: Published | None = None
    if manner.dry_run:
        screen.note("dry run: nothing was committed")
    else:
        if manner.watch is not None:
            manner.watch.begin()
        if not manner.yes:
            _confirm(proposal, at.clone, manner)
        published = _publish(proposal, at, snapshot, manner)
    try:
        if published is None or manner.watch is None:
            return 0
        return manner.watch.until(published.revision, is_end=proposal.is_end)
    finally:  # what was committed is told, whatever becomes of the waiting
        if manner.is_json:
            screen.dump(_document(proposal, warnings, at, published, manner.watch))


def _publish(proposal: Proposal, at: "Workplace", snapshot: "Snapshot", manner: Manner) -> "Published":
    def check(newer: "Snapshot") -> None:
        proposal.check(at.declared(newer, proposal.edit))

    published = at.clone.publish(proposal.edit, onto=snapshot, message=proposal.subject, check=check)
    if not manner.is_json:
        screen.say(
            f"{proposal.subject}: {published.revision[:REVISION_SHOWN]} is on {at.clone.upstream}", style="green"
        )
    if published.to_do:
        screen.note(f"your branch and files are as they were; to have the change there: {published.to_do}")
        # Without it git refuses where anything tracked is changed; with it, what is changed comes back afterwards.
        screen.note("where you have changes that are not committed, add --autostash to the pull")
    if proposal.undo:
        screen.note(proposal.undo.format(revision=published.revision[:REVISION_SHOWN]))
    return published


def _show(proposal: Proposal, warnings: tuple[str, ...], at: "Workplace") -> None:
    edit = proposal.edit
    screen.say(_file(edit, at), style="bold")
    if edit.content is None:
        screen.say("  is deleted", style="red")
    else:
        for line in edit.content.decode().splitlines():
            screen.say(f"  {line}")
    for effect in proposal.effects:
        screen.say(effect, style="cyan")
    if proposal.preview is not None:
        render_review.preview(proposal.preview)
    for warning in warnings:
        screen.say(f"warning: {warning}", style="yellow")


def _document(
    proposal: Proposal,
    warnings: tuple[str, ...],
    at: "Workplace",
    published: "Published | None",
    watch: "Watch | None",
) -> Document:
    """`schemas/change.schema.json`."""
    from reconciler.review.document import review_document  # noqa: PLC0415 - planning only where something is planned

    content, preview = proposal.edit.content, proposal.preview
    return {
        "environment": proposal.name,
        "subject": proposal.subject,
        "file": _file(proposal.edit, at),
        "content": None if content is None else content.decode(),
        "warnings": list(warnings),
        "plan": None if preview is None else review_document(preview.review),
        "branch": at.clone.upstream,
        "revision": None if published is None else published.revision,
        "to_do": "" if published is None else published.to_do,
        "wait": None if published is None or watch is None else watch.document,
    }


def _file(edit: "Edit", at: "Workplace") -> str:
    return str(PurePosixPath(at.clone.folder) / edit.path)


def _confirm(proposal: Proposal, clone: "Clone", manner: Manner) -> None:
    if manner.is_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        why = "--format json asks nobody" if manner.is_json else "nobody is at a terminal to say yes"
        raise Stalled(f"{why}, so nothing was committed", remedy="say --yes, or --dry-run to see what it would be")
    if not typer.confirm(f"{proposal.subject}, by a commit to {clone.upstream}?"):
        screen.note("nothing was committed")
        raise typer.Exit(1)
