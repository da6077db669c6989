"""What planning and guarding look at: the two states, the journal's memory, the rules and the moment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import MappingProxyType

from reconciler.model.commits import Commit
from reconciler.model.desired import Desired
from reconciler.model.memory import Intent, IntentState, Item, ItemKind, Memory
from reconciler.model.names import EnvironmentName, RevisionId, split_chef_role_name
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
    folder: str = "environments.d"  # the watched one: where those paths begin
    stale: str | None = None  # why a newer revision may say otherwise; None: it is the newest that there is

    @property
    def revision(self) -> RevisionId:
        return self.desired.revision

    @property
    def author(self) -> str:
        """Of the newest commit; "" where it cannot be told."""
        return self.commit.author if self.commit is not None else ""

    def has_begun(self, name: EnvironmentName) -> bool:
        """Whether its teardown has: no grace, no limit and no approval stands against the rest of it."""
        known = self.memory.environments.get(name)
        return known is not None and known.teardown_began_at is not None

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

    @cached_property
    def orphans(self) -> Mapping[EnvironmentName, Sequence[Item]]:
        """Generated Chef objects that nobody wanted when they were last looked at, by the environment in their name."""
        found: dict[EnvironmentName, list[Item]] = defaultdict(list)
        for item in sorted(self.memory.orphans):
            parts = split_chef_role_name(item.name) if item.kind is ItemKind.CHEF_ROLE else None
            found[parts[0] if parts is not None else EnvironmentName(item.name)].append(item)
        return dict(found)
