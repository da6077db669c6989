"""A review as a person reads it on a terminal."""

from typing import TYPE_CHECKING, Final

from reconciler.cli import screen

if TYPE_CHECKING:
    from reconciler.review import EnvironmentReview, Hold, Review

_STYLES: Final = {"in-place": "cyan", "create": "green", "replace": "yellow", "destroy": "red"}


def review(found: "Review") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - planning only where something is planned here

    short = wording.SHORT
    screen.say(f"{found.base[:short]} → {found.head[:short]}. {wording.world(found)}", style="dim")
    for stop in found.stops:
        screen.say(f"nothing of it would happen ({stop.guard.value}): {stop.message}", style="yellow")
        screen.say(f"    lift it: {stop.remedy}")
    for one in found.environments:
        _environment(one, found)
    for finding, is_new in sorted(found.findings, key=lambda pair: not pair[1]):
        text = wording.printable(f"{finding.origin}: {finding.message}")
        screen.say(f"{'new: ' if is_new else ''}{text}", style="red" if is_new else "dim", hang=4)
        if finding.remedy:
            screen.say(f"  → {wording.printable(finding.remedy)}", style="dim", hang=4)
    for image in found.unresolved:
        screen.say(
            f"which image {wording.printable(image)} names now was not looked up; it is taken for another one than before",
            style="dim",
        )
    if found.environments and found.subject is None:
        screen.say(f"all environments: {wording.costs(found.before, found.after)}")
        if unpriced := wording.unpriced(found.before, found.after):
            screen.say(wording.printable(unpriced), style="dim")
    screen.say(wording.headline(found), style="bold")


def _environment(one: "EnvironmentReview", found: "Review") -> None:
    from reconciler.review import Kind, wording  # noqa: PLC0415 - as above

    screen.say(f"{wording.printable(one.name)} {wording.becomes(one)}", style="bold")
    for step in one.steps:
        screen.say(f"  {wording.step(step)}", style=_STYLES[str(step.risk)])
        if step.risk or not one.fields:  # what is written in place is what the fields say
            where = wording.printable(f" ({step.reason.origin})") if step.reason.origin else ""
            screen.say(f"      {wording.printable(f'{step.reason.rule}: {step.reason.detail}')}{where}", style="dim")
        if step.targets and step.action.value.endswith("_node") and not found.is_assumed:
            screen.say(f"      {', '.join(step.targets)}", style="dim")
    if one.fields and one.kind not in (Kind.DELETED, Kind.CREATED):
        _fields(one)
    for hold in one.holds:
        _hold(hold, found)
    for stall in one.stalls:
        screen.say(f"  needs somebody: {wording.printable(stall.message)}", style="red")
        screen.say(f"      {wording.printable(stall.remedy)}", style="dim")
    screen.say(f"  {wording.costs(one.before, one.after)}")


def _fields(one: "EnvironmentReview") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    rows = []
    for field in one.fields:
        old, new = wording.values(field)
        risk = (str(field.risk), _STYLES[str(field.risk)])
        rows.append((f"  {wording.printable(field.key)}", old, new, wording.printable(str(field.origin or "")), risk))
    screen.table(("  FIELD", "OLD", "NEW", "WHERE", "RISK"), rows, prose=("  FIELD", "OLD", "NEW", "WHERE"))


def _hold(hold: "Hold", found: "Review") -> None:
    from reconciler.review import wording  # noqa: PLC0415 - as above

    what = "held" if hold.holds else "waits"
    screen.say(
        f"  {what} ({hold.guard.value}): {wording.printable(hold.message)}", style="yellow" if hold.holds else "cyan"
    )
    if hold.remedy:
        way = wording.printable(wording.way_out(hold, is_assumed=found.is_assumed))
        screen.say(f"      {'once it is merged, lift it: ' if hold.holds else ''}{way}", style="dim")
