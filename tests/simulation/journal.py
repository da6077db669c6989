"""The journal without a database, behind its port: `journal_model` with events and conditions beside it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from reconciler.model.conditions import Condition, Event
from reconciler.model.facts import Fact
from reconciler.model.memory import Intent, Memory, NodeRecord
from reconciler.model.names import EnvironmentName, InstallationId, InstanceId, IntentToken
from tests.adapters.journal_model import JournalModel

EVENTS_KEPT = 500


class SimulatedJournal:
    """Survives what the daemon does not: a restart makes a new daemon on the same one."""

    def __init__(self, installation: str) -> None:
        self.model = JournalModel(InstallationId(installation))
        self.told: list[Event] = []
        self._conditions: dict[EnvironmentName | None, tuple[Condition, ...]] = {}

    @property
    def memory(self) -> Memory:
        return self.model.memory

    def recall(self, now: datetime) -> Memory:
        return self.model.recall(now)

    def record(self, at: datetime, *facts: Fact) -> None:
        self.model.record(at, *facts)

    def register(self, instance_id: InstanceId, public_key: str, at: datetime) -> str:
        return self.model.register(instance_id, public_key, at)

    def node(self, instance_id: InstanceId) -> NodeRecord | None:
        return self.memory.nodes.get(instance_id)

    def intent(self, token: IntentToken) -> Intent | None:
        return self.memory.intents.get(token)

    def append(self, *events: Event) -> None:
        self.told.extend(events)
        del self.told[:-EVENTS_KEPT]

    def events(self, environment: EnvironmentName | None = None, *, limit: int = 100) -> Sequence[Event]:
        return [event for event in self.told if environment in (None, event.environment)][-limit:]

    def set_conditions(
        self, environment: EnvironmentName | None, conditions: Sequence[Condition], at: datetime
    ) -> Sequence[Condition]:
        before = {one.type: one for one in self._conditions.get(environment, ())}
        kept, changed = [], []
        for one in conditions:
            known = before.get(one.type)
            is_same = known is not None and (known.is_true, known.reason) == (one.is_true, one.reason)
            dated = replace(one, since=known.since if known is not None and is_same else at)
            kept.append(dated)
            if not is_same:
                changed.append(dated)
        self._conditions[environment] = tuple(kept)
        return changed

    def conditions(self) -> Sequence[Condition]:
        return [one for group in self._conditions.values() for one in group]
