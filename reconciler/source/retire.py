"""Taking the file of an expired environment out of the repository, once nothing of the environment is left."""

import logging
from collections.abc import Iterator

from reconciler.errors import Conflict, HivequeenError
from reconciler.model.desired import Desired
from reconciler.model.memory import EndingCause, IntentState, Memory
from reconciler.model.names import BlobId, EnvironmentName
from reconciler.model.observed import Observed
from reconciler.model.rules import Rules
from reconciler.ports import Repository

log = logging.getLogger(__name__)


def retired(desired: Desired, observed: Observed, memory: Memory, rules: Rules) -> Iterator[EnvironmentName]:
    """Declared environments whose lifetime is over, and of which a whole look found nothing left."""
    if not observed.is_full or any(not frozen.is_trace for frozen in desired.frozen.values()):
        return  # a file that cannot be read may extend any other
    parents = {parent for other in desired.environments.values() for parent in other.parents}
    busy = {intent.environment for intent in memory.intents.values() if intent.state is IntentState.OPEN}
    for name in desired.environments:
        known, there = memory.environments.get(name), observed.environments.get(name)
        if known is None or known.ending is None or known.ending.cause is not EndingCause.EXPIRED:
            continue
        is_over = observed.at >= known.ending.at + rules.teardown_grace and known.teardown_began_at is None
        is_gone = name not in busy and (there is None or there.is_empty) and name not in observed.unreadable
        if is_over and is_gone and name not in parents:
            yield name


class Retirement:
    """Commits each removal once; what the newest revision changed meanwhile stays, for somebody renewed it."""

    def __init__(self, repository: Repository, *, folder: str) -> None:
        self._repository = repository
        self._folder = folder
        self._done: set[tuple[str, BlobId]] = set()

    def retire(self, desired: Desired, name: EnvironmentName) -> HivequeenError | None:
        """Remove its file; the error, if that could not be done now."""
        path = desired.environments[name].origin.file.removeprefix(f"{self._folder.rstrip('/')}/")
        try:
            entries = self._repository.tree(desired.revision)
            blob = next((entry.blob for entry in entries if entry.path == path), None)
            if blob is None or (path, blob) in self._done:
                return None
            message = f"Remove {path}: its lifetime is over\n\nHivequeen tore {name} down when it expired."
            revision = self._repository.remove(path, blob=blob, message=message)
        except Conflict:
            return None  # it was changed: the next fetch says how
        except HivequeenError as error:
            return error
        self._done.add((path, blob))
        log.info("file removed", extra={"environment": name, "file": path, "revision": revision})
        return None
