"""Taking the file of an expired environment out of the repository, once nothing of the environment is left."""

import logging
from collections.abc import Iterator

from reconciler.errors import Conflict, HivequeenError
from reconciler.model.desired import Desired
from reconciler.model.memory import EndingCause, IntentState, Memory, suspension_of
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Observed
from reconciler.model.plan import Plan
from reconciler.model.rules import Rules
from reconciler.ports import Repository

log = logging.getLogger(__name__)


def retired(
    plan: Plan, desired: Desired, observed: Observed, memory: Memory, rules: Rules
) -> Iterator[EnvironmentName]:
    """Declared environments that this very plan takes for over, and of which a whole look found nothing left."""
    if not observed.is_full or any(not frozen.is_trace for frozen in desired.frozen.values()):
        return  # a file that cannot be read may extend any other
    parents = {parent for other in desired.environments.values() for parent in other.parents}
    busy = {intent.environment for intent in memory.intents.values() if intent.state is IntentState.OPEN}
    idle = {one.name for one in plan.environments if not (one.is_declared or one.actions or one.blocked or one.stalls)}
    for name in sorted((idle & set(desired.environments)) - parents - busy):
        known, there = memory.environments.get(name), observed.environments.get(name)
        if known is None or known.ending is None or known.ending.cause is not EndingCause.EXPIRED:
            continue
        is_over = observed.at >= known.ending.at + rules.teardown_grace and known.teardown_began_at is None
        is_suspended = suspension_of(name, memory.suspensions, observed.at) is not None
        if is_over and (there is None or there.is_empty) and not (is_suspended or desired.environments[name].suspend):
            yield name


class Retirement:
    """Commits removals onto the revision that was judged: whatever was pushed since is read and judged first."""

    def __init__(self, repository: Repository, *, folder: str) -> None:
        self._repository = repository
        self._folder = folder

    def retire(self, desired: Desired, name: EnvironmentName) -> HivequeenError | None:
        """Remove its file; the error, if that could not be done now. Once it is done, the next needs a new judgement."""
        path = desired.environments[name].origin.file.removeprefix(f"{self._folder.rstrip('/')}/")
        message = f"Remove {path}: its lifetime is over\n\nHivequeen tore {name} down when it expired."
        try:
            revision = self._repository.remove(path, onto=desired.revision, message=message)
        except Conflict:
            return None
        except HivequeenError as error:
            return error
        log.info("file removed", extra={"environment": name, "file": path, "revision": revision})
        return None
