"""Wiring: the only place that builds the real adapters and joins them into programs."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from reconciler import prices
from reconciler.adapters.chef import PyChefServer
from reconciler.adapters.clock import SystemClock
from reconciler.adapters.ec2 import Ec2
from reconciler.adapters.git import GitRepository
from reconciler.adapters.journal import SqliteJournal
from reconciler.adapters.journal.file import path_of
from reconciler.adapters.webhook import HttpWebhook
from reconciler.daemon.control import ControlSocket
from reconciler.daemon.desk import AtHand, Desk
from reconciler.daemon.latest import Latest
from reconciler.daemon.lock import Lock
from reconciler.daemon.loop import Loop
from reconciler.daemon.notices import Notices
from reconciler.daemon.notify import Delivery, Notifier
from reconciler.daemon.operations import Operations
from reconciler.daemon.program import Part, Program
from reconciler.daemon.progress import STUCK_AFTER_S, Progress
from reconciler.daemon.service import Service
from reconciler.daemon.snapshots import Snapshots, file_beside
from reconciler.daemon.systemd import Notify
from reconciler.daemon.teller import Teller
from reconciler.daemon.touched import from_history
from reconciler.daemon.wakes import Wakes
from reconciler.daemon.watch import SourceWatch
from reconciler.enroll.first_boot import FirstBoot
from reconciler.enroll.identity import IdentityCertificates
from reconciler.enroll.refusals import Refusals
from reconciler.enroll.register import Enrollment
from reconciler.enroll.report import FirstRuns
from reconciler.errors import SettingsError, Stalled
from reconciler.listener import Server, Tls
from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Pass, Scope
from reconciler.ports import RequestCounter
from reconciler.reconcile import Ports, Reconciler
from reconciler.report import logs
from reconciler.report.metrics import Metrics
from reconciler.settings import Settings, load
from reconciler.spec import bounds_cost
from reconciler.web.nodes import create_nodes_app
from reconciler.web.operators import create_operators_app

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """The real ports of one set of settings. Building them contacts nobody."""

    clock: SystemClock
    repository: GitRepository
    cloud: Ec2
    chef: PyChefServer
    journal: SqliteJournal

    @property
    def ports(self) -> Ports:
        return Ports(
            clock=self.clock, repository=self.repository, cloud=self.cloud, chef=self.chef, journal=self.journal
        )


def _adapters(settings: Settings, journal: SqliteJournal, mirror: Path, count: RequestCounter) -> Adapters:
    clock = SystemClock()
    return Adapters(
        clock=clock,
        repository=GitRepository(
            settings.repository, mirror, count, identity=f"Hivequeen <hivequeen@{settings.fleet}>"
        ),
        cloud=Ec2(settings.aws, settings.fleet, count),
        chef=PyChefServer(settings=settings.chef, fleet=settings.fleet, clock=clock, count=count),
        journal=journal,
    )


def _reconciler(
    settings: Settings,
    adapters: Adapters,
    script: FirstBoot,
    *,
    report: Callable[[Pass], None],
    is_stopping: Callable[[], bool] = lambda: False,
    knows_claim: bool = True,
) -> Reconciler:
    return Reconciler(
        ports=adapters.ports,
        settings=settings,
        first_boot=lambda _environment, role: script.render(role.user_data),
        user_data_limit_bytes=script.user_data_limit,
        report=report,
        is_stopping=is_stopping,
        knows_claim=knows_claim,
        monthly_cost=prices.reckoner(settings.prices, settings.aws.region) if bounds_cost(settings.policy) else None,
    )


def _lock(state: Path) -> Lock:
    return Lock(state.with_name(f"{state.name}.lock"))


def _mirror(state: Path) -> Path:
    return state.with_name("mirror.git")


def _address(text: str) -> tuple[str, int]:
    """`127.0.0.1:9464`, `[::1]:9464`."""
    parts = urlsplit(f"//{text}")
    return parts.hostname or "", parts.port or 0


# --- the daemon -----------------------------------------------------------------------------------------------------


def serve(config: Path, *, is_debugging: bool) -> bool:
    """`hivequeen run`, until a signal ends it. False: some call had to be abandoned.

    Raises:
        HivequeenError: the settings are wrong, or something could not start.
    """
    logs.configure("console" if sys.stderr.isatty() else "json", logging.DEBUG if is_debugging else logging.INFO)
    metrics = Metrics()
    notices = Notices()
    notify = Notify(os.environ.get("NOTIFY_SOCKET"))
    service = Service(
        load=lambda: load(config),
        build=lambda settings: Daemon(settings, metrics, notify),
        notify=notify,
        notices=notices,
    )
    with closing(notices), notices.of_signals():
        return service.run()


def _nothing() -> None:
    """Not started: there is nothing to end."""


class Daemon:
    """All that runs under one set of settings. Made: the files that it names are right. Started: it holds the state."""

    def __init__(self, settings: Settings, metrics: Metrics, notify: Notify) -> None:
        """`metrics` outlives a reload: counters do not fall back.

        Raises:
            SettingsError: a certificate or key cannot be used.
        """
        self._settings = settings
        self._metrics = metrics
        self._notify = notify
        self._script = FirstBoot.load(settings.bootstrap, settings.chef)
        self._certificates = IdentityCertificates.load(settings.bootstrap.identity_certificates)
        self._state = path_of(settings.state)
        self._wakes = Wakes()
        self._latest = Latest()
        self._progress = Progress(monotonic=time.monotonic, feed=notify.watchdog)
        self._program: Program | None = None
        self._end_git: Callable[[], None] = _nothing
        self._held = ExitStack()

    def start(self, on_end: Callable[[], None]) -> None:
        with ExitStack() as held:
            held.enter_context(_lock(self._state))
            # Only under the lock: opening the journal may upgrade it.
            journal = held.enter_context(SqliteJournal(self._settings.state))
            adapters = _adapters(self._settings, journal, _mirror(self._state), self._count)
            held.callback(adapters.chef.close)
            held.callback(adapters.repository.close)
            self._end_git = adapters.repository.close
            teller = Teller(journal=journal, metrics=self._metrics)
            reconciler = _reconciler(
                self._settings, adapters, self._script, report=teller.tell, is_stopping=self._is_stopping
            )
            held.callback(reconciler.close)
            self._program = self._assemble(adapters, reconciler)
            self._program.start(on_end)
            self._held = held.pop_all()

    def stop(self, timeout_s: float) -> bool:
        is_clean = self._program is None or self._program.stop(timeout_s)
        if is_clean:
            self._held.close()
        else:  # a call may still need the rest, which goes with the process; but a git that hangs would outlive it
            self._end_git()
        return is_clean

    def _assemble(self, adapters: Adapters, reconciler: Reconciler) -> Program:
        notifier = self._notifier(adapters)
        snapshots = Snapshots(file_beside(self._state), self._settings, monotonic=time.monotonic)

        def made(one: Pass) -> None:
            self._made(one)
            notifier.wake()
            snapshots.keep(self._latest.whole)

        loop = Loop(
            passes=reconciler,
            mailbox=self._wakes,
            monotonic=time.monotonic,
            intervals=self._settings.intervals,
            on_pass=made,
            on_progress=self._progress.mark,
        )
        parts: tuple[Part, ...] = (
            notifier,
            snapshots,
            self._control(adapters),
            self._operators(adapters.journal),
            self._nodes(adapters, reconciler),
            SourceWatch(
                self._settings.repository,
                self._settings.intervals.poll_s,
                self._wakes.git_changed,
                lambda trouble: log.warning("repository not watched", extra={"problem": trouble}),
            ),
        )
        return Program(loop=loop, wakes=self._wakes, parts=parts)

    def _is_stopping(self) -> bool:
        """Asked between actions, so whoever asks makes progress."""
        self._progress.mark()
        return self._wakes.is_stopping()

    def _count(self, service: str, operation: str, result: str) -> None:
        self._metrics.count_request(service, operation, result)
        if (service, operation, result) == ("git", "fetch", "ok"):
            self._metrics.git_success(SystemClock().now())

    def _made(self, made: Pass) -> None:
        self._latest.keep(made)
        known = self._latest.whole
        count = len(known.plan.environments) if known is not None and known.plan is not None else 0
        trouble = next((failure.message for failure in made.failures), "")
        self._notify.status(trouble or f"{count} environments at {(made.revision or 'no revision')[:12]}")

    def _notifier(self, adapters: Adapters) -> Notifier:
        installation = adapters.journal.recall(adapters.clock.now()).installation
        deliveries = [
            Delivery(
                receiver,
                fleet=self._settings.fleet,
                installation=installation,
                events=adapters.journal,
                webhook=HttpWebhook(receiver, clock=adapters.clock),
                count=self._metrics.notification,
            )
            for receiver in self._settings.notify
        ]
        return Notifier(adapters.journal, deliveries)

    def _registered(self, name: EnvironmentName) -> None:
        self._metrics.registration("accepted")
        self._wake(name, "registration")

    def _control(self, adapters: Adapters) -> ControlSocket:
        operations = Operations(
            settings=self._settings,
            clock=adapters.clock,
            journal=adapters.journal,
            chef=lambda: adapters.chef,
            account=adapters.cloud.account,
        )
        desk = Desk(
            settings=self._settings,
            clock=adapters.clock,
            journal=adapters.journal,
            operations=operations,
            passes=self._wakes,
            latest=self._latest,
            progress_age_s=lambda: self._progress.age_s,
            touched=from_history(adapters.repository, self._settings.repository.path),
        )
        return ControlSocket(self._settings.control, desk.answer)

    def _operators(self, journal: SqliteJournal) -> Server:
        host, port = _address(self._settings.listen.operators)
        app = create_operators_app(
            metrics=self._metrics.render,
            progress_age_s=lambda: self._progress.age_s,
            stuck_after_s=STUCK_AFTER_S,
            last_full_pass=lambda: self._latest.full,
            conditions=journal.conditions,
        )
        return Server(app, name="operators", host=host, port=port)

    def _nodes(self, adapters: Adapters, reconciler: Reconciler) -> Server:
        host, port = _address(self._settings.listen.nodes)
        refusals = Refusals(adapters.journal, self._metrics.registration)
        enrollment = Enrollment(
            clock=adapters.clock,
            cloud=adapters.cloud,
            chef=adapters.chef,
            journal=adapters.journal,
            settings=self._settings,
            certificates=self._certificates,
            refusals=refusals,
            chef_environment=reconciler.chef_environment,
            may_write=reconciler.may_write,
            on_deferral=self._metrics.registration,
            on_registered=self._registered,
        )
        first_runs = FirstRuns(
            clock=adapters.clock,
            journal=adapters.journal,
            refusals=refusals,
            on_deferral=self._metrics.registration,
            on_reported=lambda name: self._wake(name, "first run"),
        )
        tls = self._settings.tls
        return Server(
            create_nodes_app(enrollment, first_runs),
            name="nodes",
            host=host,
            port=port,
            tls=Tls(certificate=tls.certificate, key=tls.key) if tls else None,
        )

    def _wake(self, name: EnvironmentName, because: str) -> None:
        self._wakes.wake(Scope(environments=frozenset({name}), because=because))


# --- commands without a daemon --------------------------------------------------------------------------------------


def _uncounted(_service: str, _operation: str, _result: str) -> None:
    """A single command serves no metrics."""


@contextmanager
def looking(settings: Settings) -> Iterator[tuple[Desk, tuple[str, ...]]]:
    """A desk that writes nothing anywhere, and what it cannot know, as lines for people."""
    with TemporaryDirectory(prefix="hivequeen-") as scratch, logs.for_command(), ExitStack() as held:
        missing: tuple[str, ...] = ()
        try:
            journal = SqliteJournal.open_readonly(settings.state)
            trouble = "there is no journal yet"
        except (Stalled, SettingsError) as unreadable:
            journal, trouble = None, unreadable.message
        if journal is None:
            missing = (
                f"{trouble}; not known are launches under way, approvals, suspensions, history, and whether the fleet is ours",
            )
            journal = SqliteJournal(f"sqlite:///{scratch}/state.db")
        held.callback(journal.close)
        desk = _own_desk(settings, journal, Path(scratch) / "mirror.git", held, knows_claim=not missing)
        yield desk, missing


@contextmanager
def acting(settings: Settings) -> Iterator[Desk]:
    """A desk that acts as the daemon would, under its lock.

    Raises:
        Stalled: another process holds the state, or it belongs to another user.
    """
    state = path_of(settings.state)
    owner = state.parent.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        raise Stalled(
            f"the state in {state.parent} belongs to uid {owner}; files of root's would lock the daemon out",
            remedy="sudo -u hivequeen hivequeen …",
        )
    with logs.for_command(), ExitStack() as held:
        held.enter_context(_lock(state))
        journal = held.enter_context(SqliteJournal(settings.state))
        yield _own_desk(settings, journal, _mirror(state), held)


def _own_desk(
    settings: Settings, journal: SqliteJournal, mirror: Path, held: ExitStack, *, knows_claim: bool = True
) -> Desk:
    latest = Latest()

    @cache  # not before it is needed: status and events do without keys and credentials
    def adapters() -> Adapters:
        made = _adapters(settings, journal, mirror, _uncounted)
        held.callback(made.chef.close)
        return made

    @cache
    def reconciler() -> Reconciler:
        script = FirstBoot.load(settings.bootstrap, settings.chef)
        made = _reconciler(
            settings,
            adapters(),
            script,
            report=Teller(journal=journal, metrics=Metrics()).tell,
            knows_claim=knows_claim,
        )
        held.callback(made.close)
        return made

    operations = Operations(
        settings=settings,
        clock=SystemClock(),
        journal=journal,
        chef=lambda: adapters().chef,
        account=lambda: adapters().cloud.account(),  # noqa: PLW0108 - not before it is asked for
    )
    return Desk(
        settings=settings,
        clock=SystemClock(),
        journal=journal,
        operations=operations,
        passes=AtHand(reconciler, latest),
        latest=latest,
        progress_age_s=lambda: 0.0,
    )
