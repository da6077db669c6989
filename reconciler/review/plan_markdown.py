"""A plan as Markdown: what `hivequeen plan` and `--at` show of it, for whoever reads it on a page."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from reconciler.model.names import REVISION_SHOWN
from reconciler.model.plan import Guard
from reconciler.review import wording
from reconciler.review.comment import LENGTH_MAX, code, fitting

_VERDICTS: Final = ("nothing to do", "somebody must act", "changes are pending", "held")
_ROOM: Final = 12_000  # characters for each of: what holds all of it, failures, findings
_ENVIRONMENT_ROOM: Final = 20_000
_SEE: Final = "see `hivequeen plan`"


def plan_markdown(made: Mapping[str, Any]) -> str:
    """
    Args:
        made: the document of a pass, with its plan and findings.
    """
    before, after = [*_head(made)], [*_tail(made)]
    room = LENGTH_MAX - sum(len(part) + 2 for part in (*before, *after))
    environments = made["plan"]["environments"] if made["plan"] is not None else []
    busy = sorted((one for one in environments if _is_busy(one)), key=_calmness)
    shown = fitting(
        ["\n".join(_environment(one)) for one in busy],
        room,
        lambda count: f"… and {count} more environment{'' if count == 1 else 's'}: {_SEE}",
    )
    return "\n\n".join([*before, *shown, *after]) + "\n"


def _is_busy(environment: Mapping[str, Any]) -> bool:
    return any(environment[part] for part in ("actions", "blocked", "waiting", "stalls"))


def _calmness(environment: Mapping[str, Any]) -> int:
    """Sorts first what needs somebody, then what is held or ends."""
    return 0 if environment["stalls"] else 1 if environment["blocked"] else 2


def _more(count: int) -> str:
    return f"- … and {count} more: {_SEE}"


def _head(made: Mapping[str, Any]) -> Iterator[str]:
    yield f"## hivequeen plan: {_VERDICTS[made['verdict']]}"
    plan = made["plan"]
    if plan is None:
        return
    quiet = sum(not _is_busy(one) for one in plan["environments"])
    told = f" {quiet} environment{'' if quiet == 1 else 's'}: nothing to do." if quiet else ""
    yield f"Revision {code(plan['revision'][:REVISION_SHOWN]) or 'none'}.{told}"
    yield from fitting([_block(one) for one in plan["blocked"]], _ROOM, _more)


def _tail(made: Mapping[str, Any]) -> Iterator[str]:
    failures = [f"{failure['stage']} failed: {code(failure['message'])}" for failure in made["failures"]]
    yield from fitting(failures, _ROOM, _more)
    findings = [_finding(one) for one in made["findings"]]
    if findings:
        yield "\n".join(fitting(findings, _ROOM, _more))


def _finding(finding: Mapping[str, Any]) -> str:
    where = f"{finding['file']}:{finding['line']}"
    return f"- {code(where)}: {code(finding['message'])}"


def _environment(environment: Mapping[str, Any]) -> Iterator[str]:
    yield f"{code(environment['name'])}"
    yield ""
    yield from fitting([*_lines(environment)], _ENVIRONMENT_ROOM, _more)


def _lines(environment: Mapping[str, Any]) -> Iterator[str]:
    for action in environment["actions"]:
        yield f"- {_action(action)}: {code(action['reason'])}"
    for block in environment["blocked"]:
        yield f"- {_block(block)}"
        for action in block["actions"]:
            why = "" if block["guard"] == Guard.GRACE else f": {code(action['reason'])}"  # its message says why
            yield f"  - would {_action(action)}{why}"
    for stall in environment["stalls"]:
        yield f"- **stalled**: {code(stall['message'])}; {code(stall['remedy'])}"
    for waiting in environment["waiting"]:
        yield f"- waiting: {code(waiting)}"


def _block(block: Mapping[str, Any]) -> str:
    lift = "" if block["guard"] == Guard.GRACE else "lift it: "
    way = f"; {lift}{code(block['remedy'])}" if block["remedy"] else ""
    return f"**{wording.hold(block['guard'])}**: {code(block['message'])}{way}"


def _action(action: Mapping[str, Any]) -> str:
    parts = [action["action"], action["role"] or "", f"x{action['count']}" if "count" in action else ""]
    change = f"({action['change']})" if "change" in action else ""
    return code(" ".join(part for part in (*parts, action.get("node", ""), change) if part))
