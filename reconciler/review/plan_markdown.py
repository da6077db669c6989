"""A plan as Markdown: what `hivequeen plan` and `--at` show of it, for whoever reads it on a page."""

from collections.abc import Iterator, Mapping
from typing import Any

from reconciler.review.markdown import LENGTH_MAX, code

_VERDICTS = ("nothing to do", "somebody must act", "changes are pending", "held")


def plan_markdown(made: Mapping[str, Any]) -> str:
    """
    Args:
        made: the document of a pass, with its plan and findings.
    """
    text = "\n".join(_lines(made)) + "\n"
    if len(text) <= LENGTH_MAX:
        return text
    return f"{_heading(made)}\n\nToo long to be shown here: see `hivequeen plan`.\n"


def _heading(made: Mapping[str, Any]) -> str:
    return f"## hivequeen plan: {_VERDICTS[made['verdict']]}"


def _lines(made: Mapping[str, Any]) -> Iterator[str]:
    yield _heading(made)
    plan = made["plan"]
    if plan is not None:
        yield ""
        yield f"Revision {code(plan['revision'][:8])}."
        for block in plan["blocked"]:
            yield ""
            yield f"**{block['guard']}**: {code(block['message'])}; {code(block['remedy'])}"
        for environment in plan["environments"]:
            if any(environment[part] for part in ("actions", "blocked", "waiting", "stalls")):
                yield ""
                yield from _environment(environment)
    for failure in made["failures"]:
        yield ""
        yield f"{failure['stage']} failed: {code(failure['message'])}"
    if made["findings"]:
        yield ""
    for finding in made["findings"]:
        where = f"{finding['file']}:{finding['line']}"
        yield f"- {code(where)}: {code(finding['message'])}"


def _environment(environment: Mapping[str, Any]) -> Iterator[str]:
    yield f"{code(environment['name'])}"
    yield ""
    for action in environment["actions"]:
        yield f"- {_action(action)}: {code(action['reason'])}"
    for block in environment["blocked"]:
        yield f"- **held** ({block['guard']}): {code(block['message'])}; {code(block['remedy'])}"
        for action in block["actions"]:
            yield f"  - {_action(action)}: {code(action['reason'])}"
    for stall in environment["stalls"]:
        yield f"- **stalled**: {code(stall['message'])}; {code(stall['remedy'])}"
    for waiting in environment["waiting"]:
        yield f"- waits: {code(waiting)}"


def _action(action: Mapping[str, Any]) -> str:
    parts = [action["action"], action["role"] or "", f"x{action['count']}" if "count" in action else ""]
    return code(" ".join(part for part in (*parts, action.get("node", "")) if part))
