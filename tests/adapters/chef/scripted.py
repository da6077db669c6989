"""An HTTP server that answers what a test tells it to, and remembers what it was asked."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str  # with its query
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Scripted:
    url: str
    answers: deque[Answer]
    asked: list[Asked] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return [f"{each.method} {each.path.partition('?')[0]}" for each in self.asked]


def json_answer(status: int, document: object, *headers: tuple[str, str]) -> Answer:
    return Answer(status, json.dumps(document).encode(), (("Content-Type", "application/json"), *headers))


def error(status: int, *messages: str) -> Answer:
    """In Chef's form."""
    return json_answer(status, {"error": list(messages)})


@contextmanager
def scripted(*answers: Answer) -> Iterator[Scripted]:
    """Gives one answer after the other, then the last one for ever."""
    script: Scripted

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            script.asked.append(Asked(self.command, self.path, dict(self.headers.items()), body))
            answer = script.answers[0] if len(script.answers) == 1 else script.answers.popleft()
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 - BaseHTTPRequestHandler's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script = Scripted(url=f"http://127.0.0.1:{server.server_address[1]}", answers=deque(answers))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
