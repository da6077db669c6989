"""A review as Markdown for a pull request: the verdict first, details folded, the same bytes for the same review.

Whatever stands in files, and in messages about them, is shown as code: there GitHub reads no markup, no mention, no
reference and no link. What would end the code is written as character references.
"""

import re
from collections.abc import Iterator
from typing import Final

from reconciler.model.names import is_environment_name
from reconciler.review import wording
from reconciler.review.review import EnvironmentReview, Kind, Review

LENGTH_MAX: Final = 60_000  # characters; GitHub takes no comment over 65,536
# Inside backticks these mean nothing, in a cell of a table either. A pipe or a backslash would, and a backtick ends it.
_SAFE: Final = re.compile(r"[^`|\\]+")


def review_markdown(review: Review) -> str:
    parts = [
        "\n".join(_summary(review)),
        *("\n".join(_details(one, review)) for one in review.environments if one.has_details),
    ]
    text = "\n\n".join(parts) + "\n"
    while len(text) > LENGTH_MAX and len(parts) > 1:
        parts.pop()
        text = "\n\n".join([*parts, "More details than fit here: see `hivequeen plan --diff`."]) + "\n"
    return (
        text
        if len(text) <= LENGTH_MAX
        else f"{_heading(review)}\n\nToo long to be shown here: see `hivequeen plan --diff`.\n"
    )


def code(text: str) -> str:
    """As code, in a table or out of it."""
    text = wording.printable(text)
    if not text:
        return ""
    return f"`{text}`" if _SAFE.fullmatch(text) and text.strip() == text else f"<code>{_escaped(text)}</code>"


def _escaped(text: str) -> str:
    """As HTML, in which Markdown finds nothing to read either."""
    return "".join(letter if letter.isalnum() or letter in " -" else f"&#{ord(letter)};" for letter in text)


def _name(name: str) -> str:
    """A file that cannot be read may have any name."""
    return name if is_environment_name(name) else code(name)


def _heading(review: Review) -> str:
    return f"## hivequeen plan: {wording.headline(review)}"


def _summary(review: Review) -> Iterator[str]:
    yield _heading(review)
    yield ""
    yield f"{code(review.base[: wording.SHORT])} → {code(review.head[: wording.SHORT])}. {wording.world(review)}"
    for stop in review.stops:
        yield ""
        yield f"**Nothing of it would happen ({stop.guard.value})**: {code(stop.message)}"
    if review.environments:
        yield ""
    for one in review.environments:
        yield f"- **{_name(one.name)}** {wording.becomes(one)}{_held(one)}: {wording.costs(one.before, one.after)}"
    if review.environments and review.subject is None:
        yield ""
        unpriced = wording.unpriced(review.before, review.after)
        told = f" {code(unpriced)}" if unpriced else ""  # instance types come from files
        yield f"All environments: {wording.costs(review.before, review.after)}.{told}"
    if review.findings:
        yield ""
        yield "Findings:"
        yield ""
    for finding, is_new in sorted(review.findings, key=lambda pair: not pair[1]):  # stable
        remedy = f" → {code(finding.remedy)}" if finding.remedy else ""
        yield f"- {'**new**, ' if is_new else ''}{code(str(finding.origin))}: {code(finding.message)}{remedy}"
    for image in review.unresolved:
        yield ""
        yield f"Which image {code(image)} names now was not looked up; it is taken for another one than before."


def _held(one: EnvironmentReview) -> str:
    guards = sorted({hold.guard.value for hold in one.holds if hold.holds})
    return f", **held** ({', '.join(guards)})" if guards else ""


def _details(one: EnvironmentReview, review: Review) -> Iterator[str]:
    nodes = "; ".join(wording.step(step) for step in one.steps if step.risk)
    yield f"<details><summary><b>{_escaped(one.name)}</b>{f': {nodes}' if nodes else ''}</summary>"
    yield ""
    yield f"{code(one.file)}"
    if one.fields and one.kind is not Kind.DELETED:  # that it is gone says it all
        yield ""
        yield from _table(one)
    if one.steps or one.holds or one.stalls:
        yield ""
    for step in one.steps:
        # What is written in place is what the table says.
        why = f": {code(f'{step.reason.rule}: {step.reason.detail}')}" if step.risk or not one.fields else ""
        where = f" ({code(str(step.reason.origin))})" if step.reason.origin and why else ""
        yield f"- {wording.step(step)}{why}{where}"
    for hold in one.holds:
        way = (
            f"; {'once merged: ' if hold.holds else ''}{code(wording.way_out(hold, is_assumed=review.is_assumed))}"
            if hold.remedy
            else ""
        )
        yield f"- {'**held**' if hold.holds else 'waits'} ({hold.guard.value}): {code(hold.message)}{way}"
    for stall in one.stalls:
        yield f"- **needs somebody**: {code(stall.message)}; {code(stall.remedy)}"
    yield ""
    yield "</details>"


def _table(one: EnvironmentReview) -> Iterator[str]:
    is_new = one.kind is Kind.CREATED
    yield "| field | value | where |" if is_new else "| field | old | new | where | risk |"
    yield "|---|---|---|" if is_new else "|---|---|---|---|---|"
    for change in one.fields:
        old, new = wording.values(change)
        where = code(str(change.origin)) if change.origin else ""
        cells = [code(new), where] if is_new else [code(old), code(new), where, str(change.risk)]
        yield f"| {' | '.join([code(change.key), *cells])} |"
