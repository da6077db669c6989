"""What planning and guarding look at: the two states, the journal's memory, the rules and the moment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType

from reconciler.model.commits import Commit
from reconciler.model.desired import Desired
from reconciler.model.memory import Intent, IntentState, Memory
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import Observed, ObservedEnvironment
from reconciler.model.rules import Rules


@dataclass(frozen=True, kw_only=True)
class Context:
    desired: Desired
    observed: Observed
    memory: Memory
    rules: Rules
    now: datetime
    commit: Commit | None = None  # of the revision; None where it could not be read
    # Of files that are gone, and of those whose lifetime counts from it: the newest commit that touched them, by path.
    touched: Mapping[str, Commit] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def revision(self) -> RevisionId:
        return self.desired.revision

    def environment(self, name: EnvironmentName) -> ObservedEnvironment:
        """What is there of it; empty where nothing is."""
        return self.observed.environments.get(name) or ObservedEnvironment(name=name)

    @cached_property
    def open_intents(self) -> Mapping[EnvironmentName, Sequence[Intent]]:
        """Launches whose outcome is unknown, oldest first: while there are any, nothing may be called empty."""
        found: dict[EnvironmentName, list[Intent]] = defaultdict(list)
        for intent in sorted(self.memory.intents.values(), key=lambda one: (one.opened_at, one.token)):
            if intent.state == IntentState.OPEN:
                found[intent.environment].append(intent)
        return dict(found)
