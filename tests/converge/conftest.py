from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.converge.outside import Journal, Outside


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    with Journal(f"sqlite:///{tmp_path / 'state.db'}") as journal:
        yield Outside(journal=journal)
