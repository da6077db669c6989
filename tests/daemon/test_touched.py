"""Who is named when somebody asks why: whoever touched the file last, whatever was committed since."""

from dataclasses import replace
from pathlib import Path

from reconciler.adapters.journal import SqliteJournal
from reconciler.daemon.touched import from_history
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.plan import EnvironmentPlan
from reconciler.report.why import why
from tests.fakes.clock import FakeClock
from tests.fakes.repository import FakeRepository
from tests.report.world import FILE, desired, environment, made

JESSICA = "Jessica <jessica@example.com>"
TOMAS = "Tomas <tomas@example.com>"
OTHER = "environments.d/other.yml"


def pushed(repository: FakeRepository) -> tuple[RevisionId, RevisionId]:
    """Jessica's commit of the file, and Tomas' of another one, which applies."""
    hers = repository.push({"checkout.yml": "a"}, author=JESSICA)
    newest = repository.push({"checkout.yml": "a", "other.yml": "b"}, author=TOMAS)
    repository.fetch()
    return hers, newest


def test_why_names_the_commit_that_touched_the_file_and_not_the_one_that_applies(tmp_path: Path) -> None:
    repository = FakeRepository()
    hers, newest = pushed(repository)
    plan = EnvironmentPlan(name=EnvironmentName("checkout"))
    passed = made(plan, wanted=desired(environment()), commit=repository.commit(newest))
    with SqliteJournal(f"sqlite:///{tmp_path}/state.db") as journal:
        passed = replace(passed, revision=newest)
        document = why("checkout", passed, journal, FakeClock().now(), from_history(repository, "environments.d"))
    statements = document["statements"]
    assert isinstance(statements, list)
    declared = statements[0]
    assert isinstance(declared, dict)
    assert (declared["revision"], declared["commit"], declared["author"]) == (newest, hers, JESSICA)


def test_the_history_is_walked_when_somebody_asks_and_once_for_each_revision() -> None:
    repository = FakeRepository()
    _, newest = pushed(repository)
    touched = from_history(repository, "environments.d/")
    assert repository.walks == 0
    files = frozenset({FILE.file, OTHER})
    assert {file: one.author for file, one in touched(newest, files).items()} == {FILE.file: JESSICA, OTHER: TOMAS}
    assert touched(newest, files) == touched(newest, files)
    assert repository.walks == 1
    last = repository.edit({"checkout.yml": "c"}, subject="Grow")
    repository.fetch()
    assert touched(last, files)[FILE.file].revision == last
    assert repository.walks == 2


def test_a_history_that_cannot_be_read_names_nobody_until_it_can() -> None:
    repository = FakeRepository()
    _, newest = pushed(repository)
    touched = from_history(repository, "environments.d")
    repository.lose(newest)
    assert touched(newest, frozenset({FILE.file})) == {}
    repository.find(newest)
    assert touched(newest, frozenset({FILE.file}))[FILE.file].author == JESSICA
    assert touched(RevisionId("0" * 40), frozenset({FILE.file})) == {}
