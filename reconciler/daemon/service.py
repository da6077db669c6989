"""The process: signals in, programs started and stopped, systemd told. One program at a time."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from reconciler.daemon.notices import Notice, Notices
from reconciler.daemon.systemd import Notify
from reconciler.errors import HivequeenError
from reconciler.settings import Settings

log = logging.getLogger(__name__)

STOP_S: Final = 9.0  # for the calls in flight, so that the process is gone within ten seconds
RELOAD_S: Final = 30.0  # likewise, when nobody waits for the process to go: longer than any single call


class Running(Protocol):
    """A program, as far as the service is concerned."""

    def start(self, on_end: Callable[[], None]) -> None: ...

    def stop(self, timeout_s: float) -> bool: ...


class Service:
    def __init__(
        self,
        *,
        load: Callable[[], Settings],
        build: Callable[[Settings], Running],
        notify: Notify,
        notices: Notices,
        stop_s: float = STOP_S,
    ) -> None:
        self._load = load
        self._build = build
        self._notify = notify
        self._notices = notices
        self._stop_s = stop_s
        self._current: Running | None = None  # whose end would be a surprise

    def run(self) -> bool:
        """Until told to stop. True: everything ended; False: some call was abandoned, or the loop died.

        Raises:
            HivequeenError: the settings are wrong, or something could not start.
        """
        settings = self._load()
        program = self._start(self._build(settings))
        self._notify.ready(f"fleet {settings.fleet}, {settings.mode}")
        log.info("started", extra={"fleet": settings.fleet, "mode": settings.mode.value})
        while True:
            notice = self._notices.get()
            if notice is Notice.RELOAD:
                settings, program = self._reload(settings, program)
                continue
            log.info("stopping", extra={"because": notice.name.lower()})
            self._notify.stopping("finishing the calls in flight")
            self._current = None
            is_clean = program.stop(self._stop_s)
            log.info("stopped", extra={"is_clean": is_clean})
            return is_clean and notice is Notice.STOP

    def _start(self, program: Running) -> Running:
        self._current = program
        program.start(lambda: self._ended(program))
        return program

    def _ended(self, program: Running) -> None:
        if self._current is program:
            self._notices.put(Notice.ENDED)

    def _reload(self, settings: Settings, program: Running) -> tuple[Settings, Running]:
        """Everything is built anew between two passes. Settings that are wrong, or do not start, change nothing."""
        self._notify.reloading()
        try:
            wanted = self._load()
            following = self._build(wanted)
        except HivequeenError as trouble:
            self._refuse(settings, trouble)
            return settings, program
        self._current = None
        if not program.stop(RELOAD_S):
            # Two loops must never run side by side: only a new process can get rid of the old one.
            log.error("a call did not end for the reload; the process ends")
            self._notices.put(Notice.ENDED)
            return settings, program
        try:
            self._start(following)
        except HivequeenError as trouble:
            # The old settings worked a moment ago. If they do not any more, there is nothing to go on with.
            program = self._start(self._build(settings))
            self._refuse(settings, trouble)
            return settings, program
        self._notify.ready(f"fleet {wanted.fleet}, {wanted.mode}")
        log.info("settings applied", extra={"fleet": wanted.fleet, "mode": wanted.mode.value})
        return wanted, following

    def _refuse(self, settings: Settings, trouble: HivequeenError) -> None:
        problem = {"problem": trouble.message, "remedy": trouble.remedy}
        log.error("new settings refused, the old ones stay", extra=problem)
        self._notify.ready(f"fleet {settings.fleet}, {settings.mode}; new settings refused: {trouble.message}")
