"""Each mutant puts one known bug into a copy of the program; the tests that are named for it must turn red."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
TESTS_FAILED = 1  # pytest's exit code; 0 would be a survivor, anything else a mistake of this test
BESIDE = ("tests", "schemas", "environments.d", "pyproject.toml")


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_suite_catches(mutant: Mutant, tmp_path: Path) -> None:
    for name in BESIDE:
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "reconciler", tmp_path / "reconciler", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "reconciler" / mutant.file
    before = source.read_text()
    assert before.count(mutant.good) == 1, f"{mutant.file} has changed: bring the mutant {mutant.name} up to date"
    source.write_text(before.replace(mutant.good, mutant.bad))

    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *mutant.caught_by],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert told.returncode == TESTS_FAILED, f"{mutant.name} survives: {mutant.bug}\n{told.stdout[-3000:]}{told.stderr}"


def test_there_are_enough_of_them_and_no_two_alike() -> None:
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.file, mutant.good, mutant.bad) for mutant in MUTANTS}) == len(MUTANTS)
