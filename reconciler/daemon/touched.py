"""Which commit touched a file last: asked of the history when somebody asks why, so that no pass walks over it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from reconciler.errors import HivequeenError
from reconciler.model.commits import Commit
from reconciler.model.names import RevisionId
from reconciler.ports import Repository
from reconciler.report.statements import Touched

ANSWERS_KEPT: Final = 64  # one for each revision and environment that is asked about; a revision's never changes


def from_history(repository: Repository, folder: str) -> Touched:
    """
    Args:
        folder: the watched one, as the reader writes it before a file's name.
    """
    prefix = f"{folder.rstrip('/')}/"

    @lru_cache(maxsize=ANSWERS_KEPT)
    def walk(revision: RevisionId, files: frozenset[str]) -> Mapping[str, Commit]:
        found = repository.touched(revision, {file.removeprefix(prefix) for file in files})
        return {f"{prefix}{path}": commit for path, commit in found.items()}

    def ask(revision: RevisionId, files: frozenset[str]) -> Mapping[str, Commit]:
        try:
            return walk(revision, files)
        except HivequeenError:  # an answer without an author is better than none
            return {}

    return ask
