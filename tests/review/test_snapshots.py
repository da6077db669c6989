"""The daemon keeps the last complete observation, whole, seldom enough, and never at a pass's cost."""

import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.daemon.latest import Latest
from reconciler.daemon.snapshots import Snapshots, snapshot_of
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Failure, Pass, Scope
from reconciler.model.plan import Blocked, Guard, Plan
from reconciler.review.codec import parse
from tests.fakes.clock import BEGAN
from tests.reconcile.world import CHECKOUT, PRODUCTION, World, settings_for

PATIENCE_S = 10


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(directory=tmp_path, settings=settings_for(tmp_path))
    made.commit(production=PRODUCTION, checkout=CHECKOUT)
    yield made
    made.close()


class Watch:
    """A monotonic clock that moves when a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def kept(file: Path) -> bool:
    """Waits until it is there, bounded."""
    deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not file.exists() and time.monotonic() < deadline:
        pause.wait(0.01)
    return file.exists()


def test_a_full_pass_becomes_a_snapshot_that_tells_what_the_pass_saw(world: World) -> None:
    world.settle()
    done = world.reconcile()
    found = snapshot_of(done, world.settings)
    assert found is not None
    assert done.observed is not None
    assert found.observed.environments == done.observed.environments
    assert (found.revision, found.region, found.folder) == (done.revision, "us-east-1", "environments.d")
    assert found.stops == ()


def test_what_saw_less_than_everything_becomes_none(world: World) -> None:
    world.settle()
    assert snapshot_of(world.reconcile("checkout"), world.settings) is None
    blind = replace(world.reconcile(), observed=None)
    assert snapshot_of(blind, world.settings) is None


def test_it_is_dated_by_the_last_look_at_everything_whatever_was_tried_since(world: World) -> None:
    world.settle()
    latest = Latest()
    latest.keep(world.reconcile())
    seen_at = world.clock.now()
    world.clock.advance(3600)
    failure = Failure(stage="observe", message="EC2 is unreachable", remedy="", needs_person=False)
    now = world.clock.now()
    latest.keep(
        Pass(scope=Scope(environments=None, because="resync"), started_at=now, ended_at=now, failures=(failure,))
    )
    latest.keep(world.reconcile("checkout"))  # of everything else it saw nothing
    assert latest.whole is not None
    found = snapshot_of(latest.whole, world.settings)
    assert found is not None
    assert found.at == seen_at


def test_what_holds_the_installation_is_kept_and_what_is_of_one_revision_is_not(world: World) -> None:
    world.settle()
    done = world.reconcile()
    assert done.revision is not None
    blocks = tuple(Blocked(guard=guard, message="", remedy="") for guard in (Guard.HISTORY, Guard.NOT_OWNER))
    held = replace(done, plan=Plan(revision=done.revision, environments=(), blocked=blocks))
    found = snapshot_of(held, world.settings)
    assert found is not None
    assert [stop.guard for stop in found.stops] == [Guard.NOT_OWNER]


def test_the_first_is_written_at_once_and_what_comes_soon_after_with_the_end(world: World, tmp_path: Path) -> None:
    world.settle()
    file = tmp_path / "world.json"
    snapshots = Snapshots(file, world.settings, monotonic=Watch())
    snapshots.start()
    first = world.reconcile()
    snapshots.keep(first)
    assert kept(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    for _ in range(3):
        world.clock.advance(10)
        snapshots.keep(world.reconcile())
    assert parse(file.read_bytes(), file="").at == first.ended_at
    snapshots.stop()
    assert parse(file.read_bytes(), file="").at == world.clock.now()
    assert sorted(path.name for path in tmp_path.glob("*world*")) == ["world.json"]


def test_a_scoped_pass_leaves_the_file_as_it_is(world: World, tmp_path: Path) -> None:
    world.settle()
    snapshots = Snapshots(tmp_path / "world.json", world.settings, monotonic=Watch())
    snapshots.start()
    snapshots.keep(world.reconcile("checkout"))
    snapshots.keep(None)
    snapshots.stop()
    assert not (tmp_path / "world.json").exists()


def test_a_folder_that_cannot_be_written_harms_nobody(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world.settle()
    snapshots = Snapshots(tmp_path / "nowhere" / "world.json", world.settings, monotonic=Watch())
    snapshots.start()
    snapshots.keep(world.reconcile())
    snapshots.stop()
    assert "snapshot not written" in caplog.text


def test_stopping_what_never_started_is_nothing(tmp_path: Path) -> None:
    Snapshots(tmp_path / "world.json", settings_for(tmp_path), monotonic=Watch()).stop()


def test_keeping_a_pass_over_a_thousand_nodes_costs_the_loop_nothing(tmp_path: Path) -> None:
    """The writing is another thread's: the loop only hands over what it has."""
    snapshots = Snapshots(tmp_path / "world.json", settings_for(tmp_path), monotonic=Watch())
    scope = Scope(environments=frozenset({EnvironmentName("x")}), because="test")
    before = time.perf_counter()
    for _ in range(1000):
        snapshots.keep(Pass(scope=scope, started_at=BEGAN, ended_at=BEGAN))
    assert time.perf_counter() - before < 1
