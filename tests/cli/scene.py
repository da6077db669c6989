"""A settings file, and a daemon that answers on its control socket from a script."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from reconciler.daemon.control import ControlSocket, Tell
from reconciler.daemon.requests import Request
from reconciler.model.desired import Json


def write_settings(folder: Path, **changes: Json) -> Path:
    """Valid settings whose state and control socket lie in `folder`. Nothing that they point to can be reached."""
    (folder / "state").mkdir(exist_ok=True)
    settings: dict[str, Json] = {
        "fleet": "demo",
        "repository": {"url": str(folder / "environments.git")},
        "aws": {"region": "us-east-1", "endpoint_url": "http://127.0.0.1:1"},
        "chef": {
            "server_url": "http://127.0.0.1:1",
            "client_name": "hivequeen",
            "client_key": str(folder / "chef.pem"),
        },
        "bootstrap": {"url": "http://127.0.0.1:1", "identity_certificates": str(folder / "aws-identity.pem")},
        "listen": {"operators": "127.0.0.1:0", "nodes": "127.0.0.1:0"},
        "control": str(folder / "control.sock"),
        "state": f"sqlite:///{folder}/state/state.db",
        **changes,
    }
    path = folder / "hivequeen.yml"
    path.write_text(json.dumps(settings))  # JSON is YAML
    return path


@dataclass
class ScriptedDaemon:
    """Gives prepared answers, and keeps what it was asked."""

    path: Path
    answers: dict[type, Any] = field(default_factory=dict)  # a document, a function of the request, or an error
    asked: list[tuple[Request, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = ControlSocket(self.path, self._answer)

    def __enter__(self) -> Self:
        self._socket.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.stop()

    @property
    def requests(self) -> list[Request]:
        return [request for request, _ in self.asked]

    def _answer(self, request: Request, actor: str, tell: Tell) -> Json:
        self.asked.append((request, actor))
        found = self.answers[type(request)]
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, Exception):
            raise found
        document: Json = found(request) if isinstance(found, Callable) else found  # type: ignore[arg-type] # mypy takes Callable for no class
        return document
