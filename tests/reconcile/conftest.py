from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reconcile.world import World, settings_for


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(directory=tmp_path, settings=settings_for(tmp_path))
    yield world
    world.close()
