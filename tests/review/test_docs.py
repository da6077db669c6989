"""What `docs/` shows is what the program says, and the workflow there works.

`python -m tests.review.test_docs` writes the outputs that the program gives now into `docs/reviewing.md`.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

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


def test_the_workflow_plans_comments_and_judges(tmp_path: Path) -> None:
    build = larger_machines(tmp_path)
    revisions = {"BASE": run_git(build, "rev-parse", "origin/main"), "HEAD": run_git(build, "rev-parse", "HEAD")}
    files = {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    planning = step("Plan")
    planned = shell(build, planning["run"], OPTIONS=planning["env"]["OPTIONS"], **revisions, **files)
    assert planned.returncode == 0, planned.stderr
    assert (tmp_path / "output").read_text() == "code=2\n"
    assert (tmp_path / "summary").read_text().startswith("## hivequeen plan: 4 environments change")

    where = {"COMMENTS": "repos/acme/envs/issues/7/comments", "COMMENT": "repos/acme/envs/issues/comments"}
    commented = shell(build, step("Comment")["run"], **where)
    assert commented.returncode == 0, commented.stderr
    assert "--method POST repos/acme/envs/issues/7/comments" in (build / "gh.log").read_text()
    assert (build / "comment.md").read_text().startswith("<!-- hivequeen plan -->\n## hivequeen plan")
    (build / "known").write_text("42\n")
    shell(build, step("Comment")["run"], **where)
    assert "--method PATCH repos/acme/envs/issues/comments/42" in (build / "gh.log").read_text()


@pytest.mark.parametrize(("code", "verdict"), [("0", 0), ("2", 0), ("3", 1), ("1", 1), ("", 1)])
def test_the_workflow_fails_by_the_exit_code(tmp_path: Path, code: str, verdict: int) -> None:
    assert shell(tmp_path, step("Verdict")["run"], CODE=code).returncode == verdict


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
