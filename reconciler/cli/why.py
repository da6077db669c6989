"""`why`: the rule behind everything that is so, done, awaited or held."""

from typing import Annotated, Any, Final

import typer

from reconciler.cli import own, render, screen
from reconciler.cli.ask import answer
from reconciler.cli.options import OutputFormat
from reconciler.cli.screen import Format
from reconciler.daemon.requests import AskWhy
from reconciler.model.names import REVISION_SHOWN

Document = dict[str, Any]

DETAILS_SHOWN: Final = 6  # of a hold; JSON has them all
_LABEL: Final = 11  # columns of the longest topic, and two
_WITH_RULE: Final = ("launched", "doing", "held", "stalled", "waiting", "ended")  # elsewhere the topic says it
_STYLE: Final = {
    "ending": "yellow",
    "held": "yellow",
    "suspended": "yellow",
    "frozen": "red",
    "stalled": "red",
    "policy": "red",
    "drift": "yellow",
    "doing": "green",
    "waiting": "cyan",
    "ended": "red",
}


def why(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="ENV|NODE", help="An environment, or any unique part of a node's name or id.")
    ],
    output: OutputFormat = Format.TABLE,
) -> None:
    """Why it is as it is: for everything done, awaited or blocked, the rule, the commit and its author, the file and line, and what ends it.

    Of what is gone it tells why that went, as far as events are kept.

    Examples: [bold]hivequeen why checkout[/bold] · [bold]hivequeen why i-0a1b2c[/bold]
    """
    document: Document = answer(context, AskWhy(target=target), own_desk=own.looking)
    if output is Format.JSON:
        screen.dump(document)
    else:
        show(document)


def show(document: Document) -> None:
    screen.say(document["summary"], style="bold")
    before = None
    for one in document["statements"]:
        _statement(one, document["at"], is_first=one["topic"] != before)
        before = one["topic"]
    for missing in document["missing"]:
        screen.say(f"  {'not known':<{_LABEL}}{missing}", style="dim", hang=_LABEL + 2)
    if document["events"]:
        screen.say("")
        render.events(document["events"], Format.TABLE)
        screen.say(f"more: hivequeen events {document['environment']}", style="dim")


def _statement(one: Document, now: str, *, is_first: bool) -> None:
    label = one["topic"] if is_first else ""
    screen.say(f"  {label:<{_LABEL}}{one['text']}", style=_STYLE.get(one["topic"], ""), hang=_LABEL + 2)
    space = " " * (_LABEL + 2)
    for line in (_origin(one), _moments(one, now)):
        if line:
            screen.say(f"{space}{line}", style="dim", hang=_LABEL + 2)
    for detail in one["details"][:DETAILS_SHOWN]:
        screen.say(f"{space}{detail}", style="dim", hang=_LABEL + 4)
    if len(one["details"]) > DETAILS_SHOWN:
        screen.say(f"{space}and {len(one['details']) - DETAILS_SHOWN} more", style="dim")
    if one["remedy"]:
        screen.say(f"{space}→ {one['remedy']}", hang=_LABEL + 4)


def _origin(one: Document) -> str:
    """`rule count, environments.d/checkout.yml:12 at 3f2a91c0 by Jessica <jessica@example.com>`."""
    where = f"{one['file']}:{one['line']}" if one["file"] else ""
    at = f"at {one['commit'][:REVISION_SHOWN]}" if one["commit"] else ""
    by = f"by {one['author']}" if one["author"] else ""
    asked = " ".join(part for part in (where, at, by) if part)
    revision = (one["revision"] or "")[:REVISION_SHOWN]
    applied = "" if one["commit"] or not revision or revision in one["text"] else f"applied with {revision}"
    is_named = not one["actor"] or one["actor"] == one["author"] or one["actor"] in one["text"]
    actor = "" if is_named else f"asked for by {one['actor']}"
    return ", ".join(part for part in (_rule(one), asked, applied, actor) if part)


def _rule(one: Document) -> str:
    """Where it says more than the topic."""
    return f"rule {one['rule']}" if one["rule"] and one["topic"] in _WITH_RULE else ""


def _moments(one: Document, now: str) -> str:
    parts = []
    if one["since"]:
        is_moment = one["topic"] in ("launched", "ended", "approved")
        parts.append(f"{'at' if is_moment else 'since'} {render.day(one['since'])}, {render.ago(one['since'], now)}")
    if one["until"]:
        parts.append(f"until {render.day(one['until'])}")
    return "; ".join(parts)
