"""A review as a person reads it on a terminal."""

from typing import TYPE_CHECKING, Final

from reconciler.cli import screen
from reconciler.model.names import REVISION_SHOWN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.cli.preview import Preview
    from reconciler.model.findings import Finding
    from reconciler.review import EnvironmentReview, Hold, Review

_STYLES: Final = {"in-place": "cyan", "create": "green", "replace": "yellow", "destroy": "red"}


def review(found: "Review") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - planning only where something is planned here

    screen.say(f"{found.base[:REVISION_SHOWN]} → {found.head[:REVISION_SHOWN]}. {wording.world(found)}", style="dim")
    for stop in found.stops:
        screen.say(f"nothing of it would happen ({stop.guard.value}): {stop.message}", style="yellow")
        screen.say(f"    lift it: {stop.remedy}")
    for one in found.environments:
        _environment(one, found)
    _findings(finding for finding, is_new in found.findings if is_new)
    _findings((finding for finding, is_new in found.findings if not is_new), is_new=False)
    _unresolved(found)
    if found.environments and found.subject is None:
        screen.say(f"all environments: {wording.costs(found.before, found.after)}")
        if unpriced := wording.unpriced(found.before, found.after):
            screen.say(wording.printable(unpriced), style="dim")
    screen.say(wording.headline(found), style="bold")


def _environment(one: "EnvironmentReview", found: "Review") -> None:
    from reconciler.review import Kind, wording  # noqa: PLC0415 - as above

    screen.say(f"{wording.printable(one.name)} {wording.becomes(one)}", style="bold")
    _expiry(one)
    _steps(one, found)
    if one.fields and one.kind not in (Kind.DELETED, Kind.CREATED):
        _fields(one)
    for hold in one.holds:
        _hold(hold, found, lead="once it is merged, lift it: " if hold.holds else "")
    _stalls(one)
    screen.say(f"  {wording.costs(one.before, one.after)}")


def _expiry(one: "EnvironmentReview") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    if ending := wording.expiry(one):
        screen.say(f"  {ending}", style="yellow" if one.expiry.is_over or one.expiry.ends_what_runs else "cyan")


def _steps(one: "EnvironmentReview", found: "Review") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    for step in one.steps:
        screen.say(f"  {wording.step(step)}", style=_STYLES[str(step.risk)])
        if step.risk or not one.fields:  # what is written in place is what the fields say
            where = wording.printable(f" ({step.reason.origin})") if step.reason.origin else ""
            screen.say(f"      {wording.printable(f'{step.reason.rule}: {step.reason.detail}')}{where}", style="dim")
        if step.targets and step.action.value.endswith("_node") and not found.is_assumed:
            screen.say(f"      {', '.join(step.targets)}", style="dim")


def _stalls(one: "EnvironmentReview") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    for stall in one.stalls:
        screen.say(f"  needs somebody: {wording.printable(stall.message)}", style="red")
        screen.say(f"      {wording.printable(stall.remedy)}", style="dim")


def _findings(findings: "Iterable[Finding]", *, is_new: bool = True) -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    for finding in findings:
        text = wording.printable(f"{finding.origin}: {finding.message}")
        screen.say(f"{'new: ' if is_new else ''}{text}", style="red" if is_new else "dim", hang=4)
        if finding.remedy:
            screen.say(f"  → {wording.printable(finding.remedy)}", style="dim", hang=4)


def _unresolved(found: "Review") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    for image in found.unresolved:
        screen.say(wording.unresolved(wording.printable(image)), style="dim")


def _fields(one: "EnvironmentReview") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    rows = []
    for field in one.fields:
        old, new = wording.values(field)
        risk = (wording.risk(field), _STYLES[str(field.risk)])
        rows.append((f"  {wording.printable(field.key)}", old, new, wording.printable(str(field.origin or "")), risk))
    screen.table(("  FIELD", "OLD", "NEW", "WHERE", "RISK"), rows, prose=("  FIELD", "OLD", "NEW", "WHERE"))


def _hold(hold: "Hold", found: "Review", *, lead: str) -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    style = "yellow" if hold.holds else "cyan"
    screen.say(f"  {wording.hold(hold.guard.value)}: {wording.printable(hold.message)}", style=style)
    if hold.remedy:
        way = wording.printable(wording.way_out(hold, is_assumed=found.is_assumed))
        screen.say(f"      {lead}{way}", style="dim")


# --- of a change that nobody has committed yet ---


def preview(found: "Preview") -> None:
    """Shorter than a review: it is about one file, and the person who changes it has been told what that comes to."""
    from reconciler.review import wording  # noqa: PLC0415 - as above

    reviewed = found.review
    screen.say(f"Plan, {found.world}:", style="dim", hang=2)
    for stop in reviewed.stops:
        screen.say(f"  nothing of it would happen ({stop.guard.value}): {stop.message}", style="yellow")
        screen.say(f"      → {stop.remedy}", style="dim")
    for one in reviewed.environments:
        _previewed(one, found)
    if not reviewed.environments:
        screen.say("  nothing changes")
    _findings(finding for finding, is_new in reviewed.findings if is_new)
    _unresolved(reviewed)
    if found.is_priced and (unpriced := wording.unpriced(reviewed.before, reviewed.after)):
        screen.say(f"  {wording.printable(unpriced)}", style="dim")


def _previewed(one: "EnvironmentReview", found: "Preview") -> None:
    from reconciler.model.plan import Guard  # noqa: PLC0415 - as above
    from reconciler.review import Kind, wording  # noqa: PLC0415 - as above

    screen.say(f"{wording.printable(one.name)} {wording.becomes(one)}", style="bold")
    if one.kind is Kind.FROZEN:
        return
    _expiry(one)
    _steps(one, found.review)
    for field in one.fields if one.kind is not Kind.DELETED and one.kind is not Kind.CREATED else ():
        old, new = wording.values(field)
        where = wording.printable(f", {field.origin}") if field.origin else ""
        text = f"  {wording.printable(field.key)}: {old or 'none'} → {new or 'none'} ({wording.risk(field)}{where})"
        screen.say(text, style=_STYLES[str(field.risk)])
    for hold in one.holds:
        if hold.guard is not Guard.GRACE:  # when it goes was said before
            _hold(hold, found.review, lead="→ ")
    _stalls(one)
    if found.is_priced:
        screen.say(f"  {wording.costs(one.before, one.after)}")
