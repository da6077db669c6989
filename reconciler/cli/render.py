"""Documents as people read them. What a document holds is in `schemas/` and `reconciler.report.views`."""

import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.cli import screen
from reconciler.cli.screen import Format

Document = dict[str, Any]

SHORT: Final = 12  # characters of a revision
_ACTION_STYLE: Final = {"launch": "green", "replay": "green", "replace": "yellow", "terminate": "red", "delete": "red"}
_PHASE_STYLE: Final = {"ready": "green", "failed": "red", "lost": "red", "stopped": "yellow", "terminating": "dim"}
_CONDITION_STYLE: Final = {
    "Ready": "green",
    "Reconciling": "cyan",
    "Suspended": "yellow",
    "Held": "yellow",
    "Stale": "yellow",
}
# Of several true conditions the one that needs somebody comes first.
_WEIGHT: Final = ("NotOwner", "Stalled", "Held", "Degraded", "Suspended", "Lost", "Stale", "Reconciling", "Ready")


def plan(made: Document) -> None:
    """What `hivequeen plan` shows."""
    document = made["plan"]
    if document is None:
        return
    screen.say(f"revision {document['revision'][:SHORT] or 'none'}, plan {document['digest'][:SHORT]}", style="dim")
    _blocks(document["blocked"])
    quiet = 0
    for environment in document["environments"]:
        if any(environment[part] for part in ("actions", "blocked", "waiting", "stalls")):
            _environment_plan(environment)
        else:
            quiet += 1
    if quiet:
        screen.say(f"{quiet} environment{'' if quiet == 1 else 's'}: nothing to do", style="dim")


def made(document: Document) -> None:
    """What one pass did, and what it left."""
    for outcome in document["outcomes"]:
        if outcome["result"] == "unchanged":
            continue
        style = {"done": "green", "refused": "red", "unknown": "yellow"}.get(outcome["result"], "dim")
        what = f"{outcome['action']} {outcome['role'] or ''}".strip()
        said = f": {outcome['message']}" if outcome["message"] else ""
        screen.say(f"{outcome['environment']}: {what}: {outcome['result']}{said}", style=style)
        if outcome["remedy"]:
            screen.say(f"  {outcome['remedy']}", style="dim")
    for failure in document["failures"]:
        screen.complain(f"{failure['stage']}: {failure['message']}", failure["remedy"])
    left = document["plan"] or {"environments": [], "blocked": []}
    _blocks(left["blocked"])
    for environment in left["environments"]:
        for stall in environment["stalls"]:
            screen.say(f"{environment['name']}: stalled: {stall['message']}", style="red")
            screen.say(f"  {stall['remedy']}", style="dim")
        for block in environment["blocked"]:
            _block(block, f"{environment['name']}: ")
        for waiting in environment["waiting"]:
            screen.say(f"{environment['name']}: {waiting}", style="cyan")
    if document["verdict"] == 0:
        screen.say("nothing is left to do", style="green")


def status(document: Document) -> None:
    when = f"last pass {_ago(document['last_pass_at'], document['at'])}" if document["last_pass_at"] else "from memory"
    trouble = "; ".join(_true_conditions(document["conditions"]))
    screen.say(f"revision {(document['revision'] or 'none')[:SHORT]}, {when}{f'; {trouble}' if trouble else ''}")
    for failure in document["failures"]:
        screen.say(f"{failure['stage']}: {failure['message']}", style="red")
        if failure["remedy"]:
            screen.say(f"  {failure['remedy']}", style="dim")
    rows = []
    for environment in document["environments"]:
        condition = _gravest(environment["conditions"])
        ready = sum(role["ready"] for role in environment["roles"])
        desired = [role["desired"] for role in environment["roles"] if role["desired"] is not None]
        rows.append(
            (
                environment["name"],
                _state(environment, condition),
                f"{ready}/{sum(desired)}" if desired else str(ready),
                _ago(condition["since"], document["at"]) if condition else "",
                ", ".join(_role(role) for role in environment["roles"]),
                condition["message"] if condition else "",
            )
        )
    if rows:
        screen.table(("ENVIRONMENT", "STATE", "READY", "SINCE", "ROLES", "MESSAGE"), rows, prose=("ROLES", "MESSAGE"))
    else:
        screen.say("no environments")
    for hold in document["holds"]:
        where = ", ".join(hold["environments"]) or "everything"
        screen.say(f"held ({hold['guard']}), {where}: {hold['message']}", style="yellow")
        screen.say(f"  {hold['remedy']}", style="dim")
    for suspension in document["suspensions"]:
        end = f" until {suspension['until']}" if suspension["until"] else ""
        why = f": {suspension['reason']}" if suspension["reason"] else ""
        what = suspension["environment"] or "everything"
        screen.say(f"{what} is suspended by {suspension['actor']}{end}{why}", style="yellow")
        screen.say(f"  {suspension['remedy']}", style="dim")
    for foreign in document["foreign"]:
        screen.say(f"foreign {foreign['kind']} {foreign['name']}: {foreign['message']}", style="yellow")


def show(document: Document) -> None:
    environment = document["environment"]
    screen.say(environment["name"], style="bold")
    facts = {
        "project": environment["project"],
        "owner": environment["owner"],
        "branch": environment["branch"],
        "revision": (environment["revision"] or "")[:SHORT],
        "torn down since": environment["teardown_began_at"],
    }
    screen.say(", ".join(f"{name} {value}" for name, value in facts.items() if value))
    screen.table(
        ("CONDITION", "STATUS", "REASON", "SINCE", "MESSAGE"),
        [
            (
                (one["type"], _CONDITION_STYLE.get(one["type"], "red") if one["status"] else "dim"),
                "true" if one["status"] else "false",
                one["reason"],
                _ago(one["since"], document["at"]),
                "; ".join(part for part in (one["message"], one["remedy"]) if part),
            )
            for one in environment["conditions"]
        ],
        prose=("MESSAGE",),
    )
    if document["nodes"]:
        screen.table(
            ("NODE", "PHASE", "AGE", "ADDRESS", "TYPE", "WHY"),
            [
                (
                    node["name"],
                    (node["phase"], _PHASE_STYLE.get(node["phase"], "cyan")),
                    _duration(node["age_seconds"]),
                    node["address"] or "",
                    node["instance_type"] or "",
                    node["why"],
                )
                for node in document["nodes"]
            ],
            prose=("WHY",),
        )
    if len(document["nodes"]) == 1:
        (node,) = document["nodes"]
        for name in ("instance_id", "instance_state", "image", "subnet", "launched_at"):
            screen.say(f"  {name.replace('_', ' ')}: {node[name] or 'not known'}")
    if document["plan"] is not None:
        _environment_plan(document["plan"])
    events(document["events"], Format.TABLE)


def events(told: Iterable[Document], output: Format, *, with_header: bool = True) -> None:
    """A line each: they arrive one by one. As JSON, one object a line."""
    if output is Format.JSON:
        for event in told:
            sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    for number, event in enumerate(told):
        if number == 0 and with_header:
            screen.say(f"{'AT':<20}  {'ENVIRONMENT':<16}  {'EVENT':<22}  MESSAGE", style="bold")
        actor = f" (by {event['actor']})" if event["actor"] and event["actor"] not in event["message"] else ""
        message = " ".join(event["message"].split())
        screen.say(f"{event['at']:<20}  {event['environment'] or '':<16}  {event['kind']:<22}  {message}{actor}")


def _environment_plan(environment: Document) -> None:
    screen.say(environment["name"], style="bold")
    for action in environment["actions"]:
        screen.say(f"  {_action(action)}", style=_ACTION_STYLE.get(action["action"].partition("_")[0], "cyan"))
        screen.say(f"      {action['reason']}", style="dim")
    for block in environment["blocked"]:
        _block(block, "  ")
    for stall in environment["stalls"]:
        screen.say(f"  stalled: {stall['message']}", style="red")
        screen.say(f"      {stall['remedy']}", style="dim")
    for waiting in environment["waiting"]:
        screen.say(f"  waiting: {waiting}", style="cyan")


def _blocks(blocks: Iterable[Document]) -> None:
    for block in blocks:
        _block(block, "")


def _block(block: Document, indent: str) -> None:
    screen.say(f"{indent}held ({block['guard']}): {block['message']}", style="yellow")
    space = " " * (len(indent) - len(indent.lstrip()))
    for action in block["actions"]:
        screen.say(f"{space}    would {_action(action)}", style="dim")
        screen.say(f"{space}        {action['reason']}", style="dim")
    if block["remedy"]:
        screen.say(f"{space}    lift it: {block['remedy']}")


def _action(action: Document) -> str:
    parts = [action["action"]]
    if action["role"]:
        parts.append(action["role"])
    if "count" in action:
        parts.append(f"x{action['count']}")
    if "node" in action:
        parts.append(action["node"])
    if "change" in action:
        parts.append(f"({action['change']})")
    return " ".join(parts)


def _role(role: Document) -> str:
    wanted = "" if role["desired"] is None else f"/{role['desired']}"
    busy = ", ".join(f"{count} {phase}" for phase, count in role["phases"].items() if phase != "ready" and count)
    return f"{role['role']} {role['ready']}{wanted}{f' ({busy})' if busy else ''}"


def _state(environment: Document, condition: Document | None) -> tuple[str, str]:
    if environment["is_frozen"]:
        return ("Frozen", "red")
    if condition is None:
        return ("Unknown", "dim")
    return (condition["type"], _CONDITION_STYLE.get(condition["type"], "red"))


def _gravest(conditions: Iterable[Document]) -> Document | None:
    true = {one["type"]: one for one in conditions if one["status"]}
    return next((true[kind] for kind in _WEIGHT if kind in true), None)


def _true_conditions(conditions: Iterable[Document]) -> list[str]:
    return [f"{one['type']}: {one['message']}" for one in conditions if one["status"]]


def _ago(at: str | None, now: str) -> str:
    if at is None:
        return "never"
    return f"{_duration((_moment(now) - _moment(at)).total_seconds())} ago"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _duration(seconds: float) -> str:
    """`45s`, `12m`, `3h`, `9d`: the greatest unit says enough."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
