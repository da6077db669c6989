"""A Chef run as far as the Chef Server sees it: signed with the node's own key, saved only on success."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import requests
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from reconciler.sandbox.authority import sign

Document: TypeAlias = dict[str, Any]  # the JSON of a Chef object

API_VERSION = "1"
LINE_LENGTH = 60  # of X-Ops-Authorization-N
TIMEOUT_S = (3.0, 15.0)
DEPTH_MAX = 10  # of roles in roles


class RunFailed(Exception):
    """The run ended without success; the message is for its log."""


def signed_headers(
    *, method: str, path: str, body: bytes, user: str, key: RSAPrivateKey, now: datetime
) -> dict[str, str]:
    """Protocol 1.3. `path` is without the query."""
    content_hash = b64encode(sha256(body).digest()).decode("ascii")
    timestamp = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = (
        f"Method:{method}",
        f"Path:{path}",
        f"X-Ops-Content-Hash:{content_hash}",
        "X-Ops-Sign:version=1.3",
        f"X-Ops-Timestamp:{timestamp}",
        f"X-Ops-UserId:{user}",
        f"X-Ops-Server-API-Version:{API_VERSION}",
    )
    signature = b64encode(sign(key, "\n".join(lines).encode())).decode("ascii")
    parts = [signature[at : at + LINE_LENGTH] for at in range(0, len(signature), LINE_LENGTH)]
    return {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "X-Chef-Version": "18.5.0",
        "X-Ops-Content-Hash": content_hash,
        "X-Ops-Sign": "algorithm=sha256;version=1.3;",
        "X-Ops-Timestamp": timestamp,
        "X-Ops-UserId": user,
        "X-Ops-Server-API-Version": API_VERSION,
        **{f"X-Ops-Authorization-{number}": part for number, part in enumerate(parts, start=1)},
    }


class ChefRun:
    """What chef-client does with the server.

    Args:
        fails: whether a recipe of this name ends the run.
        say: takes the lines of its log.
    """

    def __init__(
        self,
        *,
        server_url: str,
        name: str,
        key: RSAPrivateKey,
        automatic: Mapping[str, object],
        now: Callable[[], datetime],
        fails: Callable[[str], bool] = lambda _: False,
        say: Callable[[str], None] = lambda _: None,
        http: requests.Session | None = None,
    ) -> None:
        self._server_url = server_url.rstrip("/")
        self._name = name
        self._key = key
        self._automatic = automatic
        self._now = now
        self._fails = fails
        self._say = say
        self._http = http or requests.Session()

    def run(self, *, run_list: tuple[str, ...] | None = None, environment: str | None = None) -> None:
        """One run; the first one brings the run list and the environment, later ones take the server's.

        Raises:
            RunFailed: a recipe failed, or the server did not do its part; nothing of this run was saved.
        """
        node = self._node(run_list, environment)
        recipes = self._expand(node["run_list"], depth=0)
        self._say(f"Run List is {node['run_list']}, expands to {recipes}")
        for recipe in recipes:
            if self._fails(recipe):
                raise RunFailed(f"Recipe Compile Error: cannot converge recipe[{recipe}]")
            self._say(f"  * recipe[{recipe}] action converge")
        automatic = {
            **self._automatic,
            "ohai_time": self._now().timestamp(),
            "recipes": recipes,
            "roles": [item[5:-1] for item in node["run_list"] if item.startswith("role[")],
        }
        self._call("PUT", f"/nodes/{self._name}", node | {"automatic": automatic})
        self._say("Chef run complete")

    def _node(self, run_list: tuple[str, ...] | None, environment: str | None) -> Document:
        """The node object, made by the node itself so that it may write it."""
        found = self._call("GET", f"/nodes/{self._name}")
        if not found:
            found = {
                "name": self._name,
                "chef_type": "node",
                "json_class": "Chef::Node",
                "chef_environment": "_default",
                "run_list": [],
                "normal": {},
                "default": {},
                "override": {},
                "automatic": {},
            }
            self._call("POST", "/nodes", found | self._brought(run_list, environment))
        return found | self._brought(run_list, environment)

    @staticmethod
    def _brought(run_list: tuple[str, ...] | None, environment: str | None) -> Document:
        brought: Document = {}
        if run_list is not None:
            brought["run_list"] = list(run_list)
        if environment is not None:
            brought["chef_environment"] = environment
        return brought

    def _expand(self, run_list: list[str], *, depth: int) -> list[str]:
        if depth > DEPTH_MAX:
            raise RunFailed("roles include each other without end")
        recipes: list[str] = []
        for item in run_list:
            kind, _, rest = item.partition("[")
            name = rest.rstrip("]")
            if kind == "role":
                role = self._call("GET", f"/roles/{name}")
                if not role:
                    raise RunFailed(f"role {name} is in the run list but does not exist on the server")
                recipes += self._expand(role["run_list"], depth=depth + 1)
            else:
                recipes.append(name)
        return list(dict.fromkeys(recipes))

    def _call(self, method: str, path: str, body: Document | None = None) -> Document:
        """Raises RunFailed on anything but success; a missing object is an empty one."""
        content = b"" if body is None else json.dumps(body).encode()
        url = f"{self._server_url}{path}"
        headers = signed_headers(
            method=method, path=urlsplit(url).path, body=content, user=self._name, key=self._key, now=self._now()
        )
        try:
            answer = self._http.request(method, url, data=content, headers=headers, timeout=TIMEOUT_S)
            if answer.status_code == HTTPStatus.NOT_FOUND:
                return {}
            answer.raise_for_status()
            document: Document = answer.json()
        except requests.RequestException as error:
            raise RunFailed(f"{method} {url}: {error}") from error
        return document
