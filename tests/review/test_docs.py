"""What `docs/` shows is what the program says, and the workflow there works.

`python -m tests.review.test_docs` writes the outputs that the program gives now into `docs/reviewing.md`.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from reconciler.cli.app import app
from tests.fakes.git_source import run_git
from tests.review.pull_request import OPTIONS, ROOT, SAMPLES, checkout, plan

DOCUMENT: Final = ROOT / "docs" / "reviewing.md"
WORKFLOW: Final = ROOT / "docs" / "github-plan.yml"


def larger_machines(directory: Path) -> Path:
    """Of production and of what is like it, and without staging."""
    after = {name: text for name, text in SAMPLES.items() if name != "staging.yml"}
    after["production.yml"] = (
        after["production.yml"].replace("[m7i.large, m6i.large]", "[m7i.xlarge]").replace("count: 2", "count: 3")
    )
    return checkout(directory, before=SAMPLES, after=after)


def outputs(directory: Path) -> dict[str, str]:
    build = larger_machines(directory)
    text, markdown = plan(build, *OPTIONS), plan(build, *OPTIONS, "--format", "markdown")
    assert (text.returncode, markdown.returncode) == (2, 2), text.stderr
    return {
        "text": f"```\n$ hivequeen plan {' '.join(OPTIONS)}\n{text.stdout}```\n",
        "markdown": f"````markdown\n{markdown.stdout}````\n",
    }


def block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", DOCUMENT.read_text(), re.DOTALL)
    assert found, f"docs/reviewing.md has no block {name}"
    return found[1]


def without_hashes(text: str) -> str:
    return re.sub(r"\b[0-9a-f]{8}\b", "…", text)


def test_the_outputs_shown_are_those_of_the_program(tmp_path: Path) -> None:
    for name, output in outputs(tmp_path).items():
        assert without_hashes(block(name)) == without_hashes(output)


# --- the workflow ---------------------------------------------------------------------------------------------------


def step(name: str) -> dict[str, Any]:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (found,) = (one for one in workflow["jobs"]["plan"]["steps"] if one.get("name") == name)
    made: dict[str, Any] = found
    return made


def shell(directory: Path, script: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """As GitHub's runner runs a step."""
    programs = directory / "programs"
    programs.mkdir(exist_ok=True)
    (programs / "hivequeen").write_text(f'#!/bin/sh\nexec {sys.executable} -m reconciler "$@"\n')
    # Knows one comment, and keeps what it is asked.
    (programs / "gh").write_text(
        '#!/bin/sh\necho "$*" >> gh.log\ncase "$*" in *--paginate*) cat known 2>/dev/null || true ;; esac\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(directory), **variables}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=directory,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_workflow_plans_and_comments(tmp_path: Path) -> None:
    build = larger_machines(tmp_path)
    planned = planned_by_workflow(build, tmp_path)
    assert planned["code"] == "2"
    assert planned["summary"].startswith("## hivequeen plan: 4 environments change")

    where = {"COMMENTS": "repos/acme/envs/issues/7/comments", "COMMENT": "repos/acme/envs/issues/comments"}
    commented = shell(build, step("Comment")["run"], **where)
    assert commented.returncode == 0, commented.stderr
    assert "--method POST repos/acme/envs/issues/7/comments" in (build / "gh.log").read_text()
    assert (build / "comment.md").read_text().startswith("<!-- hivequeen plan -->\n## hivequeen plan")
    (build / "known").write_text("42\n43\n")
    shell(build, step("Comment")["run"], **where)
    assert "--method PATCH repos/acme/envs/issues/comments/42" in (build / "gh.log").read_text()


def test_a_comment_that_cannot_be_looked_for_is_not_made_twice(tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("## hivequeen plan: nothing changes\n")
    where = {"COMMENTS": "repos/acme/envs/issues/7/comments", "COMMENT": "repos/acme/envs/issues/comments"}
    failing = "gh() { return 1; }\n" + step("Comment")["run"]
    assert shell(tmp_path, failing, **where).returncode == 1
    assert not (tmp_path / "gh.log").exists()


WEB: Final = "roles:\n  web: { count: 1 }"


@pytest.mark.parametrize(
    ("edit", "code", "verdict", "heading"),
    [
        (("jessica@", "jessica@"), 0, 0, "nothing changes"),
        ((WEB, "roles:\n  web: { count: 2 }"), 2, 0, "1 environment changes"),
        ((WEB, f"suspend: true\n{WEB[:-1]}, instance_type: m7i.xlarge }}"), 3, 1, "1 environment changes, 1 is held"),
        (("branch:", "brnach:"), 1, 1, "1 environment changes, 1 new finding"),
    ],
)
def test_the_workflow_fails_by_what_the_plan_says(
    tmp_path: Path, edit: tuple[str, str], code: int, verdict: int, heading: str
) -> None:
    after = {**SAMPLES, "checkout.yml": SAMPLES["checkout.yml"].replace(*edit), "docs.txt": "of no environment"}
    build = checkout(tmp_path, before=SAMPLES, after=after)
    planned = planned_by_workflow(build, tmp_path)
    assert (planned["code"], planned["summary"].splitlines()[0]) == (str(code), f"## hivequeen plan: {heading}")
    assert shell(build, step("Verdict")["run"], CODE=planned["code"]).returncode == verdict


@pytest.mark.parametrize("wrong", [{"HEAD": "f" * 40}, {"OPTIONS": "--offline --no-such-option"}])
def test_a_plan_that_cannot_be_made_says_so_and_fails(tmp_path: Path, wrong: dict[str, str]) -> None:
    build = checkout(tmp_path, before=SAMPLES, after={**SAMPLES, "docs.txt": ""})
    planned = planned_by_workflow(build, tmp_path, **wrong)
    assert planned == {
        "code": "1",
        "summary": "## hivequeen plan: it could not be made, the log of this run says why\n",
    }


def planned_by_workflow(build: Path, directory: Path, **changes: str) -> dict[str, str]:
    """The exit code that the workflow kept, and what it wrote."""
    planning = step("Plan")
    variables = {
        "BASE": run_git(build, "rev-parse", "origin/main"),
        "HEAD": run_git(build, "rev-parse", "HEAD"),
        "OPTIONS": planning["env"]["OPTIONS"],
        "GITHUB_OUTPUT": str(directory / "output"),
        "GITHUB_STEP_SUMMARY": str(directory / "summary"),
    }
    done = shell(build, planning["run"], **{**variables, **changes})
    assert done.returncode == 0, done.stderr
    (code,) = re.findall(r"^code=(\d+)$", (directory / "output").read_text())
    return {"code": code, "summary": (directory / "summary").read_text()}


@pytest.mark.parametrize(("code", "verdict"), [("0", 0), ("2", 0), ("3", 1), ("1", 1), ("", 1), ("127", 1)])
def test_the_verdict_fails_by_the_exit_code(tmp_path: Path, code: str, verdict: int) -> None:
    assert shell(tmp_path, step("Verdict")["run"], CODE=code).returncode == verdict


def command_lines() -> dict[str, list[str]]:
    """Each that `docs/` shows, as the words that the program gets."""
    workflow = yaml.safe_load(WORKFLOW.read_text())
    steps = workflow["jobs"]["plan"]["steps"]
    scripts = [(line, one.get("env", {})) for one in steps for line in one.get("run", "").splitlines()]
    shown: list[tuple[str, dict[str, str]]] = [
        (line, {}) for line in DOCUMENT.read_text().splitlines() if line.startswith("    hivequeen ")
    ]
    found = {}
    for line, variables in (*scripts, *shown):
        command, _, _ = line.strip().partition(" > ")
        if command.startswith("hivequeen "):
            told = re.sub(r"\$(\w+)", lambda name, known=variables: known.get(name[1], name[1]), command)  # type: ignore[misc]  # mypy wants no default here
            found[line.strip()] = shlex.split(told, comments=True)[1:]
    return found


def test_every_command_line_that_is_shown_is_one_that_the_program_takes() -> None:
    lines = command_lines()
    assert any("$BASE...$HEAD" in line for line in lines)
    assert len(lines) > 3
    group: Any = typer.main.get_command(app)
    for line, (name, *words) in lines.items():
        command = group.commands.get(name)
        assert command is not None, line
        with command.make_context(name, words, resilient_parsing=False) as context:
            assert context.params.get("diff") or context.params.get("at"), line


def test_the_workflow_may_do_no_more_than_it_needs() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "${{" not in "".join(one.get("run", "") for one in workflow["jobs"]["plan"]["steps"])


def write() -> None:
    text = DOCUMENT.read_text()
    with tempfile.TemporaryDirectory() as directory:
        for name, output in outputs(Path(directory)).items():
            start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
            before, _, rest = text.partition(start)
            text = before + start + output + end + rest.partition(end)[2]
    DOCUMENT.write_text(text)


if __name__ == "__main__":
    write()
