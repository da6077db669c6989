"""A review as Markdown for a pull request: the verdict first, the gravest first, details folded, the same bytes for the
same review. What is too much for a comment is left out from the end, and counted.

Whatever stands in files, and in messages about them, is shown as code: there GitHub reads no markup, no mention, no
reference and no link. What would end the code is written as character references.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from reconciler.model.names import REVISION_SHOWN, is_environment_name
from reconciler.review import wording
from reconciler.review.comment import LENGTH_MAX, LISTED_MAX, code, escaped, fitting, folded
from reconciler.review.review import EnvironmentReview, Hold, Kind, Review
from reconciler.review.steps import Step

# Characters for each kind of line, so that much of one leaves room for the others; details have what is left.
_LIST_ROOM: Final = 24_000
_ROOM: Final = 6_000
_TABLE_ROOM: Final = 20_000
_SEE: Final = "see `hivequeen plan --diff`"


def review_markdown(review: Review) -> str:
    environments = sorted(review.environments, key=_gravity)
    lines = [*_summary(review, environments)]
    detailed = [one for one in environments if one.has_details]
    room = LENGTH_MAX - sum(len(line) + 1 for line in lines) - _ROOM // 10  # the fold around some takes a little, too
    details = fitting(
        ["\n".join(_details(one, review)) for one in detailed],
        room,
        lambda count: f"… and the details of {count} more environment{'' if count == 1 else 's'}: {_SEE}",
    )
    if len(details) > LISTED_MAX:
        shown, rest = details[:LISTED_MAX], details[LISTED_MAX:]
        about = f"Details of {len(detailed) - LISTED_MAX} more environments"
        details = [*shown, "\n".join(folded(about, ["\n\n".join(rest)]))]
    return "\n\n".join(["\n".join(lines), *details]) + "\n"


def _gravity(one: EnvironmentReview) -> tuple[bool, int, bool]:
    """Sorts first what a reviewer must see: what needs somebody or is held, then the worst, the certain before the rest."""
    return not (one.stalls or one.is_held or one.kind is Kind.FROZEN), -one.risk, not one.is_certain


def _name(name: str) -> str:
    """A file that cannot be read may have any name."""
    return name if is_environment_name(name) else code(name)


def _more(count: int) -> str:
    return f"- … and {count} more: {_SEE}"


def _summary(review: Review, environments: Sequence[EnvironmentReview]) -> Iterator[str]:
    yield f"## hivequeen plan: {wording.headline(review)}"
    yield ""
    yield f"{code(review.base[:REVISION_SHOWN])} → {code(review.head[:REVISION_SHOWN])}. {wording.world(review)}"
    stops = [f"**Nothing of it would happen ({stop.guard.value})**: {code(stop.message)}" for stop in review.stops]
    yield from _apart(fitting(stops, _ROOM, _more))
    if environments:
        yield ""
        yield from _list(environments)
    if environments and review.subject is None:
        yield ""
        unpriced = wording.unpriced(review.before, review.after)
        told = f" {code(unpriced)}" if unpriced else ""  # instance types come from files
        yield f"All environments: {wording.costs(review.before, review.after)}.{told}"
    if review.findings:
        yield ""
        yield "Findings:"
        yield ""
        yield from fitting([*_findings(review)], _ROOM, _more)
    images = [wording.unresolved(code(image)) for image in review.unresolved]
    yield from _apart(fitting(images, _ROOM, _more))


def _apart(paragraphs: Iterable[str]) -> Iterator[str]:
    return chain.from_iterable(("", one) for one in paragraphs)


def _list(environments: Sequence[EnvironmentReview]) -> Iterator[str]:
    """A line for each; where they are many, the first ones, and the others folded under what they are."""
    lines = [_line(one) for one in environments]
    if len(lines) <= LISTED_MAX:
        yield from fitting(lines, _LIST_ROOM, _more)
        return
    risks = Counter(wording.risk(one) for one in environments[LISTED_MAX:])
    tally = ", ".join(f"{count} {risk}" for risk, count in risks.items())
    yield from fitting(lines[:LISTED_MAX], _LIST_ROOM // 2, _more)
    yield ""
    yield from folded(
        f"{len(lines) - LISTED_MAX} more environments: {tally}", fitting(lines[LISTED_MAX:], _LIST_ROOM // 2, _more)
    )


def _line(one: EnvironmentReview) -> str:
    guards = sorted({hold.guard.value for hold in one.holds if hold.holds})
    held = "".join(f", **{wording.hold(guard)}**" for guard in guards)
    ending = wording.expiry(one).partition(": ")[0]
    held += f", {ending}" if ending else ""
    return f"- **{_name(one.name)}** {wording.becomes(one)}{held}: {wording.costs(one.before, one.after)}"


def _findings(review: Review) -> Iterator[str]:
    for finding, is_new in sorted(review.findings, key=lambda pair: not pair[1]):  # stable
        remedy = f" → {code(finding.remedy)}" if finding.remedy else ""
        yield f"- {'**new**, ' if is_new else ''}{code(str(finding.origin))}: {code(finding.message)}{remedy}"


# --- one environment ------------------------------------------------------------------------------------------------


def _details(one: EnvironmentReview, review: Review) -> Iterator[str]:
    nodes = "; ".join(wording.step(step) for step in one.steps if step.risk)
    return folded(f"<b>{escaped(one.name)}</b>{f': {nodes}' if nodes else ''}", [*_body(one, review)])


def _body(one: EnvironmentReview, review: Review) -> Iterator[str]:
    yield f"{code(one.file)}"
    if one.fields and one.kind is not Kind.DELETED:  # that it is gone says it all
        yield ""
        yield from _table(one)
    ending = wording.expiry(one)
    lines = [
        *([f"- {ending}"] if ending else []),
        *fitting([_step(step, one) for step in one.steps], _ROOM, _more),
        *fitting([_hold(hold, review) for hold in one.holds], _ROOM, _more),
        *fitting(
            [f"- **needs somebody**: {code(stall.message)}; {code(stall.remedy)}" for stall in one.stalls], _ROOM, _more
        ),
    ]
    if lines:
        yield ""
        yield from lines


def _step(step: Step, one: EnvironmentReview) -> str:
    # What is written in place is what the table says.
    if not step.risk and one.fields:
        return f"- {wording.step(step)}"
    where = f" ({code(str(step.reason.origin))})" if step.reason.origin else ""
    return f"- {wording.step(step)}: {code(f'{step.reason.rule}: {step.reason.detail}')}{where}"


def _hold(hold: Hold, review: Review) -> str:
    way = code(wording.way_out(hold, is_assumed=review.is_assumed))
    lift = f"; {'once it is merged, lift it: ' if hold.holds else ''}{way}" if way else ""
    return f"- **{wording.hold(hold.guard.value)}**: {code(hold.message)}{lift}"


def _table(one: EnvironmentReview) -> Iterator[str]:
    is_new = one.kind is Kind.CREATED
    yield "| field | value | where |" if is_new else "| field | old | new | where | risk |"
    yield "|---|---|---|" if is_new else "|---|---|---|---|---|"
    rows = []
    for change in one.fields:
        old, new = wording.values(change)
        where = code(str(change.origin)) if change.origin else ""
        cells = [code(new), where] if is_new else [code(old), code(new), where, wording.risk(change)]
        rows.append(f"| {' | '.join([code(change.key), *cells])} |")
    empty = " |" * (2 if is_new else 4)
    yield from fitting(rows, _TABLE_ROOM, lambda count: f"| … and {count} more: {_SEE} |{empty}")
