"""However much a change is about, its plan is a comment that GitHub takes, and says how much it leaves out."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reconciler.review.comment import LENGTH_MAX, LISTED_MAX, fitting
from reconciler.review.document import review_document
from reconciler.review.markdown import review_markdown
from reconciler.review.plan_markdown import plan_markdown
from tests.review.scene import FILES, merging
from tests.spec.revision import CHECKOUT, PRODUCTION

GITHUB_LENGTH_MAX = 65_536
PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")


def more(count: int) -> str:
    return f"and {count} more"


@given(st.lists(st.text(max_size=9), max_size=9), st.integers(min_value=20, max_value=80))
def test_what_fits_is_whole_and_in_order_and_the_rest_is_counted(parts: list[str], room: int) -> None:
    kept = fitting(parts, room, more)
    assert sum(len(part) + 2 for part in kept) <= room
    if kept != parts:
        *shown, last = kept
        assert shown == parts[: len(shown)]
        assert last == more(len(parts) - len(shown))


def of_size(count: int) -> str:
    """A change that reaches so many environments that extend another, of which it deletes one."""
    files = {"production.yml": PRODUCTION, **{f"e{number:04}.yml": CHECKOUT for number in range(count - 1)}}
    other = PRODUCTION.replace("def0", "def1")
    return review_markdown(merging({"production.yml": other, "e0000.yml": None}, files=files))


def test_a_change_of_one_environment_is_told_whole() -> None:
    text = review_markdown(merging({"checkout.yml": CHECKOUT.replace("web: {count: 1}", "web: {count: 2}")}))
    assert text.startswith("## hivequeen plan: 1 environment changes\n")
    assert "more" not in text
    assert len(text.splitlines()) < 25


@pytest.mark.parametrize("count", [LISTED_MAX, 300, 1200])
def test_of_many_environments_each_is_told_or_counted(count: int) -> None:
    text = of_size(count)
    assert len(text) <= LENGTH_MAX < GITHUB_LENGTH_MAX
    assert text.startswith(f"## hivequeen plan: {count} environments change\n")
    assert text.count("<details>") == text.count("</details>") == text.count("</summary>")
    listed = len(re.findall(r"^- \*\*(?:e\d+|production)\*\* ", text, re.MULTILINE))
    left_out = sum(int(number) for number in re.findall(r"^- … and (\d+) more: ", text, re.MULTILINE))
    assert listed + left_out == count
    told = len(re.findall(r"^<details><summary><b>", text, re.MULTILINE))
    untold = sum(
        int(number) for number in re.findall(r"^… and the details of (\d+) more environments?: ", text, re.MULTILINE)
    )
    assert told + untold == count
    assert (count == LISTED_MAX) == (left_out == untold == 0)


def test_of_many_the_gravest_come_first_and_the_others_are_folded_by_what_they_are() -> None:
    text = of_size(300)
    unfolded = text.partition("<details>")[0]
    lines = [line for line in unfolded.splitlines() if line.startswith("- ")]
    assert lines[0].startswith("- **e0000** is deleted (destroy): ")
    assert len(lines) == LISTED_MAX
    assert "<details><summary>280 more environments: 280 replace</summary>" in text
    html = str(PARSER.render(text))
    assert html.rstrip().endswith("</details>")
    assert "All environments: " in html


def test_the_document_for_scripts_leaves_nothing_out() -> None:
    files = {"production.yml": PRODUCTION, **{f"e{number}.yml": CHECKOUT for number in range(299)}}
    document: Any = review_document(merging({"production.yml": PRODUCTION.replace("def0", "def1")}, files=files))
    assert len(document["environments"]) == 300
    assert all(len(one["fields"]) == 2 for one in document["environments"])


def test_an_environment_with_thousands_of_values_is_told_as_far_as_it_fits() -> None:
    attributes = ", ".join(f"key{number}: {number}" for number in range(3000))
    found = merging({"checkout.yml": CHECKOUT.replace("web: {count: 1}", f"web: {{attributes: {{{attributes}}}}}")})
    text = review_markdown(found)
    assert len(text) <= LENGTH_MAX
    shown = len(re.findall(r"^\| `roles\.web\.attributes\.key", text, re.MULTILINE))
    (left_out,) = re.findall(r"^\| … and (\d+) more: see `hivequeen plan --diff` \| \| \| \| \|$", text, re.MULTILINE)
    assert shown > 100
    assert shown + int(left_out) == len(found.environments[0].fields)
    assert "- write the Chef role checkout-web\n" in text


def test_of_thousands_of_findings_the_new_ones_come_first_and_the_rest_is_counted() -> None:
    old = {f"old{number}.yml": "a: 1" for number in range(200)}
    found = merging({f"new{number}.yml": "a: 1" for number in range(3)}, files={**FILES, **old})
    text = review_markdown(found)
    findings = text.partition("Findings:\n\n")[2].partition("\n\n")[0].splitlines()
    assert len(text) <= LENGTH_MAX
    new = sum(is_new for _, is_new in found.findings)
    assert [line.startswith("- **new**, ") for line in findings[: new + 1]] == [True] * new + [False]
    (left_out,) = re.findall(r"^- … and (\d+) more: ", findings[-1])
    assert len(findings) - 1 + int(left_out) == len(found.findings)


# --- a plan ---------------------------------------------------------------------------------------------------------

ACTION = {"action": "launch_nodes", "role": "web", "count": 2, "reason": "count: <b>`web`|"}
REPLACE = {
    "action": "replace_node",
    "role": "web",
    "node": "checkout-web-1",
    "change": "image: ami-1 → ami-2",
    "reason": "drift",
}
BLOCK = {"guard": "protected", "message": "it is", "remedy": "approve", "actions": [ACTION]}
GRACE = {"guard": "grace", "message": "it goes at 12:05", "remedy": "restore the file", "actions": [REPLACE]}


def environment(name: str, **parts: Any) -> dict[str, Any]:
    return {"name": name, "actions": [], "blocked": [], "waiting": [], "stalls": [], **parts}


def plan(*environments: dict[str, Any], **parts: Any) -> dict[str, Any]:
    made = {"revision": "5" * 40, "digest": "", "environments": [*environments], "blocked": []}
    return {"verdict": 2, "plan": made, "failures": [], "findings": [], **parts}


def test_a_plan_is_shown_with_its_reasons_and_holds() -> None:
    stall = {"reason": "X", "message": "stuck", "remedy": "mend"}
    busy = environment(
        "checkout", actions=[ACTION, REPLACE], blocked=[BLOCK], waiting=["web: 1 node booting"], stalls=[stall]
    )
    document = plan(
        busy,
        environment("quiet"),
        verdict=3,
        failures=[{"stage": "observe", "message": "throttled"}],
        findings=[{"file": "environments.d/a.yml", "line": 3, "message": "wrong", "remedy": ""}],
    )
    text = plan_markdown(document)
    assert text.startswith("## hivequeen plan: held\n\nRevision `55555555`. 1 environment: nothing to do.\n")
    assert "- **held (protected)**: `it is`; lift it: `approve`\n  - would `launch_nodes web x2`: " in text
    assert "- `replace_node web checkout-web-1 (image: ami-1 → ami-2)`: `drift`" in text
    html = str(PARSER.render(text))
    assert "<b>" not in html
    for part in ("stuck", "waiting: <code>web: 1 node booting", "throttled", "environments.d/a.yml:3"):
        assert part in html


def test_what_ends_by_itself_is_called_ending_as_on_a_terminal() -> None:
    text = plan_markdown(plan(environment("checkout", blocked=[GRACE])))
    assert "- **ending**: `it goes at 12:05`; `restore the file`\n  - would `replace_node" in text
    assert "held" not in text
    assert "lift" not in text


@pytest.mark.parametrize("count", [1, 20, 1000])
def test_of_a_plan_for_many_each_environment_is_told_or_counted(count: int) -> None:
    environments = [environment(f"e{number:04}", actions=[ACTION] * 3) for number in range(count - 1)]
    text = plan_markdown(plan(*environments, environment("worst", blocked=[BLOCK])))
    assert len(text) <= LENGTH_MAX
    shown = re.findall(r"^`(e\d{4}|worst)`$", text, re.MULTILINE)
    left_out = re.findall(r"^… and (\d+) more environments: see `hivequeen plan`$", text, re.MULTILINE)
    assert shown[0] == "worst"
    assert len(shown) + sum(map(int, left_out)) == count
    assert (count == 1000) == bool(left_out)


def test_a_plan_with_thousands_of_everything_still_fits() -> None:
    finding = {"file": "environments.d/a.yml", "line": 3, "message": "wrong " * 40, "remedy": ""}
    failure = {"stage": "observe", "message": "throttled " * 40}
    document = plan(environment("huge", actions=[ACTION] * 5000), failures=[failure] * 500, findings=[finding] * 500)
    document["plan"]["blocked"] = [BLOCK] * 2000
    text = plan_markdown(document)
    assert len(text) <= LENGTH_MAX
    assert len(re.findall(r"^- … and \d+ more: see `hivequeen plan`$", text, re.MULTILINE)) == 4


def test_a_plan_that_could_not_be_made_says_why() -> None:
    text = plan_markdown({**plan(verdict=1, failures=[{"stage": "git", "message": "no answer"}]), "plan": None})
    assert text == "## hivequeen plan: somebody must act\n\ngit failed: `no answer`\n"
