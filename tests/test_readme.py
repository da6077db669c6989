"""README claims nothing that is not so: its examples are run, and the names in its tables are compared with the code.

`python -m tests.test_readme` writes the outputs that the program gives now into README.
"""

import hashlib
import hmac
import json
import re
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from reconciler.adapters.webhook import HttpWebhook
from reconciler.cli.app import app
from reconciler.model.conditions import ConditionType
from reconciler.report.metrics import OPERATIONS, Metrics
from reconciler.settings import Receiver, Settings, load
from tests.adapters.chef.scripted import Answer, scripted
from tests.fakes.clock import FakeClock
from tests.mutants.mutants import MUTANTS
from tests.review import pull_request
from tests.simulation.invariants import RULES
from tests.stories.installation import Installation

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
TEXT: Final = README.read_text()
SAMPLES: Final = ROOT / "environments.d"
# What the program asks of Chef, beside searches. Nodes make their own node objects.
CHEF_REQUESTS: Final = (
    *(f"{method} {kind}" for kind in ("environments", "roles") for method in ("GET", "POST", "PUT", "DELETE")),
    *(f"{method} nodes" for method in ("GET", "PUT", "DELETE")),
    *(f"{method} clients" for method in ("GET", "POST", "DELETE")),
    *(f"{method} data" for method in ("GET", "POST", "PUT")),
)
BROKEN: Final = """\
extends: prodcution
owner: jessica@example.com
branch: 1.10
roles:
  web: { count: "2", run_lsit: ["recipe[kickstarter::web]"] }
"""
TRIAL: Final = """\
extends: production
owner: sam@example.com
branch: new-search
ttl: 7d
roles: { web: { count: 1 }, worker: null }
"""


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"README has no section {title}"
    return found[1]


def block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```\n(.*?)```\n<!-- /{name} -->", TEXT, re.DOTALL)
    assert found, f"README has no block {name}"
    return found[1]


def without_hashes(text: str) -> str:
    """Revisions, digests and moments differ from run to run."""
    return re.sub(r"\b[0-9a-f]{8,40}\b|\b\d{4}-\d\d-\d\d \d\d:\d\d UTC", "…", text)


def plan_output(directory: Path) -> str:
    with Installation(directory) as installation:
        installation.source.push({path.name: path.read_text() for path in SAMPLES.glob("*.yml")})
        return installation.command("plan", "checkout").stdout


def findings_output(directory: Path) -> str:
    folder = directory / "environments.d"
    folder.mkdir()
    for path in SAMPLES.glob("*.yml"):
        (folder / path.name).write_text(path.read_text())
    (folder / "checkout.yml").write_text(BROKEN)
    told = subprocess.run(
        [sys.executable, "-m", "reconciler", "validate", "environments.d"],
        cwd=directory,
        env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    return told.stdout


def review_output(directory: Path) -> str:
    """Of a pull request with a bit of everything, as it reads on its page: quoted, so that its heading is none of ours."""
    before = {**pull_request.SAMPLES, "checkout.yml": f"{pull_request.SAMPLES['checkout.yml']}suspend: true\n"}
    after = {name: text for name, text in before.items() if name != "staging.yml"}
    after["checkout.yml"] = before["checkout.yml"].replace(
        "web: { count: 1 }", "web: { count: 1, instance_type: m7i.xlarge }"
    )
    after["search-ranking.yml"] = before["search-ranking.yml"].replace("shards: 1", "shards: 2")
    after["trial.yml"] = TRIAL
    build = pull_request.checkout(directory, before=before, after=after)
    made = pull_request.plan(build, *pull_request.OPTIONS, "--format", "markdown")
    assert made.returncode == 3, made.stderr  # a guard would hold some of it
    return "".join(f"> {line}".rstrip() + "\n" for line in made.stdout.splitlines())


def explain_output() -> str:
    told = subprocess.run(
        [sys.executable, "-m", "reconciler", "explain", "checkout", "roles.web"],
        cwd=ROOT,
        env={"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout


@pytest.mark.slow
@pytest.mark.xdist_group("stories")
def test_the_plan_shown_is_the_plan_made(tmp_path: Path) -> None:
    assert without_hashes(block("plan")) == without_hashes("$ hivequeen plan checkout\n" + plan_output(tmp_path))


def test_the_findings_shown_are_the_findings_told(tmp_path: Path) -> None:
    assert block("findings") == "$ hivequeen validate\n" + findings_output(tmp_path)


def test_the_explanation_shown_is_the_one_given() -> None:
    assert block("explain") == "$ hivequeen explain checkout roles.web\n" + explain_output()


def test_the_review_shown_is_the_one_made(tmp_path: Path) -> None:
    found = re.search(r"<!-- review -->\n(.*?)<!-- /review -->", TEXT, re.DOTALL)
    assert found, "README has no block review"
    assert without_hashes(found[1]) == without_hashes(review_output(tmp_path))


def test_the_six_lines_are_those_of_the_sample() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", section("Six lines are an environment"), re.DOTALL)
    sample = (SAMPLES / "checkout.yml").read_text().splitlines(keepends=True)
    assert shown == "".join(line for line in sample if not line.startswith("#"))
    assert len(shown.splitlines()) == 6


def test_every_test_that_a_claim_names_exists() -> None:
    defined = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    assert named
    assert named <= defined


def test_every_claim_of_what_never_happens_names_a_test() -> None:
    rows = re.findall(r"^\| (?!never \|)(\w.*) \|$", section("What it will never do"), re.MULTILINE)
    assert len(rows) > 12
    assert [row for row in rows if not re.search(r"`test_\w+`$", row)] == []


def test_every_rule_in_italics_is_one_that_the_simulation_checks() -> None:
    named = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", section("What it will never do"))
    assert set(named) - {"italics", "no commit asked for"} <= set(RULES)


def test_the_files_and_mutants_that_the_proof_names_exist() -> None:
    proof = section("How that is proved")
    for path in re.findall(r"`((?:tests|script)/[\w./]+)", proof):
        assert (ROOT / path).exists(), path
    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", proof)) <= {mutant.name for mutant in MUTANTS}


def test_every_document_that_is_linked_exists() -> None:
    for path in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / path).exists(), path


def test_every_section_that_is_linked_exists() -> None:
    titles = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors


def test_the_signature_check_that_is_shown_accepts_what_is_sent(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", section("Being told"), re.DOTALL)
    (tmp_path / "secret").write_text("tell nobody\n")
    with scripted(Answer(200, b"ok"), Answer(200, b"ok")) as server:
        (tmp_path / "url").write_text(server.url)
        receiver = Receiver(
            name="chat", url_file=tmp_path / "url", secret_file=tmp_path / "secret", on=frozenset({"ready"})
        )
        HttpWebhook(receiver, clock=FakeClock()).post({"text": "checkout is ready"}, key="1")
    (asked,) = server.asked
    for body, is_genuine in ((asked.body, True), (asked.body + b" ", False)):
        names = {"hmac": hmac, "hashlib": hashlib, "secret": b"tell nobody", "headers": asked.headers, "body": body}
        exec(shown, names)
        assert names["genuine"] is is_genuine


def test_every_command_is_listed_with_options_that_it_has() -> None:
    click = typer.main.get_command(app)
    commands: dict[str, Any] = getattr(click, "commands")  # noqa: B009  the class of groups is private to Typer
    listed = dict.fromkeys(re.findall(r"`hivequeen (\w+)", section("Commands")))
    assert set(listed) == set(commands)
    for name, rest in re.findall(r"`hivequeen (\w+)([^`]*)`", TEXT.replace("\\|", "|")):
        command = commands[name]
        for word in rest.split():
            command = getattr(command, "commands", {}).get(word, command)
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) - {"--all"} <= known | {"--install-completion"}


def test_every_metric_is_listed_and_exists() -> None:
    exported = set(re.findall(r"^# TYPE (hivequeen_\w+)", Metrics().render().decode(), re.MULTILINE))
    listed = set(re.findall(r"hivequeen_\w+", section("Metrics and alerts")))
    assert listed == exported


def test_every_condition_is_explained() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", section("When it stalls"), re.MULTILINE)) == set(ConditionType)


def listed_settings() -> dict[str, str | None]:
    """Each setting of the table with its default, as written there."""
    listed: dict[str, str | None] = {}
    for line in section("Settings").splitlines():
        if not line.startswith("| `"):
            continue
        _, names, defaults, _ = (cell.strip() for cell in line.split("|", 3))
        parts = [part.strip("`") for part in re.split(r"(?<=`), |^, ", defaults)]
        keys = [key.split(":")[0] for key in re.findall(r"`([^`]*)`", names) if not key.startswith("{")]
        for number, key in enumerate(keys):
            name = keys[0].split(".")[0] + key if key.startswith(".") else key
            listed[name] = (parts[number] if number < len(parts) else "") or None
    return listed


def test_every_setting_is_listed_and_no_other() -> None:
    schema = json.loads((ROOT / "schemas" / "settings.schema.json").read_text())
    known = set()
    for key, value in schema["properties"].items():
        known |= {f"{key}.{inner}" for inner in value["properties"]} if "properties" in value else {key}
    assert set(listed_settings()) == known


def test_the_defaults_in_the_settings_table_are_the_programs(tmp_path: Path) -> None:
    minimal: dict[str, Any] = {
        "fleet": "example",
        "repository": {"url": "/srv/envs.git"},
        "aws": {"region": "us-east-1"},
        "chef": {"server_url": "https://chef/organizations/acme", "client_name": "hq", "client_key": "/k.pem"},
        "bootstrap": {"url": "https://10.0.0.5:9465", "identity_certificates": "/i.pem"},
        "tls": {"certificate": "/c.pem", "key": "/k.pem"},
    }
    said = deepcopy(minimal)
    defaults = {name: default for name, default in listed_settings().items() if default is not None}
    for name, default in defaults.items():
        *parents, key = name.split(".")
        value = yaml.safe_load(f"[{default}]")
        place = said.setdefault(parents[0], {}) if parents else said
        is_limit = name in ("limits.nodes", "limits.environments")
        place[key] = dict(zip(("least", "share"), value, strict=True)) if is_limit else value
        if len(value) == 1:
            (place[key],) = value
    (tmp_path / "minimal.yml").write_text(yaml.safe_dump(minimal))
    (tmp_path / "said.yml").write_text(yaml.safe_dump(said))
    assert len(defaults) > 20
    loaded: list[Settings] = [load(tmp_path / name, check_files=False) for name in ("minimal.yml", "said.yml")]
    assert loaded[0] == loaded[1]


def test_the_iam_policy_allows_exactly_what_is_called() -> None:
    (policy,) = re.findall(r"```json\n(.*?)```", section("Permissions"), re.DOTALL)
    allowed: set[str] = set()
    for statement in json.loads(policy)["Statement"]:
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
    called = {f"{service}:{name}" for service in ("ec2", "ssm") for name in OPERATIONS[service]}
    assert allowed == called | {"iam:PassRole"}


def test_everything_that_changes_or_ends_an_instance_needs_our_tag() -> None:
    (policy,) = re.findall(r"```json\n(.*?)```", section("Permissions"), re.DOTALL)
    for statement in json.loads(policy)["Statement"]:
        if "ec2:TerminateInstances" in statement["Action"] or "ec2:DeleteTags" in statement["Action"]:
            assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/hivequeen:fleet": "example"}}


def test_the_chef_rights_are_exactly_what_is_asked_of_each_container() -> None:
    verbs = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}
    needed: dict[str, set[str]] = {}
    for operation in CHEF_REQUESTS:
        method, _, kind = operation.partition(" ")
        needed.setdefault(kind, set()).add(verbs[method])
    granted = {
        container: set(rights.split(","))
        for container, rights in re.findall(r"containers (\w+) ([a-z,]+)$", section("Permissions"), re.MULTILINE)
    }
    assert granted == needed


def write() -> None:
    """Put the outputs of now into README."""
    text = TEXT
    for name, output in (
        ("plan", "$ hivequeen plan checkout\n" + plan_output(Path(tempfile.mkdtemp()))),
        ("findings", "$ hivequeen validate\n" + findings_output(Path(tempfile.mkdtemp()))),
        ("explain", "$ hivequeen explain checkout roles.web\n" + explain_output()),
    ):
        pattern = rf"(<!-- {name} -->\n```\n).*?(```\n<!-- /{name} -->)"
        text = re.sub(pattern, lambda found, output=output: found[1] + output + found[2], text, flags=re.DOTALL)  # type: ignore[misc]
    review = review_output(Path(tempfile.mkdtemp()))
    pattern = r"(<!-- review -->\n).*?(<!-- /review -->)"
    text = re.sub(pattern, lambda found: found[1] + review + found[2], text, flags=re.DOTALL)
    README.write_text(text)


if __name__ == "__main__":
    write()
