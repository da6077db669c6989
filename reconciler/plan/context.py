"""What planning and guarding look at: the two states, the journal's memory, the rules and the moment."""

from dataclasses import dataclass
from datetime import datetime

from reconciler.model.desired import Desired
from reconciler.model.memory import Memory
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import Observed, ObservedEnvironment
from reconciler.model.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
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
