"""The simulated world: git, EC2, Chef and machines in memory, daemons that live and die in it, and who interferes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from reconciler.adapters.ec2_pace import Pace
from reconciler.errors import HivequeenError
from reconciler.model.names import ChefName, IntentToken, NodeName, RevisionId
from reconciler.model.observed import Instance, InstanceState
from reconciler.model.passes import Pass, Scope
from reconciler.model.tags import ENVIRONMENT, FLEET, ROLE
from reconciler.sandbox.ec2_throttling import Throttling
from reconciler.settings import Settings
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import FakeClock
from tests.fakes.cloud import FakeCloud
from tests.fakes.repository import FakeRepository
from tests.simulation import daemon as daemons
from tests.simulation import machines
from tests.simulation.invariants import Violation
from tests.simulation.journal import SimulatedJournal
from tests.simulation.ledger import Ledger
from tests.simulation.scene import Scene
from tests.simulation.specs import ROLES, STEMS, Declared, File, Files, RoleShape, paths
from tests.simulation.wire import Crash, Exchange, Line
from tests.simulation.witness import Witness

EVERYTHING = Scope(environments=None, because="simulation")

BEGINNING, BEGINNING_S = 8, 61  # passes, until all that was there before the first step is ready


@dataclass(slots=True)
class SimulatedWorld:
    terms: daemons.Terms = field(default_factory=daemons.Terms)
    has_teller: bool = True
    clock: FakeClock = field(default_factory=FakeClock)
    chef: FakeChefServer = field(default_factory=FakeChefServer)
    violations: list[Violation] = field(default_factory=list)
    passes: int = 0
    last: Pass | None = None
    tokens: int = 0
    installations: int = 0
    repository: FakeRepository = field(init=False)
    ledger: Ledger = field(init=False)
    cloud: FakeCloud = field(init=False)
    exchange: Exchange = field(init=False)
    daemon: daemons.Daemon = field(init=False)
    other: daemons.Daemon | None = None  # a second one, that should not be there
    settings: Settings = field(init=False)
    unlucky: int = 0  # so many of the next newcomers fail their first Chef run
    are_unlucky_kept: bool = False  # somebody looks at them, and lets EC2 end none
    to_delete: set[str] = field(default_factory=set)  # restored by the person, only to be deleted again

    def __post_init__(self) -> None:
        self.repository = FakeRepository(now=self.clock.now)
        self.ledger = Ledger(default_ttl_h=self.terms.default_ttl_h, has_policy=self.terms.has_policy)
        self.cloud = FakeCloud(
            clock=self.clock,
            throttling=Throttling(self.clock.now),
            pace=Pace(lambda: self.clock.now().timestamp()),
        )
        self.exchange = Exchange(clock=self.clock)
        self.settings = daemons.settings(self.terms)
        self.commit({})
        self.daemon = self._start(self._new_journal())
        if self.terms.begins_with:
            self._bring_up(STEMS[: self.terms.begins_with])

    def _bring_up(self, stems: Sequence[str]) -> None:
        self.commit({stem: File(roles={ROLES[0]: RoleShape(count=3), ROLES[1]: RoleShape(count=2)}) for stem in stems})
        for _ in range(BEGINNING):
            self.reconcile()
            self.clock.advance(BEGINNING_S)
            self.boot()

    # --- daemons ------------------------------------------------------------------------------------------------------

    def _new_journal(self) -> SimulatedJournal:
        self.installations += 1
        return SimulatedJournal(f"installation-{self.installations}")

    def _start(self, journal: SimulatedJournal) -> daemons.Daemon:
        scene = Scene(
            clock=self.clock,
            cloud=self.cloud,
            chef=self.chef,
            journal=journal,
            repository=self.repository,
            ledger=self.ledger,
            rules=self.settings.rules,
        )
        return daemons.Daemon(
            world=daemons.World(clock=self.clock, cloud=self.cloud, chef=self.chef, repository=self.repository),
            journal=journal,
            scene=scene,
            line=Line(self.exchange, Witness(scene, self.violations)),
            settings=self.settings,
            new_token=self._token,
            has_teller=self.has_teller,
        )

    def _token(self) -> IntentToken:
        self.tokens += 1
        return IntentToken(f"hq-{self.tokens:032x}")

    def restart(self) -> None:
        """A new process on the same journal."""
        self.daemon.close()
        self.daemon = self._start(self.daemon.journal)

    def lose_journal(self) -> None:
        """What it knew is gone; the claim alone still tells what was applied, as far as it was written."""
        self.daemon.close()
        self.daemon = self._start(self._new_journal())

    def start_other(self) -> daemons.Daemon:
        """Somebody starts a second daemon for the same fleet, on a machine of his own."""
        if self.other is None:
            self.other = self._start(self._new_journal())
        return self.other

    def close(self) -> None:
        self.daemon.close()
        if self.other is not None:
            self.other.close()

    @property
    def scene(self) -> Scene:
        return self.daemon.scene

    # --- passes -------------------------------------------------------------------------------------------------------

    def reconcile(self, scope: Scope = EVERYTHING) -> Pass | None:
        """One pass of the daemon; None: it broke off, or the daemon died and was started again."""
        return self._guarded(lambda: self._reconcile(self.daemon, scope))

    def notice_commit(self) -> Pass | None:
        """What the loop does when the repository may have changed."""

        def notice() -> Pass | None:
            scope = self.daemon.reconciler.changed_scope()
            return self._reconcile(self.daemon, scope) if scope is not None else None

        return self._guarded(notice)

    def reconcile_other(self) -> None:
        """The second daemon makes a pass; should it die, nobody starts it again before its next one."""
        other = self.start_other()
        try:
            self._reconcile(other, EVERYTHING)
        except Crash:
            other.close()
            self.other = self._start(other.journal)
        except HivequeenError:
            pass

    def _guarded(self, work: Callable[[], Pass | None]) -> Pass | None:
        try:
            return work()
        except Crash:
            self.restart()
        except HivequeenError:
            pass  # the loop says so, and tries again
        return None

    def _reconcile(self, daemon: daemons.Daemon, scope: Scope) -> Pass:
        self.passes += 1
        done = daemon.reconciler.reconcile(scope)
        self.violations.extend(
            Violation(rule="no defects", evidence=failure.message)
            for failure in done.failures
            if failure.message.startswith("a defect")
        )
        self.violations.extend(
            Violation(rule="no defects", evidence=f"{one.name}: {stall.message}")
            for one in (done.plan.environments if done.plan is not None else ())
            for stall in one.stalls
            if stall.reason == "Defect"
        )
        if (throttled := sum(self.cloud.throttled.values())) > 0:
            self.violations.append(Violation(rule="modelled buckets are never exceeded", evidence=f"{throttled} calls"))
        if daemon.teller is not None:
            daemon.teller.tell(done)
        self.last = done
        return done

    # --- git ----------------------------------------------------------------------------------------------------------

    def commit(self, files: Files) -> RevisionId:
        revision = self.repository.push(paths(files))
        self.ledger.know(revision, files, at=self.clock.now(), parent=self.ledger.tip)
        return revision

    def rewrite(self, files: Files) -> RevisionId:
        revision = self.repository.rewrite(paths(files))
        self.ledger.know(revision, files, at=self.clock.now(), parent=None)
        return revision

    @property
    def tip(self) -> RevisionId:
        """The newest revision upstream, whoever made it."""
        assert self.ledger.tip is not None  # every world begins with a commit
        return self.ledger.tip

    @property
    def files(self) -> Files:
        return self.ledger.revisions[self.tip]

    @contextmanager
    def nothing_changes_but(self, stem: str) -> Iterator[None]:
        """What is done in between must not change the plan of any other environment (save those that extend it)."""
        with self.exchange.undisturbed():
            before = self._planned()
            yield
            after = self._planned()
        if before is None or after is None:
            return
        # A pause after a failure may end between the two.
        pausing = {str(name) for name in self.daemon.journal.recall(self.clock.now()).backoffs}
        for name in sorted({*before, *after} - self._heirs(stem) - pausing):
            if before.get(name) != after.get(name):
                evidence = f"{name}: {before.get(name)} became {after.get(name)} when {stem} was broken"
                self.violations.append(Violation(rule="bad input for one changes nothing in others", evidence=evidence))

    def _planned(self) -> Mapping[str, Sequence[str]] | None:
        """Every environment's actions, free of revision and reason."""
        try:
            done = self.daemon.reconciler.preview(EVERYTHING)
        except HivequeenError:
            return None
        blurs = (*self.cloud.lag_s.values(), *self.cloud.partial_s.values(), self.cloud.visibility_lag_s)
        is_clear = not any(blurs)
        if done.plan is None or done.failures or done.revision != self.tip or not is_clear:
            return None  # nothing to compare with, or answers that change by themselves
        return {
            str(one.name): [
                " ".join(
                    str(getattr(action, field, "")) for field in ("name", "role", "instance_id", "node", "batches")
                )
                for action in one.actions
            ]
            for one in done.plan.environments
        }

    def _heirs(self, stem: str) -> set[str]:
        heirs = {stem}
        for _ in self.files:
            heirs |= {name for name, file in self.files.items() if file.parent in heirs}
        return heirs

    # --- machines -----------------------------------------------------------------------------------------------------

    @property
    def writes(self) -> int:
        """Requests that changed something, or asked to."""
        return self.cloud.writes + self.chef.writes

    def living(self) -> Sequence[Instance]:
        return self.cloud.alive()

    def boot(self, *, ok: bool = True) -> None:
        """Every machine that runs does what its first-boot script has left to do."""
        for instance in self.living():
            machine = self.ledger.machines[instance.instance_id]
            if instance.state is not InstanceState.RUNNING or machine.ready_at is not None or machine.never_boots:
                continue
            is_unlucky = self.unlucky > 0 and not machine.reported_failure
            if is_unlucky:
                self.unlucky -= 1
                if self.are_unlucky_kept:
                    self.cloud.protect(instance.instance_id)
            self.boot_one(instance, ok=ok and not is_unlucky)

    def boot_one(self, instance: Instance, *, ok: bool) -> None:
        machine = self.ledger.machines[instance.instance_id]
        ok = ok and not machine.reported_failure  # what failed once says so until it is heard

        def enroll() -> None:
            given = machines.register(instance, self.cloud.account_id, self.daemon.enrollment)
            if given is None:
                return
            if ok:
                machine.given = given
                machines.run_chef(given, self.chef, self.clock)
                machine.ready_at = machine.ready_at or self.clock.now()
            else:
                machine.reported_failure = True
            machines.report(instance, self.daemon.first_runs, ok=ok)

        try:
            enroll()
        except Crash:
            self.restart()

    def run_chef(self) -> None:
        """The timer of every ready node comes round."""
        for machine in self.ledger.machines.values():
            if machine.given and machine.ready_at and machine.ended_at is None and machine.stopped_at is None:
                machines.run_chef(machine.given, self.chef, self.clock)

    # --- what others do by hand ---------------------------------------------------------------------------------------

    def terminate_by_hand(self, instance: Instance) -> None:
        self.cloud.terminate_by_hand(instance.instance_id)
        self.ledger.machines[instance.instance_id].ended_at = self.clock.now()

    def stop_by_hand(self, instance: Instance) -> None:
        self.cloud.stop_by_hand(instance.instance_id)
        machine = self.ledger.machines[instance.instance_id]
        machine.stopped_at = machine.stopped_at or self.clock.now()

    def start_by_hand(self, instance: Instance) -> None:
        self.cloud.start_by_hand(instance.instance_id)
        self.ledger.machines[instance.instance_id].stopped_at = None

    def protect_none(self) -> None:
        """EC2 terminates every instance again."""
        self.cloud.protect(*self.ledger.machines, on=False)

    def retag_by_hand(self, instance: Instance, changes: Mapping[str, str | None]) -> None:
        self.cloud.retag(instance.instance_id, changes)
        self.ledger.machines[instance.instance_id].was_retagged = True
        if FLEET in changes:
            self.ledger.retagged_at[instance.instance_id] = self.clock.now()
        wanted = self.ledger.desired.get(instance.environment or "")
        was_unwanted = not isinstance(wanted, Declared) or instance.role not in wanted.roles
        if changes.keys() & {ENVIRONMENT, ROLE} and not was_unwanted:  # who is unwanted already grows no younger
            self.ledger.moved_at[instance.instance_id] = self.clock.now()

    def copy_by_hand(self, instance: Instance, changes: Mapping[str, str]) -> None:
        """As the console's "launch more like this" does: every tag is copied, some may be edited in its form."""
        parameters = self.cloud.parameters_of(instance.instance_id)
        alike = replace(parameters, count=1, tags=tuple(sorted({**instance.tags, **changes}.items())))
        made = self.cloud.launch_by_hand(alike)
        self.scene.note_machines(made, alike, token=None)

    def hide(self, instance: Instance) -> None:
        """EC2 denies that there is such an instance: an index of it is broken."""
        self.cloud.unlisted.add(instance.instance_id)
        self.cloud.denied.add(instance.instance_id)
        self.ledger.hidden_since.setdefault(instance.instance_id, self.clock.now())

    def show_all(self) -> None:
        self.cloud.unlisted.clear()
        self.cloud.denied.clear()

    def lacks_tag(self) -> Sequence[Instance]:
        """Those of ours that somebody took the tag from."""
        return [one for one in self.living() if one.tags.get(FLEET) != self.settings.fleet]

    def delete_from_chef(self, kind: str, name: str) -> None:
        chef = self.chef
        match kind:
            case "node":
                chef.delete_node(NodeName(name))
            case "client":
                chef.delete_client(NodeName(name))
            case "role":
                chef.delete_role(ChefName(name))
            case _:
                chef.delete_environment(ChefName(name))


__all__ = ["EVERYTHING", "FLEET", "SimulatedWorld"]
