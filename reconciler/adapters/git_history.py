"""Which commit touched a file last: the same answer as `git log -1 -- FILE`, for many files in one walk."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import IO, Final, NamedTuple

from reconciler.model.names import RevisionId

_CHUNK_BYTES: Final = 1 << 16
_REVISION: Final = re.compile(rb"[0-9a-f]{40}")
_LAST_MOMENT_S: Final = 253402300799  # of the year 9999: a commit may claim to be later, a datetime cannot


def moment(seconds: str) -> datetime:
    """A commit's date, by git's `%ct`."""
    return datetime.fromtimestamp(min(int(seconds), _LAST_MOMENT_S), UTC)


class Step(NamedTuple):
    revision: RevisionId
    parents: tuple[RevisionId, ...]


def steps(listing: bytes) -> tuple[Step, ...]:
    """Of `rev-list --topo-order --parents`: every commit before its parents."""
    lines = [line.split() for line in listing.decode().splitlines()]
    return tuple(Step(RevisionId(line[0]), tuple(map(RevisionId, line[1:]))) for line in lines)


def comparisons(history: Iterable[Step]) -> Iterator[str]:
    """What `diff-tree --stdin` is asked: each commit against each of its parents, a first one against nothing."""
    for revision, parents in history:
        yield from (f"{revision} {parent}" for parent in parents) if parents else (revision,)


def differences(answers: IO[bytes], folder: str) -> Iterator[frozenset[str]]:
    """The changed paths (below the folder) of each comparison; ends early if git does."""
    prefix = "" if folder == "." else f"{folder}/"
    changed: set[str] | None = None
    records = _records(answers)
    for record in records:
        if record.startswith(b":"):
            path = next(records, b"").decode(errors="backslashreplace")
            if changed is not None and path.startswith(prefix):
                changed.add(path.removeprefix(prefix))
        elif _REVISION.fullmatch(record):
            if changed is not None:
                yield frozenset(changed)
            changed = set()
        else:
            return
    if changed is not None:
        yield frozenset(changed)


def _records(answers: IO[bytes]) -> Iterator[bytes]:
    """What is separated by NUL; an unfinished last one is left out."""
    rest = b""
    while chunk := answers.read(_CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole


def newest(
    revision: RevisionId, history: Sequence[Step], changes: Iterator[frozenset[str]], paths: Collection[str]
) -> Mapping[str, RevisionId]:
    """Of each path the commit that made it what it is at `revision`; those that no commit of the history made are left out.

    A merge that took a path over from one of its parents did not touch it: that parent's line tells.

    Raises:
        EOFError: a comparison is missing.
    """
    sought = {revision: set(paths)}
    found: dict[str, RevisionId] = {}
    for step in history:
        compared = [next(changes, None) for _ in step.parents or (None,)]
        for path in sought.pop(step.revision, ()):
            if any(changed is None for changed in compared):
                raise EOFError(step.revision)
            unlike = [changed is not None and path in changed for changed in compared]
            if all(unlike):
                found[path] = step.revision
            elif step.parents:
                sought.setdefault(step.parents[unlike.index(False)], set()).add(path)
        if not sought:
            break
    return found
