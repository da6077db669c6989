"""Simulated instances: each boots, performs the first-boot protocol over HTTP with a key of its own, and runs Chef."""

import heapq
import itertools
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self, TypeAlias

import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from reconciler.sandbox.authority import new_key, public_pem, sign
from reconciler.sandbox.chef_run import ChefRun, RunFailed
from reconciler.sandbox.ec2_account import Launched
from reconciler.sandbox.imds import TOKEN_HEADER, TTL_HEADER, Imds
from reconciler.sandbox.user_data import UserData, read_user_data

log = logging.getLogger(__name__)

Life: TypeAlias = Generator[float, None, None]

AT_ONCE: Final = 8  # machines that compute or talk at one moment; those that wait cost nothing
TIMEOUT_S: Final = (3.0, 30.0)
RETRY_S: Final = 1.0  # where the daemon does not answer; a real machine begins with 4
RETRY_S_MAX: Final = 5.0  # also of what the daemon asks for: waits are shortened here
LOG_LINES_MAX: Final = 100
AGAIN: Final = (429, 500, 502, 503, 504)


class Stage(StrEnum):
    """Where a machine is in its life."""

    BOOTING = "booting"
    REGISTERING = "registering"
    REFUSED = "refused"  # the daemon said 403: it stops
    RUNNING_CHEF = "running chef"
    CONVERGED = "converged"  # and its first run is reported
    FAILED = "failed"  # likewise, or it broke down
    IDLE = "idle"  # its user-data is no first-boot script
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Shortened waits, in seconds."""

    boot_s: float = 2.0
    run_s: float = 1.0
    repeat_s: float | None = None  # between later Chef runs; None: there are none


class Terminated(Exception):
    """The machine is gone in the midst of what it did."""


class Machine:
    """One instance. `life()` yields the seconds that it waits; what is between happens at once."""

    def __init__(
        self,
        launched: Launched,
        *,
        imds_url: str,
        pace: Pace,
        fails: Callable[[str], bool],
        trust: Callable[[str | None], str | bool],
        on_change: Callable[[], None],
    ) -> None:
        self.instance_id = launched.instance_id
        self.stage = Stage.BOOTING
        self.log: list[str] = []  # of its Chef runs
        self._launched = launched
        self._imds_url = f"{imds_url}/instances/{launched.instance_id}/latest"
        self._pace = pace
        self._fails = fails
        self._trust = trust
        self._on_change = on_change
        self._http = requests.Session()
        self._http.trust_env = False  # everything is on loopback; nobody's proxy is

    def enter(self, stage: Stage) -> None:
        """Nothing leaves the last stage."""
        if self.stage is not Stage.TERMINATED:
            self.stage = stage
        self._on_change()

    def life(self) -> Life:
        with self._http:
            yield from self._boot()

    def _boot(self) -> Life:
        yield self._pace.boot_s
        boot = read_user_data(self._imds("user-data").decode())
        if boot is None:
            self.enter(Stage.IDLE)
            return
        self.enter(Stage.REGISTERING)
        key = new_key()
        told = yield from self._insist(boot, "register", self._registration(key))
        if told is None:
            self.enter(Stage.REFUSED)
            return
        self.enter(Stage.RUNNING_CHEF)
        yield self._pace.run_s
        chef = self._chef(told, key)
        ok = self._run(chef, run_list=tuple(told["run_list"].split(",")), environment=told["chef_environment"])
        report = self._report(ok=ok)
        yield from self._insist(boot, "report", {"report": report, "signature": sign(key, report)})
        self.enter(Stage.CONVERGED if ok else Stage.FAILED)
        while ok and self._pace.repeat_s is not None:
            yield self._pace.repeat_s
            self._run(chef)

    def _registration(self, key: RSAPrivateKey) -> Mapping[str, bytes]:
        document = self._imds("dynamic/instance-identity/document")
        return {
            "document": document,
            "signature": self._imds("dynamic/instance-identity/signature"),
            "public_key": public_pem(key).encode(),
            "proof": sign(key, document),
        }

    def _chef(self, told: Mapping[str, str], key: RSAPrivateKey) -> ChefRun:
        return ChefRun(
            server_url=told["chef_server_url"],
            name=told["node_name"],
            key=key,
            automatic=self._automatic(told["node_name"]),
            now=lambda: datetime.now(UTC),
            fails=self._fails,
            say=self._say,
            http=self._http,
        )

    def _report(self, *, ok: bool) -> bytes:
        head = f"instance_id={self.instance_id}\noutcome={'success' if ok else 'failure'}\nuser_data=0\n\n"
        return (head + "\n".join(self.log[-LOG_LINES_MAX:])).encode()

    def _run(self, chef: ChefRun, *, run_list: tuple[str, ...] | None = None, environment: str | None = None) -> bool:
        if self.stage is Stage.TERMINATED:
            raise Terminated
        del self.log[:-LOG_LINES_MAX]
        try:
            chef.run(run_list=run_list, environment=environment)
        except RunFailed as error:
            self._say(f"FATAL: {error}")
            return False
        return True

    def _say(self, line: str) -> None:
        self.log.append(line)
        self._on_change()

    def _imds(self, path: str) -> bytes:
        token = self._http.put(f"{self._imds_url}/api/token", headers={TTL_HEADER: "300"}, timeout=TIMEOUT_S)
        token.raise_for_status()
        answer = self._http.get(f"{self._imds_url}/{path}", headers={TOKEN_HEADER: token.text}, timeout=TIMEOUT_S)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return b""
        answer.raise_for_status()
        return answer.content

    def _automatic(self, name: str) -> Mapping[str, object]:
        return {
            "fqdn": f"{name}.sandbox.invalid",
            "hostname": name,
            "ipaddress": self._launched.private_ip,
            "platform": "debian",
            "platform_family": "debian",
            "ec2": {"instance_id": self.instance_id, "instance_type": self._launched.instance_type},
        }

    def _insist(
        self, boot: UserData, what: str, form: Mapping[str, bytes]
    ) -> Generator[float, None, dict[str, str] | None]:
        """Yields the seconds to wait; returns what the daemon told, or None if it refused."""
        while True:
            answer = self._post(f"{boot.url}/bootstrap/v1/{what}", form, self._trust(boot.ca_certificate))
            if answer is None:
                yield RETRY_S
            elif answer.status_code == HTTPStatus.OK:
                return dict(line.partition("=")[::2] for line in answer.text.splitlines())
            elif answer.status_code in AGAIN:
                asked = answer.headers.get("Retry-After", "")
                yield min(RETRY_S_MAX, float(asked)) if asked.isdecimal() else RETRY_S
            else:
                return None

    def _post(self, url: str, form: Mapping[str, bytes], verify: str | bool) -> requests.Response | None:  # noqa: FBT001 - as in requests
        files = {name: (name, content, "application/octet-stream") for name, content in form.items()}
        try:
            return self._http.post(url, files=files, verify=verify, timeout=TIMEOUT_S)
        except requests.RequestException:
            return None


class Machines:
    """All instances of the sandbox. `launch` and `terminate` are for the EC2 endpoint, and return at once.

    Attributes:
        failing_recipes: a run whose run list holds one of these fails; may be changed at any time.
    """

    def __init__(self, *, imds: Imds, imds_url: str, pace: Pace, failing_recipes: Collection[str] = ()) -> None:
        self.failing_recipes = set(failing_recipes)
        self._imds = imds
        self._imds_url = imds_url
        self._pace = pace
        self._machines: dict[str, Machine] = {}
        self._due: list[tuple[float, int, Machine, Life]] = []  # a heap
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._is_stopping = False
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="machine")
        self._scheduler = threading.Thread(target=self._schedule, name="machines", daemon=True)
        self._authorities = tempfile.TemporaryDirectory(prefix="hivequeen-sandbox-")

    def __enter__(self) -> Self:
        self._scheduler.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Switch all off; what is being said now is finished first, within its timeouts."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        self._scheduler.join()
        self._pool.shutdown(wait=True)
        for waiting in self._due:
            waiting[-1].close()
        self._authorities.cleanup()

    def launch(self, launched: Launched) -> None:
        self._imds.add(launched)
        machine = Machine(
            launched,
            imds_url=self._imds_url,
            pace=self._pace,
            fails=lambda recipe: recipe in self.failing_recipes,
            trust=self._trust,
            on_change=self._notify,
        )
        with self._changed:
            self._machines[machine.instance_id] = machine
        self._resume(machine, machine.life(), 0)

    def terminate(self, instance_id: str) -> None:
        with self._changed:
            machine = self._machines.get(instance_id)
        if machine is not None:
            machine.enter(Stage.TERMINATED)
        self._imds.remove(instance_id)

    def stages(self) -> Mapping[str, Stage]:
        """By instance id, in order of launch."""
        with self._changed:
            return {instance_id: machine.stage for instance_id, machine in self._machines.items()}

    def log_of(self, instance_id: str) -> Sequence[str]:
        """The end of what its Chef runs said."""
        with self._changed:
            return tuple(self._machines[instance_id].log)

    def wait_until(self, holds: Callable[[Mapping[str, Stage]], bool], *, timeout_s: float) -> bool:
        """Wait for the stages (or the logs) to be so; False if they are not by then."""
        with self._changed:
            return self._changed.wait_for(
                lambda: holds({one.instance_id: one.stage for one in self._machines.values()}), timeout_s
            )

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _resume(self, machine: Machine, life: Life, after_s: float) -> None:
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + after_s, next(self._order), machine, life))
            self._changed.notify_all()

    def _schedule(self) -> None:
        """Hand each machine that has waited to a thread."""
        with self._changed:
            while not self._is_stopping:
                now = time.monotonic()
                if not self._due or self._due[0][0] > now:
                    self._changed.wait(self._due[0][0] - now if self._due else None)
                    continue
                _, _, machine, life = heapq.heappop(self._due)
                self._pool.submit(self._step, machine, life).add_done_callback(_complain)

    def _step(self, machine: Machine, life: Life) -> None:
        if machine.stage is Stage.TERMINATED or self._is_stopping:
            life.close()
            return
        try:
            wait_s = next(life, None)
        except Terminated:
            return
        except requests.RequestException as error:
            log.warning("machine broke down", extra={"instance_id": machine.instance_id, "detail": str(error)})
            machine.enter(Stage.FAILED)
            return
        if wait_s is not None:
            self._resume(machine, life, wait_s)

    def _trust(self, ca_certificate: str | None) -> str | bool:
        """What `requests` should verify with: a file of this authority, or the system's."""
        if ca_certificate is None:
            return True
        path = Path(self._authorities.name) / f"{sha256(ca_certificate.encode()).hexdigest()}.pem"
        if not path.exists():
            fresh = path.with_suffix(f".{threading.get_ident()}")
            fresh.write_text(ca_certificate, encoding="ascii")
            fresh.rename(path)
        return str(path)


def _complain(step: Future[None]) -> None:
    """A fault of the sandbox itself."""
    if not step.cancelled() and (error := step.exception()) is not None:
        log.error("machine could not go on", exc_info=error)
