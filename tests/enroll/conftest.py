"""A world per test, and keys that take too long to make for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from reconciler.sandbox.authority import new_key
from tests.enroll.world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="session")
def key() -> RSAPrivateKey:
    return new_key()


@pytest.fixture(scope="session")
def other_key() -> RSAPrivateKey:
    return new_key()
