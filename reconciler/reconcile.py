"""One pass: the program's story. (Being written; the signatures below are settled.)"""

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.model.desired import Environment, Role
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass, Scope
from reconciler.ports import ChefServer, Clock, Cloud, Journal, Repository
from reconciler.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that a pass needs."""

    clock: Clock
    repository: Repository
    cloud: Cloud
    chef: ChefServer
    journal: Journal


class Reconciler:
    """Makes passes, one at a time (the caller's duty). Keeps caches only; forgetting them changes nothing but speed."""

    def __init__(
        self,
        *,
        ports: Ports,
        settings: Settings,
        first_boot: Callable[[Environment, Role], str],
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`first_boot` renders a role's user-data. `is_stopping` is asked between actions: true ends the pass early."""

    def reconcile(self, scope: Scope) -> Pass:
        """One whole pass: source, spec, observe, plan, guard, converge; journal, conditions and events written. Never raises HivequeenError."""
        raise NotImplementedError

    def preview(self, scope: Scope) -> Pass:
        """The same up to the guards, and nothing is written anywhere: `hivequeen plan`."""
        raise NotImplementedError

    def changed_scope(self) -> Scope | None:
        """Fetch, and name what changed since the last accepted revision; None: nothing did. Called by the loop on a wake from git."""
        raise NotImplementedError

    def refresh_images(self, environment: EnvironmentName) -> None:
        """Forget the environment's image pins in the next pass: moving images are resolved again."""
        raise NotImplementedError
