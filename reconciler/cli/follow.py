"""`--wait`: how an environment comes or goes, node by node, as the daemon tells it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import typer

from reconciler.cli import screen
from reconciler.cli.ask import invocation
from reconciler.cli.screen import Format
from reconciler.daemon.client import NoDaemon, ask
from reconciler.daemon.requests import AskShow, AskStatus
from reconciler.errors import SettingsError, Stalled, Transient

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.names import EnvironmentName

Document = dict[str, Any]

LOOK_EVERY_S: Final = 1.0
SILENCE_MAX_S: Final = 300.0  # a daemon that restarts is back by then
SHORT: Final = 8

FINE, FAILED, HELD, INTERRUPTED = 0, 1, 3, 130

# A hold that ends by itself.
_PASSING_GUARDS: Final = ("grace",)


class Watch:
    """One environment, asked for again and again, until it is ready or gone."""

    def __init__(
        self,
        control: "Path",
        name: "EnvironmentName",
        *,
        output: Format = Format.TABLE,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """With JSON, standard output is left alone: what is told goes beside it, and `document` says how it ended."""
        self._control = control
        self._name = name
        self._output = output
        self._pause = pause
        self._before: str | None = None  # the daemon's revision, before there was anything to wait for
        self._was_there = False
        self._picture_now: Document | None = None
        self._code: int | None = None  # None: how it went is not known

    def begin(self) -> None:
        """Before anything is committed: somebody has to be there to tell.

        Raises:
            Stalled: no daemon answers.
        """
        try:
            self._before = self._status()["revision"]
        except NoDaemon as nobody:
            raise Stalled(f"--wait: {nobody.message}; nothing was committed", remedy=nobody.remedy) from nobody

    def until(self, revision: str, *, is_end: bool) -> int:
        """Until it is ready, or gone if that is the end. The exit code."""
        return self.until_gone(revision) if is_end else self.until_ready(revision)

    def until_ready(self, revision: str) -> int:
        return self._until(_Wish(revision=revision, before=self._before, is_end=False))

    def until_gone(self, revision: str) -> int:
        return self._until(_Wish(revision=revision, before=self._before, is_end=True))

    @property
    def document(self) -> Document:
        """How the waiting ended, and what was seen last."""
        picture = self._picture_now or {"environment": None, "nodes": [], "holds": []}
        environment = picture["environment"]
        fine = "gone" if environment is None else "ready"
        results = {FINE: fine, FAILED: "failed", HELD: "held", INTERRUPTED: "interrupted", None: "unknown"}
        true = [one for one in environment["conditions"] if one["status"]] if environment else []
        return {
            "result": results[self._code],
            "nodes": [{key: node[key] for key in ("name", "phase", "why")} for node in picture["nodes"]],
            "waiting": list(environment["waiting"]) if environment else [],
            "conditions": [{key: one[key] for key in ("type", "message", "remedy")} for one in true],
            "holds": [{key: hold[key] for key in ("guard", "message", "remedy")} for hold in picture["holds"]],
        }

    def _until(self, wish: "_Wish") -> int:
        code: int | None = None
        try:
            with _view(self._output) as view:
                pictures = self._pictures(view)
                while code is None:
                    picture = self._picture_now = next(pictures)
                    code = wish.verdict(picture)
                    view.show(self._lines(picture, wish))
        except KeyboardInterrupt:
            screen.note(f"{self._name} goes on {wish.aim}; see: hivequeen show {self._name}")
            self._code = INTERRUPTED
            return INTERRUPTED
        self._code = code
        self._conclude(picture, code)
        return code

    # --- what the daemon tells ---

    def _pictures(self, view: "_View") -> Iterator[Document]:
        """One after the other, without end. A daemon that restarts is waited for."""
        silent_s = 0.0
        while True:
            try:
                picture = self._picture()
            except (NoDaemon, Transient) as trouble:
                if silent_s >= SILENCE_MAX_S:
                    raise
                silent_s += LOOK_EVERY_S
                view.show([f"{trouble.message}; asking again"])
            else:
                silent_s = 0.0
                yield picture
            self._pause(LOOK_EVERY_S)

    def _picture(self) -> Document:
        """`environment` is None where the daemon knows none of the name."""
        status = self._status()
        found = next((one for one in status["environments"] if one["name"] == self._name), None)
        holds = [hold for hold in status["holds"] if self._name in hold["environments"]]
        nodes: list[Document] = []
        if found is not None:
            self._was_there = True
            try:
                shown: Any = ask(self._control, AskShow(target=self._name))
            except NoDaemon:
                raise
            except Stalled:  # it has gone in between
                shown = {"environment": {"name": None}, "nodes": []}
            if shown["environment"]["name"] == self._name:
                nodes = shown["nodes"]
        return {
            "environment": found,
            "nodes": nodes,
            "holds": holds,
            "revision": status["revision"],
            "installation": [one for one in status["conditions"] if one["status"]],
        }

    def _status(self) -> Document:
        answer: Any = ask(self._control, AskStatus())
        document: Document = answer
        return document

    # --- what people see ---

    def _lines(self, picture: Document, wish: "_Wish") -> list[str]:
        if not wish.is_read(picture):
            return [f"the daemon has not read {wish.revision[:SHORT]} yet", *_of_installation(picture)]
        environment = picture["environment"]
        if environment is None:
            return [] if self._was_there else [f"the daemon does not know {self._name} yet", *_of_installation(picture)]
        lines = [f"{node['name']}: {node['phase']}, {node['why']}" for node in picture["nodes"]]
        lines += [f"waiting: {message}" for message in environment["waiting"]]
        said = {*environment["waiting"]}
        for one in environment["conditions"]:
            if one["status"] and one["type"] not in ("Ready", "Reconciling") and one["message"] not in said:
                lines.append(f"{one['type']}: {one['message']}" + (f" → {one['remedy']}" if one["remedy"] else ""))
                said.add(one["message"])
        return [*lines, *_of_installation(picture)]

    def _conclude(self, picture: Document, code: int) -> None:
        from reconciler.report.sentences import nodes_of  # noqa: PLC0415 - it knows what plans are

        if code == FINE:
            is_ready = picture["environment"] is not None
            count = len([node for node in picture["nodes"] if node["phase"] == "ready"])
            what = f"is ready, {nodes_of(count)}" if is_ready else "is gone"
            if self._output is Format.JSON:
                screen.note(f"{self._name} {what}")
            else:
                screen.say(f"{self._name} {what}", style="green")
            return
        for hold in picture["holds"]:
            screen.complain(f"held ({hold['guard']}): {hold['message']}", hold["remedy"])
        for one in picture["environment"]["conditions"]:
            if one["status"] and one["type"] in ("Stalled", "Suspended", "Expired"):
                screen.complain(f"{one['type']}: {one['message']}", one["remedy"])


def control_of(context: typer.Context) -> "Path":
    """
    Raises:
        SettingsError: nothing says where the daemon listens.
    """
    from reconciler.settings import control_of as found_in  # noqa: PLC0415 - the schema's validator takes its time

    config = invocation(context).config
    control = found_in(config)
    if control is None:
        raise SettingsError((f"{config}: cannot be read, and --wait asks the daemon whose socket it names",))
    return control


def _is_true(environment: Document, kind: str) -> bool:
    return any(one["type"] == kind and one["status"] for one in environment["conditions"])


def _of_installation(picture: Document) -> Iterator[str]:
    """What keeps everything waiting: the repository cannot be fetched, say."""
    for one in picture["installation"]:
        if one["type"] in ("Degraded", "NotOwner", "Stalled", "Suspended"):
            yield f"{one['type']}: {one['message']}"


# --- what is waited for ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What a commit is to bring about."""

    revision: str
    before: str | None  # the daemon's revision, before there was that commit
    is_end: bool

    @property
    def aim(self) -> str:
        return "going" if self.is_end else "coming up"

    def is_read(self, picture: Document) -> bool:
        """Whether the daemon acts on the commit, or on one after it.

        Of any other revision only the environment tells: a rival's, pushed just before, cannot have made it so.
        """
        if picture["revision"] == self.revision:
            return True
        if picture["revision"] in (None, self.before):
            return False
        environment = picture["environment"]
        if environment is None:
            return self.is_end
        if self.is_end:
            return environment["is_declared"] is False or _is_true(environment, "Ending")
        return environment["is_declared"] is True

    def verdict(self, picture: Document) -> int | None:
        """The exit code; None: it goes on."""
        environment = picture["environment"]
        if not self.is_read(picture):
            return None
        if environment is None:
            return FINE if self.is_end else None
        if not self.is_end and _is_true(environment, "Ready"):
            return FINE
        if not self.is_end and _is_true(environment, "Expired"):
            return FAILED
        return _broken(picture)


def _broken(picture: Document) -> int | None:
    """Whether it takes a person to go on."""
    if any(hold["guard"] not in _PASSING_GUARDS for hold in picture["holds"]):
        return HELD
    if _is_true(picture["environment"], "Suspended"):
        return HELD
    return FAILED if _is_true(picture["environment"], "Stalled") else None


# --- the screen -----------------------------------------------------------------------------------------------------


class _View(Protocol):
    def show(self, lines: list[str]) -> None: ...


@contextmanager
def _view(output: Format) -> Iterator[_View]:
    """On a terminal the lines replace each other; elsewhere each is written once, when it is news."""
    if output is Format.JSON:
        yield _Written(screen.note)
    elif screen.is_terminal():
        with screen.live() as redraw:
            yield _Redrawn(redraw)
    else:
        yield _Written(screen.say)


class _Redrawn:
    def __init__(self, redraw: Callable[[str], None]) -> None:
        self._redraw = redraw

    def show(self, lines: list[str]) -> None:
        self._redraw("\n".join(lines))


class _Written:
    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._written: list[str] = []

    def show(self, lines: list[str]) -> None:
        for line in lines:
            if line not in self._written:
                self._write(line)
        self._written = lines
