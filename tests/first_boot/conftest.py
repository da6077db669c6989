"""One site and one machine per test; the TLS authority is made once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.sandbox.authority import ListenerFiles, certify_loopback
from tests.first_boot.machine import Machine
from tests.first_boot.site import Site, site


@pytest.fixture(scope="session")
def listener() -> ListenerFiles:
    return certify_loopback(datetime.now(UTC))


@pytest.fixture
def here(tmp_path: Path, listener: ListenerFiles) -> Iterator[Site]:
    (tmp_path / "site").mkdir()
    with site(tmp_path / "site", listener) as built:
        yield built


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)
