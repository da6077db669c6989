"""Documents as people read them. What a document holds is in `schemas/` and `reconciler.report.views`."""

import json
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from reconciler.cli import screen
from reconciler.cli.screen import Format

Document = dict[str, Any]

SHORT: Final = 12  # characters of a revision
EVENTS_SHOWN: Final = 5  # below an environment; `hivequeen events` has them all
NODES_WIDE: Final = 110  # columns; a narrower terminal shows fewer facts of each node, and why it is so in whole words
MESSAGE_LEAST: Final = 50  # columns; where fewer are left beside the rest, a message gets lines of its own
_ACTION_STYLE: Final = {"launch": "green", "replay": "green", "replace": "yellow", "terminate": "red", "delete": "red"}
_PHASE_STYLE: Final = {"ready": "green", "failed": "red", "lost": "red", "stopped": "yellow", "terminating": "dim"}
_CONDITION_STYLE: Final = {
    "Ready": "green",
    "Reconciling": "cyan",
    "Suspended": "yellow",
    "Held": "yellow",
    "Ending": "yellow",
    "Expired": "yellow",
    "Quarantined": "yellow",
    "Stale": "yellow",
}
# Of several true conditions the one that needs somebody comes first.
_WEIGHT: Final = (
    *("NotOwner", "Stalled", "Held", "Expired", "Ending", "Degraded", "Suspended", "Lost", "Quarantined", "Stale"),
    *("Reconciling", "Ready"),
)
# What `status` tells in full below its table, with the remedy.
_TOLD_BELOW: Final = ("Stalled", "Held", "Ending", "Expired", "Degraded", "Suspended", "Lost", "Quarantined", "Stale")
# Guards that are conditions of the whole installation, suspensions or endings, and are told as these.
_TOLD_OTHERWISE: Final = ("observe_mode", "not_owner", "suspended", "grace")


def plan(made: Document) -> None:
    """What `hivequeen plan` shows."""
    document = made["plan"]
    if document is None:
        return
    screen.say(f"revision {document['revision'][:SHORT] or 'none'}, plan {document['digest'][:SHORT]}", style="dim")
    _blocks(document["blocked"])
    quiet = []
    for environment in document["environments"]:
        if any(environment[part] for part in ("actions", "blocked", "waiting", "stalls")):
            _environment_plan(environment)
        else:
            quiet.append(environment["name"])
    if len(quiet) == 1:
        screen.say(f"{quiet[0]}: nothing to do", style="dim")
    elif quiet or not document["environments"]:
        screen.say(f"{len(quiet)} environments: nothing to do" if quiet else "nothing to do", style="dim")
    _findings(made["findings"])


def made(document: Document) -> None:
    """What one pass did, and what it left."""
    for outcome in document["outcomes"]:
        if outcome["result"] == "unchanged":
            continue
        style = {"done": "green", "refused": "red", "unknown": "yellow"}.get(outcome["result"], "dim")
        what = f"{outcome['action']} {outcome['node'] or outcome['role']}".strip()
        said = f": {outcome['message']}" if outcome["message"] else ""
        _trouble(f"{outcome['environment']}: {what}: {outcome['result']}{said}", outcome["remedy"], style=style)
    for failure in document["failures"]:
        screen.complain(f"{failure['stage']}: {failure['message']}", failure["remedy"])
    left = document["plan"] or {"environments": [], "blocked": []}
    _blocks(left["blocked"])
    for environment in left["environments"]:
        for stall in environment["stalls"]:
            _trouble(f"{environment['name']}: stalled: {stall['message']}", stall["remedy"], style="red")
        for block in environment["blocked"]:
            _block(block, f"{environment['name']}: ")
        for waiting in environment["waiting"]:
            screen.say(f"{environment['name']}: {waiting}", style="cyan")
    if document["verdict"] == 0:
        screen.say("nothing is left to do", style="green")


def status(document: Document) -> None:
    when = f"last pass {ago(document['last_pass_at'], document['at'])}" if document["last_pass_at"] else "from memory"
    screen.say(f"revision {(document['revision'] or 'none')[:SHORT]}, {when}")
    _installation(document)
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
                ago(condition["since"], document["at"]) if condition else "",
                ", ".join(_role(role) for role in environment["roles"]),
                _remark(condition),
            )
        )
    if rows:
        screen.table(("ENVIRONMENT", "STATE", "READY", "SINCE", "ROLES", "MESSAGE"), rows, prose=("ROLES", "MESSAGE"))
    else:
        screen.say("no environments")
    _troubles(document)
    for hold in document["holds"]:
        if hold["guard"] in _TOLD_OTHERWISE:
            continue
        where = ", ".join(hold["environments"]) or "everything"
        more = _who_and_when(hold, document["at"])
        _trouble(f"held ({hold['guard']}), {where}: {hold['message']}{more}", hold["remedy"], style="yellow")
    for suspension in document["suspensions"]:
        _suspension(suspension)
    for approval in document["approvals"]:
        _approval(approval)
    _findings(document["findings"])
    for foreign in document["foreign"]:
        screen.say(f"foreign {foreign['kind']} {foreign['name']}: {foreign['message']}", style="yellow")


def _who_and_when(hold: Document, now: str) -> str:
    """` (asked for by Jessica, since 3h ago, until 2026-11-24 12:00 UTC)`."""
    who = [actor for actor in hold["actors"] if actor not in hold["message"]]
    parts = [f"asked for by {', '.join(who)}"] if who else []
    parts += [f"since {ago(hold['since'], now)}"] if hold["since"] else []
    parts += [f"until {day(hold['until'])}"] if hold["until"] else []
    return f" ({', '.join(parts)})" if parts else ""


def _suspension(suspension: Document) -> None:
    end = f" until {day(suspension['until'])}" if suspension["until"] else ""
    since = f" since {day(suspension['since'])}" if suspension["since"] else ""
    what, why = suspension["environment"] or "everything", suspension["reason"] or "no reason given"
    _trouble(f"{what}: suspended by {suspension['actor']}{since}{end}: {why}", suspension["remedy"], style="yellow")


def _approval(approval: Document) -> None:
    count = len(approval["removals"])
    removals = f"{count} removal{'' if count == 1 else 's'}" if count else "that revision"
    where = f" in {', '.join(approval['environments'])}" if approval["environments"] else ""
    text = f"approved ({approval['digest'][:SHORT]}): {removals}{where}, by {approval['actor']}"
    screen.say(f"{text} until {day(approval['expires_at'])}", style="dim")


def _installation(document: Document) -> None:
    """What is true of everything, each trouble once: a pass that failed is a condition, and so is a hold."""
    told = []
    for one in document["conditions"]:
        is_told_below = (one["type"] == "Held" and document["holds"]) or one["reason"] == "EverythingByPerson"
        if one["status"] and not is_told_below:
            told.append(one["message"])
            is_hold = one["type"] in ("NotOwner", "Suspended") and one["since"]
            since = f" (since {ago(one['since'], document['at'])})" if is_hold else ""
            _trouble(
                f"{one['type']}: {one['message']}{since}", one["remedy"], style=_CONDITION_STYLE.get(one["type"], "red")
            )
    of_environments = [one["message"] for each in document["environments"] for one in each["conditions"]]
    for failure in document["failures"]:
        text = f"{failure['stage']}: {failure['message']}"
        if not any(text in message for message in (*told, *of_environments)):
            _trouble(text, failure["remedy"], style="red")


def _troubles(document: Document) -> None:
    """What needs somebody, with the way out; once, however many environments share it."""
    shown = [hold for hold in document["holds"] if hold["guard"] not in _TOLD_OTHERWISE]
    held = {name for hold in shown for name in hold["environments"]}
    shared: dict[tuple[str, str, str], list[str]] = {}
    for environment in document["environments"]:
        reasons = {one["reason"] for one in environment["conditions"]}
        true = {one["type"] for one in environment["conditions"] if one["status"]}
        for one in environment["conditions"]:
            if one["type"] == "Lost" and "NodeLost" in reasons:
                continue  # it stalls because of that
            if one["type"] == "Expired" and "Ending" in true:
                continue  # that says why it goes, too
            if _is_told_below(one) and not (one["type"] == "Held" and environment["name"] in held):
                remedy = one["remedy"]
                if one["type"] == "Stalled" and len(environment["findings"]) > 1:
                    remedy = f"{remedy}; all of it: hivequeen show {environment['name']}"
                shared.setdefault((one["type"], one["message"], remedy), []).append(environment["name"])
    for (kind, message, remedy), names in shared.items():
        is_named = len(names) == 1 and message.startswith(f"{names[0]} ")
        _trouble(
            message if is_named else f"{', '.join(names)}: {message}", remedy, style=_CONDITION_STYLE.get(kind, "red")
        )


def _is_told_below(condition: Document) -> bool:
    if condition["type"] == "Suspended" and condition["reason"] != "ByFile":
        return False  # told of the person who did it, or of the whole installation
    return condition["type"] in _TOLD_BELOW and bool(condition["status"])


def _remark(condition: Document | None) -> str:
    """What the table says beside the state: nothing that the roles say, nor what is told in full below it."""
    if condition is None or (condition["type"] == "Ready" and condition["status"]):
        return ""
    if condition["type"] == "Suspended" and condition["reason"] in ("ObserveMode", "NotOwner", "EverythingByPerson"):
        return ""
    return "see below" if condition["type"] in (*_TOLD_BELOW, "Suspended") else str(condition["message"])


def _findings(findings: Iterable[Document]) -> None:
    for one in findings:
        _trouble(f"{one['file']}:{one['line']}: {one['message']}", one["remedy"], style="red")


def _trouble(text: str, remedy: str, *, style: str) -> None:
    screen.say(text, style=style, hang=4)
    if remedy:
        screen.say(f"  → {remedy}", style="dim", hang=4)


def show(document: Document) -> None:
    environment = document["environment"]
    screen.say(environment["name"], style="bold")
    facts = {
        "project": environment["project"],
        "owner": environment["owner"],
        "branch": environment["branch"],
        "revision": (environment["revision"] or "")[:SHORT],
        "expires": day(environment["expires_at"]) if environment["expires_at"] else "",
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
                ago(one["since"], document["at"]),
                "; ".join(part for part in (one["message"], one["remedy"]) if part),
            )
            for one in environment["conditions"]
            if one["status"] or one["type"] == "Ready"
        ],
        prose=("MESSAGE",),
    )
    is_told = any(one["type"] == "Suspended" and one["status"] for one in environment["conditions"])
    for suspension in () if is_told else document["suspensions"]:
        _suspension(suspension)
    for approval in document["approvals"]:
        _approval(approval)
    if document["nodes"]:
        _nodes(document["nodes"])
    if document["plan"] is not None:
        _rest_of_plan(document["plan"])
    if len(environment["findings"]) > 1:
        _findings(environment["findings"])  # of one, the stall above says all
    told = document["events"]
    events(told[-EVENTS_SHOWN:], Format.TABLE)
    if len(told) > EVENTS_SHOWN:
        screen.say(f"more: hivequeen events {environment['name']}", style="dim")


def _nodes(nodes: Collection[Document]) -> None:
    is_narrow = screen.room() < NODES_WIDE
    facts = () if is_narrow else ("address", "instance_type")
    screen.table(
        ("NODE", "PHASE", "AGE", *(() if is_narrow else ("ADDRESS", "TYPE")), "WHY"),
        [
            (
                node["name"],
                (node["phase"], _PHASE_STYLE.get(node["phase"], "cyan")),
                _duration(node["age_seconds"]),
                *(node[fact] or "" for fact in facts),
                node["why"],
            )
            for node in nodes
        ],
        prose=("WHY",),
    )
    if len(nodes) == 1:
        (node,) = nodes
        for name in ("instance_id", "instance_state", "instance_type", "address", "image", "subnet", "launched_at"):
            screen.say(f"  {name.replace('_', ' ')}: {node[name] or 'not known'}")


def _rest_of_plan(plan: Document) -> None:
    """What the conditions do not say: they tell what is awaited, and one stall."""
    rest = {**plan, "waiting": [], "stalls": plan["stalls"] if len(plan["stalls"]) > 1 else []}
    if rest["actions"] or rest["blocked"] or rest["stalls"]:
        _environment_plan(rest)


def events(told: Iterable[Document], output: Format, *, with_header: bool = True) -> None:
    """A line each: they arrive one by one. As JSON, one object a line."""
    if output is Format.JSON:
        screen.write("".join(json.dumps(event, ensure_ascii=False) + "\n" for event in told))
        return
    for number, event in enumerate(told):
        if number == 0 and with_header:
            screen.say(f"{'AT':<20}  {'ENVIRONMENT':<16}  {'EVENT':<22}  MESSAGE", style="bold")
        actor = f" (by {event['actor']})" if event["actor"] and event["actor"] not in event["message"] else ""
        message = " ".join(event["message"].split()) + actor
        start = f"{event['at']:<20}  {event['environment'] or '':<16}  {event['kind']:<22}  "
        if len(start) + MESSAGE_LEAST <= screen.room():
            screen.say(start + message, hang=len(start))
        else:
            screen.say(start.rstrip())
            screen.say(f"    {message}", hang=4)


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
    from reconciler.review import wording  # noqa: PLC0415 - planning's words only where a plan is shown

    is_ending = block["guard"] == "grace"
    more = [f"asked for by {block['actor']}"] if block["actor"] and block["actor"] not in block["message"] else []
    more += [f"until {day(block['until'])}"] if block["until"] else []
    brackets = f" ({', '.join(more)})" if more and not is_ending else ""  # its message says both
    screen.say(f"{indent}{wording.hold(block['guard'])}: {block['message']}{brackets}", style="yellow")
    space = " " * (len(indent) - len(indent.lstrip()))
    for action in block["actions"]:
        screen.say(f"{space}    would {_action(action)}", style="dim")
        if not is_ending:  # its message says why
            screen.say(f"{space}        {action['reason']}", style="dim")
    if block["remedy"]:
        screen.say(f"{space}    {'→' if is_ending else 'lift it:'} {block['remedy']}")


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
        return ("Unknown", "dim")  # no pass has looked at it yet
    if not condition["status"]:
        return (condition["reason"], "cyan")
    return (condition["type"], _CONDITION_STYLE.get(condition["type"], "red"))


def _gravest(conditions: Iterable[Document]) -> Document | None:
    """Where none is true, why it is not ready."""
    known = {one["type"]: one for one in conditions}
    return next((known[kind] for kind in _WEIGHT if kind in known and known[kind]["status"]), known.get("Ready"))


def ago(at: str | None, now: str) -> str:
    if at is None:
        return "never"
    return f"{_duration((_moment(now) - _moment(at)).total_seconds())} ago"


def day(at: str) -> str:
    """`2026-11-24 12:00 UTC`."""
    return f"{_moment(at):%Y-%m-%d %H:%M} UTC"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _duration(seconds: float) -> str:
    """`45s`, `12m`, `3h`, `9d`: the greatest unit says enough."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"
