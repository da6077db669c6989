"""What the history says of a revision and its files: who made it, and which commit touched which file last."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reconciler.errors import HivequeenError
from reconciler.model.commits import Commit
from reconciler.model.desired import Desired, Environment
from reconciler.model.memory import Memory
from reconciler.model.names import SPEC_SUFFIXES, EnvironmentName, RevisionId
from reconciler.ports import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The default is a history that nothing is known of: nobody is named, and nothing expires."""

    commit: Commit | None = None  # of the revision itself
    touched: Mapping[str, Commit] = field(default_factory=lambda: MappingProxyType({}))  # by path, "checkout.yml"


class History:
    """Asks only about files of which somebody needs to know, and walks only over what is new since it asked last."""

    def __init__(self, repository: Repository, *, folder: str, has_default_ttl: bool = False) -> None:
        """
        Args:
            has_default_ttl: files that name neither ttl nor expires have a time to live too.
        """
        self._repository = repository
        self._has_default_ttl = has_default_ttl
        self._prefix = f"{folder.rstrip('/')}/"  # as the reader writes it before a file's name
        self._commit: Commit | None = None
        self._walked: RevisionId | None = None  # the revision up to which `_lasting` is right
        self._lasting: Mapping[str, Commit] = {}  # of declared files whose lifetime counts from it
        self._asked: tuple[RevisionId, frozenset[tuple[EnvironmentName, RevisionId]]] | None = (
            None  # what `_gone` answers
        )
        self._gone: Mapping[str, Commit] = {}

    def tell(self, desired: Desired, memory: Memory) -> tuple[Told, HivequeenError | None]:
        """Of the revision, of files that are gone, and of those with a time to live.

        The error is there where the history could not be read; what it would have said is left out then.
        """
        try:
            return Told(commit=self._commit_of(desired.revision), touched=self._touched(desired, memory)), None
        except HivequeenError as error:
            return Told(commit=self._commit), error

    def _commit_of(self, revision: RevisionId) -> Commit:
        if self._commit is None or self._commit.revision != revision:
            self._commit = None
            self._commit = self._repository.commit(revision)
        return self._commit

    def _touched(self, desired: Desired, memory: Memory) -> Mapping[str, Commit]:
        self._follow(desired)
        gone = frozenset(
            (name, known.declared_by)
            for name, known in memory.environments.items()
            if name not in desired.names and known.ending is None
        )
        if self._asked != (desired.revision, gone):
            self._gone = self._removals(desired.revision, gone)
            self._asked = (desired.revision, gone)
        return {**self._lasting, **self._gone}

    def _removals(
        self, revision: RevisionId, gone: Collection[tuple[EnvironmentName, RevisionId]]
    ) -> Mapping[str, Commit]:
        """Who removed their files: somebody after the revision that declared them last, so only that part is walked."""
        found: dict[str, Commit] = {}
        for last in sorted({declared_by for _, declared_by in gone}):
            paths = [f"{name}{ending}" for name, declared_by in gone if declared_by == last for ending in SPEC_SUFFIXES]
            after = last if self._repository.descends(revision, last) else None
            found |= self._repository.touched(revision, paths, after=after)
        return found

    def _follow(self, desired: Desired) -> None:
        """Bring what is known of declared files up to the revision; of new ones the whole history is asked."""
        wanted = {
            environment.origin.file.removeprefix(self._prefix)
            for environment in desired.environments.values()
            if self._counts_from_commit(environment)
        }
        lasting = {path: commit for path, commit in self._lasting.items() if path in wanted}
        if lasting and self._walked != desired.revision:
            if self._walked is not None and self._repository.descends(desired.revision, self._walked):
                lasting |= self._repository.touched(desired.revision, set(lasting), after=self._walked)
            else:
                lasting = {}
        if unknown := wanted - set(lasting):
            lasting |= self._repository.touched(desired.revision, unknown)
        self._lasting, self._walked = lasting, desired.revision

    def _counts_from_commit(self, environment: Environment) -> bool:
        life = environment.lifetime
        is_default = self._has_default_ttl and life.expires_at is None and not environment.protected
        return life.ttl is not None or is_default
