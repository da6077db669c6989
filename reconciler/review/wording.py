"""How a review reads, whatever it is written on. What stands in files is made printable here, and stays one line."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from reconciler.model.actions import ActionName
from reconciler.model.cost import Cost
from reconciler.model.desired import Json
from reconciler.model.names import REVISION_SHOWN
from reconciler.model.plan import Guard
from reconciler.report.sentences import nodes_of
from reconciler.review.fields import FieldChange, Leaf, Risk
from reconciler.review.review import EnvironmentReview, Hold, Kind, Review, Verdict
from reconciler.review.steps import Step

_SHOWN_MAX: Final = 64  # characters of a value: whoever needs all of it has the file
_KEPT: Final = 12  # of what two long values have in common before they differ
_PLAIN: Final = re.compile(r"[A-Za-z/*][\w./:@*+-]*(?: [\w./:@*+-]+)*", re.ASCII)
_WORDS: Final = ("true", "false", "null", "yes", "no", "on", "off")  # that YAML reads as something else than text

_VERBS: Final = {
    Kind.CREATED: "is created",
    Kind.CHANGED: "changes",
    Kind.DELETED: "is deleted",
    Kind.FROZEN: "is frozen by findings: what runs stays as it is",
    Kind.MENDED: "can be read again",
    Kind.AFFECTED: "is affected",
}
_OBJECTS: Final = {
    ActionName.ENSURE_CHEF_ENVIRONMENT: "write the Chef environment {targets}",
    ActionName.ENSURE_CHEF_ROLE: "write the Chef role {targets}",
    ActionName.DELETE_CHEF_ROLE: "delete the Chef role {targets}",
    ActionName.DELETE_CHEF_ENVIRONMENT: "delete the Chef environment {targets}",
    ActionName.LAUNCH_NODES: "launch {nodes}",
    ActionName.REPLAY_LAUNCH: "ask again for {nodes}",
    ActionName.TERMINATE_NODE: "terminate {nodes}",
    ActionName.TAG_NODE: "correct the tags of {nodes}",
    ActionName.STOP_NODE: "stop {nodes}",
    ActionName.START_NODE: "start {nodes}",
    ActionName.ENSURE_CHEF_NODE: "correct {nodes} in Chef",
    ActionName.DELETE_CHEF_NODE: "delete the Chef node of {nodes}",
    ActionName.DELETE_CHEF_CLIENT: "delete the Chef client of {nodes}",
}


def headline(review: Review) -> str:
    """The verdict, in a line."""
    match review.verdict:
        case Verdict.NOTHING:
            return "nothing changes"
        case Verdict.FAILED:
            new = sum(is_new for _, is_new in review.findings)
            trouble = f"{new} new finding{'' if new == 1 else 's'}" if new else "somebody must act"
            return f"{_changing(review)}, {trouble}" if review.environments else trouble
        case Verdict.HELD:
            held = [one for one in review.environments if one.is_held]
            return f"{_changing(review)}, {len(held) or 'all'} {'is' if len(held) == 1 else 'are'} held"
        case Verdict.CHANGES:
            return _changing(review)


def _changing(review: Review) -> str:
    count = len(review.environments)
    return f"{count} environment{' changes' if count == 1 else 's change'}"


def becomes(one: EnvironmentReview) -> str:
    """`changes (replace)`."""
    if one.kind is Kind.DELETED and not one.steps:
        return "is deleted, and nothing of it runs"
    shows_risk = one.kind in (Kind.CHANGED, Kind.DELETED, Kind.MENDED, Kind.AFFECTED)
    return f"{_VERBS[one.kind]} ({risk(one)})" if shows_risk else _VERBS[one.kind]


def risk(one: EnvironmentReview | FieldChange | Step) -> str:
    """`replace`, or `may replace` where that hangs on what a moving image names."""
    return str(one.risk) if one.is_certain else f"may {one.risk}"


def expiry(one: EnvironmentReview) -> str:
    """What the change does to its end; "" where nothing. What stands before ": " says it in short."""
    if one.expiry.is_over:
        goes = one.expiry.ends_what_runs or any(step.risk is Risk.DESTROY for step in one.steps)
        return f"its time is over: {'what runs of it goes' if goes else 'nothing of it is launched'}"
    if not one.expiry.is_moved:
        return ""
    return "does not expire any more" if one.expiry.after is None else f"expires on {_minute(one.expiry.after)}"


def world(review: Review) -> str:
    if review.is_assumed:
        return f"Nobody looked at the world: {review.base[:REVISION_SHOWN]} is assumed to run exactly as it declares."
    return as_it_was(review.at)


def as_it_was(at: datetime) -> str:
    return f"Against the world as it was at {_minute(at)}."


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def step(one: Step) -> str:
    """`replace 4 web nodes, one after the other`."""
    nodes = nodes_of(one.count, one.role or "")
    if one.action is ActionName.REPLACE_NODE:
        return f"{risk(one)} {nodes}{', one after the other' if one.count > 1 else ''}"
    return _OBJECTS[one.action].format(nodes=nodes, targets=" ".join(one.targets))


def hold(guard: str) -> str:
    """Of actions that a guard keeps from being done: that somebody must lift it, or that it ends by itself."""
    return "ending" if guard == Guard.GRACE else f"held ({guard})"


def way_out(hold: Hold, *, is_assumed: bool) -> str:
    """What lifts it. An approval names nodes and images, so where those are not known it is yet to be named."""
    if (is_assumed or not hold.is_certain) and hold.remedy.startswith("hivequeen approve "):
        return "hivequeen approve DIGEST, as hivequeen plan shows it then"
    return hold.remedy


def unresolved(image: str) -> str:
    """
    Args:
        image: as it is declared, and already fit to be shown.
    """
    return f"{image} is resolved by the daemon when this is merged; nobody looked up which image it names now."


def values(change: FieldChange) -> tuple[str, str]:
    """The old and the new one; "" where there is none. Of long ones, where they differ."""
    old, new = _text(change.old), _text(change.new)
    if max(len(old), len(new)) <= _SHOWN_MAX:
        return old, new
    start = max(0, _common(old, new) - _KEPT) if old and new else 0
    return _cut(old, start), _cut(new, start)


def shown(value: Json) -> str:
    """In one line, as YAML would read it; characters that are not printable are written as such."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return printable(json.dumps(value, ensure_ascii=False))


def printable(text: str) -> str:
    """Whoever may change a file could otherwise steer the terminal, or the page, of whoever looks."""
    return "".join(
        letter
        if letter.isprintable()
        else f"\\u{ord(letter):04x}"
        if ord(letter) < 1 << 16
        else f"\\U{ord(letter):08x}"
        for letter in text
    )


def money(cost: Cost) -> str:
    """`$147.17`, `at least $70.08`, `unknown`; what is unknown is named elsewhere."""
    if not cost.unknown:
        return f"${cost.known:,.2f}"
    return f"at least ${cost.known:,.2f}" if cost.known else "unknown"


def difference(before: Cost, after: Cost) -> Decimal | None:
    """None where a price is unknown, even one that both have: nobody knows how often it counts."""
    if before.usd_per_month is None or after.usd_per_month is None:
        return None
    return after.usd_per_month - before.usd_per_month


def costs(before: Cost, after: Cost) -> str:
    """`$147.17 → $294.34 a month (+$147.17)`."""
    if before != after:
        by = difference(before, after)
        how_much = "" if by is None else f" ({'-' if by < 0 else '+'}${abs(by):,.2f})"
        return f"{money(before)} → {money(after)} a month{how_much}"
    return f"{money(after)} a month" if after.known or not after.unknown else "cost unknown"


def unpriced(before: Cost, after: Cost) -> str:
    """What the cost leaves out; "" where nothing."""
    unknown = sorted({*before.unknown, *after.unknown})
    return f"No price is known for {', '.join(unknown)}." if unknown else ""


def _text(leaf: Leaf | None) -> str:
    if leaf is None:
        return ""
    return shown(leaf.value)


def _common(old: str, new: str) -> int:
    """How many characters both begin with."""
    return next(
        (at for at, pair in enumerate(zip(old, new, strict=False)) if pair[0] != pair[1]), min(len(old), len(new))
    )


def _cut(text: str, start: int) -> str:
    rest = f"…{text[start:]}" if start and text else text
    return rest if len(rest) <= _SHOWN_MAX else f"{rest[: _SHOWN_MAX - 1]}…"
