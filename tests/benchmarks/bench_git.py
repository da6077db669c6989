"""What git costs between a push and the plan: `python -m tests.benchmarks.bench_git`. Prints; asserts nothing of time."""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Queue
from typing import TypeVar

from reconciler.adapters.git import GitRepository
from reconciler.daemon.watch import SourceWatch
from reconciler.model.names import RevisionId
from reconciler.settings import RepositorySettings
from tests.fakes.git_source import GitSource

ENVIRONMENTS = 200
ROUNDS = 20
POLL_S = 3600.0

T = TypeVar("T")
Timings = dict[str, list[float]]


def timed(timings: Timings, name: str, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = work()
    timings.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    return result


def files(turn: int) -> dict[str, str]:
    """All environments, of which one differs from turn to turn."""
    declared = {
        f"e{number:03}.yml": f"owner: ops@example.com\nroles: {{web: {{count: {number}}}}}\n"
        for number in range(ENVIRONMENTS)
    }
    return declared | {"turn.yml": f"owner: {turn}\n"}


def follow_a_commit(repository: GitRepository, applied: RevisionId, timings: Timings) -> RevisionId:
    tip = timed(timings, "fetch, one new commit", repository.fetch)
    timed(timings, "descends", lambda: repository.descends(tip, applied))
    entries = timed(timings, "tree", lambda: repository.tree(tip))
    changed = [entry.blob for entry in entries if entry.path == "turn.yml"]
    timed(timings, "read, one blob", lambda: repository.read(changed, limit_bytes=1 << 18))
    timed(timings, "mark_applied", lambda: repository.mark_applied(tip))
    return tip


def bench_reading(source: GitSource, mirror: Path) -> None:
    timings: Timings = {}
    repository = GitRepository(RepositorySettings(url=str(source.path)), mirror)
    source.push(files(0))
    applied = timed(timings, "fetch, the first", repository.fetch)
    for turn in range(1, ROUNDS + 1):
        source.push(files(turn))
        applied = timed(timings, "all five for one commit", partial(follow_a_commit, repository, applied, timings))
        timed(timings, "fetch, nothing new", repository.fetch)
        timed(timings, "commit", partial(repository.commit, applied))
        blobs = [entry.blob for entry in repository.tree(applied)]
        timed(timings, f"read, {len(blobs)} blobs", partial(repository.read, blobs, limit_bytes=1 << 18))
    show(timings)


def bench_watching(source: GitSource) -> None:
    timings: Timings = {}
    seen: Queue[float] = Queue()
    watch = SourceWatch(
        RepositorySettings(url=str(source.path)), POLL_S, lambda: seen.put(time.perf_counter()), lambda _trouble: None
    )
    watch.start()
    seen.get(timeout=10)
    time.sleep(1)  # that was the call before watching begins
    for turn in range(ROUNDS):
        # Only the last step of a push counts: git has moved the ref.
        file = source.path / "refs" / "heads" / "main"
        new = file.with_name("main.lock")
        new.write_text(file.read_text() + "\n" * (turn % 2))
        began = time.perf_counter()
        new.replace(file)
        timings.setdefault("a push is seen", []).append((seen.get(timeout=10) - began) * 1000)
        time.sleep(0.1)  # a burst would be grouped
    watch.stop()
    show(timings)


def show(timings: Timings) -> None:
    for name, values in timings.items():
        print(f"{name:<28} median {statistics.median(values):7.2f} ms   max {max(values):7.2f} ms   of {len(values)}")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        source = GitSource(Path(directory) / "upstream")
        bench_reading(source, Path(directory) / "mirror.git")
        bench_watching(source)


if __name__ == "__main__":
    main()
