"""`plan`: what would be done now, or what a revision would do, and what keeps it from being done."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reconciler.cli import foresee, own, render, render_review, screen
from reconciler.cli.ask import answer
from reconciler.cli.options import OneEnvironment, one_environment
from reconciler.daemon.requests import AskPlan
from reconciler.errors import Stalled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.cli.foresee import Revisions, Terms
    from reconciler.model.names import EnvironmentName
    from reconciler.model.plan import Blocked, Plan
    from reconciler.review import Foreseen, Review, Snapshot

UNKNOWN_WORLD = "nobody looked at the world, and no snapshot of it is here"


class PlanFormat(StrEnum):
    TEXT = "text"
    TABLE = "table"  # what other commands call it
    JSON = "json"
    MARKDOWN = "markdown"


def plan(
    context: typer.Context,
    environment: OneEnvironment = None,
    *,
    at: Annotated[
        str | None,
        typer.Option(metavar="REV", help="As if this revision were the newest of the branch.", show_default=False),
    ] = None,
    diff: Annotated[
        str | None,
        typer.Option(
            metavar="BASE..HEAD",
            help="What HEAD adds to BASE: what merging would do. With three dots, from where they parted.",
            show_default=False,
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", metavar="", help="Ask nobody: go by the last known world.")
    ] = False,
    snapshot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="That world, if it is not the daemon's world.json here. Implies --offline.",
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="Whose prices --diff reckons with; else the daemon's.", show_default=False)
    ] = None,
    output: Annotated[
        PlanFormat,
        typer.Option("--format", help="json is for scripts, its shape is in schemas/; markdown for pull requests."),
    ] = PlanFormat.TEXT,
) -> None:
    """Show what the next pass would do, or what a change would do once it is merged. Writes nothing.

    A running daemon is asked. Without one, its journal is read if there is one; what is not known then is said.

    With --at or --diff, revisions are read from the clone in the current directory, else from the daemon's mirror. Offline and without a snapshot, --diff takes BASE to run exactly as it declares.

    Exit codes: 0 no changes · 2 changes pending · 3 blocked by a guard · 1 error; of --diff also new findings.

    Examples: [bold]hivequeen plan checkout[/bold] · [bold]hivequeen plan --at HEAD[/bold] · [bold]hivequeen plan --diff origin/main...HEAD --offline --format markdown[/bold]
    """
    name = one_environment(environment)
    if at is not None and diff is not None:
        raise typer.BadParameter("--at and --diff: say one of them")
    is_offline = offline or snapshot is not None
    if diff is not None:
        terms = foresee.terms(context, offline=is_offline, file=snapshot, region=region)
        reviewed = _reviewed(terms, diff, name)
        _show_review(reviewed, output)
        raise typer.Exit(int(reviewed.verdict))
    if at is None and not is_offline:
        made: dict[str, Any] = answer(context, AskPlan(environment=name), own_desk=own.looking)
    else:
        terms = foresee.terms(context, offline=is_offline, file=snapshot, region=region)
        made = _planned(terms, at, name)
    _show_plan(made, output)
    raise typer.Exit(made["verdict"])


def _show_plan(made: dict[str, Any], output: PlanFormat) -> None:
    match output:
        case PlanFormat.JSON:
            screen.dump(made["plan"])
        case PlanFormat.MARKDOWN:
            from reconciler.review.plan_markdown import plan_markdown  # noqa: PLC0415 - as below

            screen.write(plan_markdown(made))
        case PlanFormat.TEXT | PlanFormat.TABLE:
            render.plan(made)
    for failure in made["failures"]:
        screen.complain(f"{failure['stage']}: {failure['message']}", failure["remedy"])


def _show_review(reviewed: "Review", output: PlanFormat) -> None:
    from reconciler.review.document import review_document  # noqa: PLC0415 - as below
    from reconciler.review.markdown import review_markdown  # noqa: PLC0415 - as below

    match output:
        case PlanFormat.JSON:
            screen.dump(review_document(reviewed))
        case PlanFormat.MARKDOWN:
            screen.write(review_markdown(reviewed))
        case PlanFormat.TEXT | PlanFormat.TABLE:
            render_review.review(reviewed)


# --- another revision -----------------------------------------------------------------------------------------------


def _reviewed(terms: "Terms", diff: str, name: "EnvironmentName | None") -> "Review":
    from reconciler.review import review  # noqa: PLC0415 - planning only where something is planned here

    world = terms.snapshot
    with foresee.revisions(terms) as source:
        base, head = (source.desired(revision) for revision in source.pair(diff))
        if world is None:
            world = terms.assumed(base)
        elif world.revision is not None and world.revision != base.revision:
            screen.note(f"the daemon was at {world.revision[:8]}; what {base.revision[:8]} changes besides is not told")
        before, after = (source.side(one, world.memory) for one in (base, head))
        reviewed = review(before, after, world, terms.price())
    if name is None:
        return reviewed
    _require_known(name, {*base.declared, *head.declared, *(one.name for one in reviewed.environments)})
    return reviewed.only(name)


def _planned(terms: "Terms", at: str | None, name: "EnvironmentName | None") -> dict[str, Any]:
    """As `answers.passed` tells of a preview."""
    from reconciler.daemon import answers  # noqa: PLC0415 - as above
    from reconciler.model.passes import Pass, Scope  # noqa: PLC0415 - as above
    from reconciler.review import foresee as foreseen_at  # noqa: PLC0415 - as above
    from reconciler.review.wording import as_it_was, printable, unresolved  # noqa: PLC0415 - as above

    world = terms.snapshot
    if world is None:
        raise Stalled(UNKNOWN_WORLD, remedy="name one with --snapshot, or compare two revisions with --diff")
    screen.note(as_it_was(world.at))
    with foresee.revisions(terms) as source:
        desired = source.desired(source.named(at or world.revision or "HEAD"))
        made = foreseen_at(source.side(desired, world.memory), world)
        plan = _whole(made, tuple(_stops(world, made, source)))
    if name is not None:
        _require_known(name, {*desired.declared, *(one.name for one in plan.environments)})
    for image in sorted(
        {image for one, waiting in made.unresolved.items() if name in (None, one) for image in waiting}
    ):
        screen.note(unresolved(printable(image)))
    return answers.passed(
        Pass(
            scope=Scope(environments=None, because="plan"),
            started_at=world.at,
            ended_at=world.at,
            revision=desired.revision,
            desired=desired,
            observed=made.observed,
            memory=world.memory,
            plan=_only(name, plan),
        )
    )


def _whole(made: "Foreseen", stops: "tuple[Blocked, ...]") -> "Plan":
    from dataclasses import replace  # noqa: PLC0415 - as above

    return replace(made.plan, blocked=stops)


def _only(name: "EnvironmentName | None", plan: "Plan") -> "Plan":
    from dataclasses import replace  # noqa: PLC0415 - as above

    return plan if name is None else replace(plan, environments=tuple(e for e in plan.environments if e.name == name))


def _stops(world: "Snapshot", made: "Foreseen", source: "Revisions") -> "Iterable[Blocked]":
    """What would hold all of it: what does now, and a history that was rewritten."""
    from reconciler.model.plan import Blocked  # noqa: PLC0415 - as above
    from reconciler.source.follow import choose  # noqa: PLC0415 - as above

    for stop in world.stops:
        yield Blocked(guard=stop.guard, message=stop.message, remedy=stop.remedy)
    applied = world.memory.applied
    if applied is not None and not source.descends(applied, applied):
        screen.note(f"{applied[:8]}, which was applied last, is not here: whether history was rewritten is not known")
        return
    revision = made.desired.revision
    followed = choose(
        tip=revision, applied=applied, claimed=None, descends=source.descends, approvals=world.memory.approvals
    )
    if followed.hold is not None:
        yield followed.hold


def _require_known(name: "EnvironmentName", known: "Iterable[EnvironmentName]") -> None:
    """
    Raises:
        Stalled: a typing error must not look like an environment with nothing to do.
    """
    if name not in known:
        raise Stalled(f"there is no environment {name}", remedy=f"there are: {', '.join(sorted(known))}")
