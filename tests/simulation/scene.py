"""What the rules may look at: the true state of the fakes, one daemon's journal, and the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reconciler.model import tags
from reconciler.model.memory import Cause, LaunchParameters
from reconciler.model.names import InstanceId, split_chef_role_name, split_node_name
from reconciler.model.observed import Instance, Ownership
from reconciler.model.rules import NOT_FOUND_PROOF, UNSEEN_GRACE, Rules
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.repository import FakeRepository
from tests.simulation.deeds import (
    ChefRemoval,
    ChefWrite,
    ClientMade,
    Deed,
    FileRemoved,
    Launch,
    Recorded,
    Termination,
    Touch,
)
from tests.simulation.journal import SimulatedJournal
from tests.simulation.ledger import Ended, Ledger, Machine
from tests.simulation.schedules import is_asleep, woke_at
from tests.simulation.specs import SUBNETS, Declared, Frozen, RoleShape, group_of, key_of

PASS_MOST: Final = timedelta(seconds=30)  # between what a pass sees and what it does


@dataclass(slots=True, kw_only=True)
class Scene:
    clock: FakeClock
    cloud: FakeCloud
    chef: FakeChefServer
    journal: SimulatedJournal
    repository: FakeRepository
    ledger: Ledger
    rules: Rules

    def is_beyond_knowing(self, machine: Machine) -> bool:
        """EC2 has denied it for longer than a launch is waited for, or it was forgotten with a journal."""
        since = self.ledger.hidden_since.get(machine.instance_id)
        record = self.journal.memory.nodes.get(machine.instance_id)
        is_known = record is not None and record.gone_at is None
        return since is not None and not is_known and self._is_given_up(machine, since)

    def is_proved_gone(self, machine: Machine) -> bool:
        """An hour of NotFound by id, in the right account, is all the proof that there is."""
        hidden_since = self.ledger.hidden_since.get(machine.instance_id)
        return hidden_since is not None and self.now - hidden_since >= NOT_FOUND_PROOF

    def _is_given_up(self, machine: Machine, hidden_since: datetime) -> bool:
        has_lost_journal = self.journal.memory.installation != "installation-1"
        return has_lost_journal or self.now - min(machine.launched_at, hidden_since) >= UNSEEN_GRACE

    @property
    def slack(self) -> timedelta:
        """How old an answer of EC2 may have been, lately or at all."""
        return self.ledger.slack

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @property
    def living(self) -> Mapping[str, Declared | Frozen]:
        """What the applied revision declares, without that whose time is over, once a daemon noted its end.

        Until then it lives on, and is healed: nothing that runs ends without a notice before.
        """
        over = set(self.ledger.desired) - set(self.ledger.living_at(self.ledger.applied, self.now))
        over &= self.ledger.over.keys()
        return {name: wanted for name, wanted in self.ledger.desired.items() if name not in over}

    def is_asleep(self, environment: str) -> bool:
        """Now, or when the pass began that acts now."""
        wanted = self.ledger.desired.get(environment)
        return isinstance(wanted, Declared) and (
            is_asleep(wanted.schedule, self.now) or is_asleep(wanted.schedule, self.now - PASS_MOST)
        )

    def is_out_for_long(self, machine: Machine, environment: str) -> bool:
        """Stopped, and nobody starts it again: for an age, which of a night's sleep counts from the morning."""
        if machine.stopped_at is None:
            return False
        wanted, since = self.ledger.desired.get(environment), machine.stopped_at
        if isinstance(wanted, Declared) and wanted.schedule:
            if is_asleep(wanted.schedule, self.now):
                return False
            since = max(since, woke_at(wanted.schedule, self.now))
        return self.now - since + self.slack >= self.rules.orphan_age

    def instance(self, instance_id: InstanceId) -> Instance | None:
        return next((one for one in self.cloud.everything() if one.instance_id == instance_id), None)

    def note_machines(self, made: Sequence[InstanceId], parameters: LaunchParameters, *, token: str | None) -> None:
        given = dict(parameters.tags)
        for instance_id in made:
            self.ledger.machines[instance_id] = Machine(
                instance_id=instance_id,
                environment=given.get(tags.ENVIRONMENT, ""),
                role=given.get(tags.ROLE, ""),
                token=token,
                parameters=parameters,
                launched_at=self.now,
                is_ours=token is not None,
            )

    def identities(self, machine: Machine) -> list[tuple[str, str]]:
        """Where it belongs: as it was launched, and, after somebody changed its tags, as they say."""
        found = [(machine.environment, machine.role)]
        live = self.instance(machine.instance_id)
        if machine.was_retagged and live is not None:
            found.append((live.environment or "", live.role or ""))
        return found

    def why_it_may_go(self, machine: Machine) -> str | None:
        """The reason that lies in the machine itself; None: it is as declared, or may not be touched."""
        reasons = [self._why(machine, *identity) for identity in self.identities(machine)]
        return next((reason for reason in reasons if reason is not None), None)

    def _why(self, machine: Machine, environment: str, role: str) -> str | None:
        wanted = self.living.get(environment)
        if wanted is None:
            return "undeclared"
        if isinstance(wanted, Frozen):
            return None
        shape = wanted.roles.get(role)
        if shape is None:
            return "undeclared role"
        if self.is_drifted(machine, shape):
            return "drift"
        if not self.is_known_ready(machine) and self.has_failed(machine):
            return "failed"
        return "stopped" if self.is_out_for_long(machine, environment) else None

    def has_failed(self, machine: Machine) -> bool:
        age = self.now - machine.launched_at
        is_pending = age - PASS_MOST < timedelta(seconds=self.cloud.pending_s)  # when it was looked at
        is_late = age >= self.rules.bootstrap_deadline or (is_pending and age >= self.rules.launch_deadline)
        return machine.reported_failure or is_late

    @staticmethod
    def is_drifted(machine: Machine, shape: RoleShape) -> bool:
        live = machine.parameters
        return machine.was_retagged or not (
            live.image == shape.image_id
            and live.instance_type in shape.instance_types
            and live.subnet in SUBNETS
            and live.security_groups == (group_of(shape),)
            and live.key_name == key_of(shape)
        )

    def is_tagged(self, instance_id: InstanceId) -> bool:
        """It carries our tag, or did when an answer that may be that old was given."""
        live = self.instance(instance_id)
        if live is not None and live.tags.get(tags.FLEET) == self.rules.fleet:
            return True
        at = self.ledger.retagged_at.get(instance_id)
        return at is not None and self.now - at < self.slack

    def is_known_ready(self, machine: Machine) -> bool:
        """It is ready, and the daemon can know: Chef's search may lag, and until then a node has not served."""
        record = self.journal.memory.nodes.get(machine.instance_id)
        live = self.instance(machine.instance_id)
        is_marked = machine.is_ours and live is not None and tags.READY in live.tags
        return machine.ready_at is not None and (is_marked or (record is not None and record.ready_at is not None))

    def owner_of(self, wanted_attributes: Mapping[str, object]) -> str:
        owner = Ownership.read(wanted_attributes)  # type: ignore[arg-type]  # JSON
        return owner.environment if owner is not None and owner.fleet == self.rules.fleet else ""

    def environments_of(self, deed: Deed) -> set[str]:
        """Whose things it changes."""
        match deed:
            case Launch(parameters=parameters, made=made):
                return {dict(parameters.tags).get(tags.ENVIRONMENT, "")} if made else set()
            case Termination(ended=ids) | Touch(asked=ids):
                machines = [self.ledger.machines[one] for one in ids if one in self.ledger.machines]
                return {self.identities(one)[0][0] for one in machines if not one.was_retagged}
            case ChefWrite(wanted=wanted):
                return {self.owner_of(wanted.default_attributes)}
            case ChefRemoval(kind=kind, name=name, existed=existed):
                return {_environment_of(kind, name)} if existed else set()
            case ClientMade(name=name, is_new=is_new):
                return {_environment_of("client", name)} if is_new else set()
            case Recorded() | FileRemoved():
                return set()

    def claimed_cause(self, instance_id: InstanceId) -> Cause | None:
        asked = self.journal.model.terminations.get(instance_id)
        return asked.cause if asked is not None else None

    def is_approved(self, instance_id: InstanceId) -> bool:
        return any(
            removal.target == instance_id
            for given, approved in self.ledger.approvals
            if given > self.now - timedelta(hours=24)
            for removal in approved
        )

    def torn_down_by(self, deed: Deed) -> set[str]:
        """Environments that it takes something from, and that are not to be. Of one that never was, Chef's orphans are none."""
        names = self.environments_of(deed) - set(self.living)
        return names & self.ledger.protected.keys() if isinstance(deed, ChefRemoval) else names

    # --- after the rules have looked ---

    def note(self, deed: Deed) -> None:
        """What the ledger keeps of it."""
        match deed:
            case Launch(token=token, made=made):
                self.ledger.tokens.setdefault(token, set()).update(made)
            case Termination(ended=ended):
                for instance_id in ended:
                    cause = self.claimed_cause(instance_id)
                    self.ledger.ended.append(
                        Ended(
                            at=self.now,
                            instance_id=instance_id,
                            environment=self.ledger.machines[instance_id].environment,
                            counts=cause is None or cause.is_counted,
                            is_approved=self.is_approved(instance_id),
                        )
                    )
            case FileRemoved(revision=revision, path=path):
                parent = self.ledger.tip
                assert parent is not None  # it was in there
                left = {stem: file for stem, file in self.ledger.revisions[parent].items() if file.path(stem) != path}
                self.ledger.know(revision, left, at=self.now, parent=parent)
            case Recorded(facts=facts):
                for fact in facts:
                    self.ledger.note(fact, self.now, self.journal.memory.installation)
            case _:
                pass
        if isinstance(deed, Termination | ChefRemoval):
            for name in self.torn_down_by(deed) - self.ledger.under_way:
                self.ledger.under_way.add(name)
                self.ledger.begun.append((self.now, name))


def _environment_of(kind: str, name: str) -> str:
    if kind in ("node", "client"):
        parts = split_node_name(name)
        return parts[0] if parts is not None else ""
    if kind == "role":
        joined = split_chef_role_name(name)
        return joined[0] if joined is not None else ""
    return name
