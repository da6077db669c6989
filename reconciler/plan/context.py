"""What planning and guarding look at: the two states, the journal's memory, the rules and the moment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

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
