"""From a commit to RunInstances, and the cost of a pass with nothing to do: 200 environments, a local repository.

    python -m tests.benchmarks.bench_commit

Real are git, the watcher, the loop and the journal (on disk); EC2 and Chef are the fakes in memory. The time is taken
from just before the branch moves until RunInstances is called.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reconciler.adapters.clock import SystemClock
from reconciler.adapters.git import GitRepository
from reconciler.adapters.journal import SqliteJournal
from reconciler.daemon.loop import Loop
from reconciler.daemon.wakes import Wakes
from reconciler.daemon.watch import SourceWatch
from reconciler.model import tags
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import InstanceId, IntentToken, node_run_list
from reconciler.model.passes import Pass, Scope
from reconciler.reconcile import Ports, Reconciler
from reconciler.settings import Intervals, RepositorySettings
from tests.fakes.chef import FakeChefServer
from tests.fakes.cloud import FakeCloud
from tests.fakes.git_source import GitSource, run_git
from tests.reconcile.world import CHECKOUT, PRODUCTION, PUBLIC_KEY, settings_for

SMALL = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 1")
UNSEEN = "refs/heads/prepared"  # commits wait here, so that moving the branch is all that is timed


class TimedCloud(FakeCloud):
    """Notes when it was asked to launch for an environment."""

    launched_at: dict[str, float]
    has_launched: threading.Condition

    def run_instances(self, token: IntentToken, parameters: LaunchParameters) -> Sequence[InstanceId]:
        with self.has_launched:
            self.launched_at.setdefault(dict(parameters.tags)[tags.ENVIRONMENT], time.perf_counter())
            self.has_launched.notify_all()
        return super().run_instances(token, parameters)


def settle(reconciler: Reconciler, cloud: FakeCloud, chef: FakeChefServer, journal: SqliteJournal) -> None:
    """Every instance becomes a ready node."""
    everything = Scope(environments=None, because="benchmark")
    for _ in range(5):
        reconciler.reconcile(everything)
        for record in journal.recall(SystemClock().now()).nodes.values():
            if record.registered_at is None:
                journal.register(record.instance_id, PUBLIC_KEY, SystemClock().now())
                chef.create_client(record.name, PUBLIC_KEY)
                chef.save_node(
                    record.name,
                    chef_environment=record.environment,
                    run_list=node_run_list(record.environment, record.role),
                    ohai_time=time.time(),
                )
    chef.index()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--environments", type=int, default=200)
    parser.add_argument("--commits", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(Path(scratch), options.environments, options.commits)


def run(directory: Path, environments: int, commits: int) -> None:
    source = GitSource(directory / "git")
    files = {"production.yml": SMALL} | {f"feature-{n}.yml": CHECKOUT for n in range(environments - 1)}
    source.push(files)
    cloud = TimedCloud(clock=SystemClock())
    cloud.launched_at, cloud.has_launched = {}, threading.Condition()
    chef = FakeChefServer()
    journal = SqliteJournal(f"sqlite:///{directory / 'state.db'}")
    repository = RepositorySettings(url=str(source.path))
    settings = replace(settings_for(directory), repository=repository)
    reconciler = Reconciler(
        ports=Ports(
            clock=SystemClock(),
            repository=GitRepository(repository, directory / "mirror.git"),
            cloud=cloud,
            chef=chef,
            journal=journal,
        ),
        settings=settings,
        first_boot=lambda _environment, _role: "#!/bin/sh\n",
        user_data_limit_bytes=8192,
    )
    began = time.perf_counter()
    settle(reconciler, cloud, chef, journal)
    print(f"{environments} environments, {len(cloud.alive())} nodes brought up in {time.perf_counter() - began:.2f} s")
    time_idle_passes(reconciler)
    time_commits(source=source, files=files, reconciler=reconciler, repository=repository, cloud=cloud, commits=commits)
    reconciler.close()
    journal.close()


def time_idle_passes(reconciler: Reconciler) -> None:
    took = []
    for _ in range(10):
        began = time.perf_counter()
        done = reconciler.reconcile(Scope(environments=None, because="benchmark"))
        took.append(time.perf_counter() - began)
        assert done.plan is not None
        assert done.plan.is_empty
    print(
        f"full pass, nothing to do: median {statistics.median(took) * 1000:.0f} ms, longest {max(took) * 1000:.0f} ms"
    )


def time_commits(
    *,
    source: GitSource,
    files: dict[str, str],
    reconciler: Reconciler,
    repository: RepositorySettings,
    cloud: TimedCloud,
    commits: int,
) -> None:
    wakes = Wakes()
    made: list[Pass] = []
    loop = Loop(
        passes=reconciler,
        mailbox=wakes,
        monotonic=time.monotonic,
        intervals=Intervals(resync_s=3600, progress_s=3600),
        on_pass=made.append,
        on_progress=lambda: None,
    )
    watch = SourceWatch(repository, 15, wakes.git_changed, print)
    thread = threading.Thread(target=loop.run)
    thread.start()
    watch.start()
    took = []
    for number in range(commits):
        name = f"new-{number}"
        files = {**files, f"{name}.yml": CHECKOUT}
        prepare(source, files)
        idle = len(made)
        began = time.perf_counter()
        run_git(source.path, "update-ref", "refs/heads/main", UNSEEN)
        with cloud.has_launched:
            cloud.has_launched.wait_for(lambda name=name: name in cloud.launched_at, timeout=10)  # type: ignore[misc]
        took.append(cloud.launched_at[name] - began)
        while len(made) == idle:  # the pass ends before the next commit begins
            thread.join(0.005)
    watch.stop()
    wakes.stop()
    thread.join()
    print(
        f"commit of one new environment to RunInstances: median {statistics.median(took) * 1000:.0f} ms, "
        f"longest {max(took) * 1000:.0f} ms of {commits}"
    )


def prepare(source: GitSource, files: dict[str, str]) -> None:
    """Commit in the clone, and bring the objects without moving the branch."""
    folder = source.clone / "environments.d"
    for name, content in files.items():
        (folder / name).write_text(content)
    run_git(source.clone, "add", "-A")
    run_git(source.clone, "commit", "-q", "-m", "Add one")
    run_git(source.clone, "push", "-q", "--force", str(source.path), f"HEAD:{UNSEEN}")


if __name__ == "__main__":
    main()
