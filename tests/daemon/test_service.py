import os
import signal
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.daemon.loop import Loop
from reconciler.daemon.notices import Notice, Notices
from reconciler.daemon.program import Part, Program
from reconciler.daemon.service import Service
from reconciler.daemon.systemd import Notify
from reconciler.daemon.wakes import Wakes
from reconciler.errors import HivequeenError, SettingsError, Stalled
from reconciler.model.names import FleetId
from reconciler.model.passes import Pass, Scope
from reconciler.settings import AwsSettings, BootstrapSettings, ChefSettings, Intervals, RepositorySettings, Settings
from tests.daemon.rehearsal import Rehearsed, Time


def settings(fleet: str) -> Settings:
    return Settings(
        fleet=FleetId(fleet),
        repository=RepositorySettings(url="/srv/envs.git"),
        aws=AwsSettings(region="us-east-1"),
        chef=ChefSettings(server_url="http://127.0.0.1:1", client_name="hivequeen", client_key=Path("/dev/null")),
        bootstrap=BootstrapSettings(url="http://127.0.0.1:2", identity_certificates=Path("/dev/null")),
    )


class Staged:
    """A program that does nothing but note when it starts and stops."""

    def __init__(self, fleet: str, diary: list[str], *, fails: bool = False, is_stuck: bool = False) -> None:
        self.fleet = fleet
        self._diary = diary
        self._fails = fails
        self._is_stuck = is_stuck
        self.end: Callable[[], None] = lambda: None

    def start(self, on_end: Callable[[], None]) -> None:
        if self._fails:
            raise Stalled(f"{self.fleet}: the address is taken")
        self._diary.append(f"start {self.fleet}")
        self.end = on_end

    def stop(self, timeout_s: float) -> bool:
        self._diary.append(f"stop {self.fleet}")
        self.end()
        return not self._is_stuck


class House:
    """A service whose settings file and programs are rehearsed. It stops when its notices have run out."""

    def __init__(self, *loads: str | HivequeenError, failing: str = "", stuck: str = "") -> None:
        self.diary: list[str] = []
        self.notices = Notices()
        self.loads = list(loads)
        self.built: list[Staged] = []
        self._failing = failing
        self._stuck = stuck

    def run(self, *notices: Notice) -> bool:
        for notice in notices:
            self.notices.put(notice)
        service = Service(load=self._load, build=self._build, notify=Notify(None), notices=self.notices)
        with closing(self.notices):
            return service.run()

    def _load(self) -> Settings:
        loaded = self.loads.pop(0)
        if isinstance(loaded, HivequeenError):
            raise loaded
        return settings(loaded)

    def _build(self, wanted: Settings) -> Staged:
        fleet = str(wanted.fleet)
        staged = Staged(fleet, self.diary, fails=fleet == self._failing, is_stuck=fleet == self._stuck)
        self.built.append(staged)
        return staged


def test_stop_ends_the_program_and_the_service() -> None:
    house = House("one")
    assert house.run(Notice.STOP)
    assert house.diary == ["start one", "stop one"]


def test_a_call_that_does_not_end_is_abandoned_and_said() -> None:
    assert not House("one", stuck="one").run(Notice.STOP)


def test_settings_that_are_wrong_from_the_start_end_the_service_before_anything_starts() -> None:
    house = House(SettingsError(("fleet: missing",)))
    with pytest.raises(SettingsError):
        house.run()
    assert house.diary == []


def test_reload_stops_the_old_program_before_the_new_one_starts() -> None:
    house = House("one", "two")
    assert house.run(Notice.RELOAD, Notice.STOP)
    assert house.diary == ["start one", "stop one", "start two", "stop two"]


def test_a_reload_of_wrong_settings_keeps_the_old_ones_running() -> None:
    house = House("one", SettingsError(("fleet: missing",)))
    assert house.run(Notice.RELOAD, Notice.STOP)
    assert house.diary == ["start one", "stop one"]


def test_a_reload_whose_program_cannot_start_goes_back_to_the_old_settings() -> None:
    house = House("one", "two", failing="two")
    assert house.run(Notice.RELOAD, Notice.STOP)
    assert house.diary == ["start one", "stop one", "start one", "stop one"]


def test_a_reload_never_starts_beside_a_program_that_does_not_stop() -> None:
    house = House("one", "two", stuck="one")
    assert not house.run(Notice.RELOAD)
    assert "start two" not in house.diary


def test_a_loop_that_dies_ends_the_service_so_that_systemd_starts_it_again() -> None:
    house = House("one")
    house.notices.put(Notice.ENDED)
    assert not house.run()


def test_signals_become_notices_and_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with closing(Notices()) as notices:
        with notices.of_signals():
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
            assert [notices.get() for _ in range(3)] == [Notice.RELOAD, Notice.STOP, Notice.STOP]
        assert signal.getsignal(signal.SIGHUP) is before


def test_a_signal_that_another_thread_takes_is_a_notice_all_the_same() -> None:
    with closing(Notices()) as notices, notices.of_signals():
        elsewhere = threading.Thread(
            target=lambda: signal.pthread_kill(threading.get_ident(), signal.SIGHUP)  # to this very thread
        )
        elsewhere.start()
        assert notices.get() is Notice.RELOAD
        elsewhere.join(10)


class Listed:
    """A part that notes when it starts and stops."""

    def __init__(self, name: str, diary: list[str], trouble: HivequeenError | None = None) -> None:
        self._name = name
        self._diary = diary
        self._trouble = trouble

    def start(self) -> None:
        if self._trouble:
            raise self._trouble
        self._diary.append(f"start {self._name}")

    def stop(self) -> None:
        self._diary.append(f"stop {self._name}")


class Stuck(Listed):
    """It stops when it is let."""

    def __init__(self, name: str, diary: list[str]) -> None:
        super().__init__(name, diary)
        self.may_end = threading.Event()

    def stop(self) -> None:
        assert self.may_end.wait(10)


class Asked:
    """A part that tells when it is asked to stop."""

    def __init__(self) -> None:
        self.to_stop = threading.Event()

    def start(self) -> None: ...

    def stop(self) -> None:
        self.to_stop.set()


class SlowPass(Rehearsed):
    """Its passes last until they are let go."""

    def __init__(self) -> None:
        super().__init__(Time())
        self.began = threading.Event()
        self.may_end = threading.Event()

    def reconcile(self, scope: Scope) -> Pass:
        self.began.set()
        assert self.may_end.wait(10)
        return super().reconcile(scope)


def program(reconciler: Rehearsed, wakes: Wakes, *parts: Part) -> Program:
    loop = Loop(
        passes=reconciler,
        mailbox=wakes,
        monotonic=lambda: 0.0,
        intervals=Intervals(),
        on_pass=lambda _: None,
        on_progress=lambda: None,
    )
    return Program(loop=loop, wakes=wakes, parts=parts)


def test_parts_start_in_order_and_all_stop() -> None:
    diary: list[str] = []
    wakes = Wakes()
    running = program(Rehearsed(Time()), wakes, Listed("lock", diary), Listed("socket", diary))
    running.start(lambda: diary.append("loop ended"))
    assert running.stop(10)
    assert diary[:2] == ["start lock", "start socket"]
    assert sorted(diary[2:]) == ["loop ended", "stop lock", "stop socket"]


def test_a_part_that_does_not_stop_keeps_nothing_else_from_stopping() -> None:
    diary: list[str] = []
    stuck = Stuck("nodes", diary)
    running = program(Rehearsed(Time()), Wakes(), Listed("socket", diary), stuck)
    running.start(lambda: None)
    assert not running.stop(0.5)
    assert "stop socket" in diary
    stuck.may_end.set()


def test_a_part_that_cannot_start_stops_those_before_it() -> None:
    diary: list[str] = []
    trouble = Stalled("taken")
    running = program(Rehearsed(Time()), Wakes(), Listed("lock", diary), Listed("socket", diary, trouble))
    with pytest.raises(Stalled, match="taken"):
        running.start(lambda: None)
    assert diary[0] == "start lock"
    assert "stop lock" in diary


def test_stop_waits_for_the_pass_in_flight() -> None:
    reconciler, wakes = SlowPass(), Wakes()
    asked = Asked()
    running = program(reconciler, wakes, asked)
    running.start(lambda: None)
    assert reconciler.began.wait(10)
    stopping = threading.Thread(target=lambda: running.stop(10))
    stopping.start()
    assert asked.to_stop.wait(10)
    assert wakes.is_stopping()
    assert stopping.is_alive()
    reconciler.may_end.set()
    stopping.join(10)
    assert len(reconciler.passes) == 1


def test_stop_does_not_wait_longer_than_it_may() -> None:
    reconciler, wakes = SlowPass(), Wakes()
    running = program(reconciler, wakes)
    running.start(lambda: None)
    assert reconciler.began.wait(10)
    assert not running.stop(0.01)
    reconciler.may_end.set()
