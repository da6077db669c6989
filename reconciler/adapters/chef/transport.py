"""PyChef's `ChefAPI` with a transport that a daemon can live with: kept connections, timeouts, 1.3 signatures, errors that say what to do."""

import ssl
import threading
import urllib.parse
import weakref
from collections.abc import Mapping
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from reconciler.adapters.chef.importing import ChefAPI
from reconciler.adapters.chef.replies import Asked, check, count_as
from reconciler.adapters.chef.signing import Key, signed_headers
from reconciler.errors import Denied, Transient
from reconciler.ports import Clock, RequestCounter

_CHEF_VERSION = "16.0.0"  # what X-Chef-Version claims: the server refuses clients older than 10
# A request that was never sent may be sent again; one whose reply was lost may have been carried out.
_RETRIES = Retry(total=None, connect=4, read=0, redirect=0, status=0, other=0, backoff_factor=0.05)


class SigningChefAPI(ChefAPI):  # type: ignore[misc]  # PyChef has no types
    """One Chef organisation. Every method may be called from several threads: each has its own connections."""

    def __init__(
        self,
        url: str,
        key: Key,
        client: str,
        *,
        ca_certificate: Path | None,
        clock: Clock,
        count: RequestCounter,
        timeouts_s: tuple[float, float],
    ) -> None:
        super().__init__(url, key, client, version=_CHEF_VERSION, ssl_verify=str(ca_certificate or "") or True)
        self._clock = clock
        self._count = count
        self._timeouts_s = timeouts_s
        self._of_thread = threading.local()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._sessions_lock = threading.Lock()

    def set_default(self) -> None:
        """Do nothing: PyChef's default API is a weak reference per thread. Everything here names its `api=`."""

    def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: str | bytes | None = None
    ) -> requests.Response:
        """One signed request.

        Raises:
            NotFound: PyChef's; the object does not exist.
            Transient: unreachable, timed out, throttled, a server's error or an empty body: a write's outcome is unknown.
            Denied, Conflict, Refused: a definite no.
        """
        body = data.encode() if isinstance(data, str) else data or b""
        now = self._clock.now()
        asked = Asked(method, path, client=self.client, at=now)
        url = urllib.parse.urlsplit(self.url + path)
        signed = signed_headers(self.key, method=method, path=url.path, body=body, user_id=self.client, timestamp=now)
        all_headers = {**self.headers, **(headers or {}), "X-Chef-Version": self.version, **signed}
        try:
            reply = self._session().request(
                method,
                url.geturl(),
                headers=all_headers,
                data=body or None,
                timeout=self._timeouts_s,
                allow_redirects=False,  # the signature covers the path
            )
        except requests.RequestException as error:
            self._count("chef", asked.operation, "unreachable")
            raise _unreachable(self.url, asked, error) from error
        self._count("chef", asked.operation, count_as(reply.status_code))
        check(asked, reply)
        return reply

    def api_request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, data: object = None
    ) -> object:
        """The reply's JSON, of a request with a JSON body or none. Raises as `request` does."""
        try:
            document: object = super().api_request(method, path, headers or {}, data)
        except requests.exceptions.JSONDecodeError as error:
            raise Transient(
                f"Chef Server answered {method} {path.partition('?')[0]} with something that is not JSON",
                remedy="check chef.server_url, and whether a proxy answers in its place",
            ) from error
        return document

    def close(self) -> None:
        """Close all connections."""
        with self._sessions_lock:
            for session in self._sessions:
                session.close()

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._of_thread, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = (
                False  # proxies, authorities and passwords come from settings, never from the environment
            )
            session.verify = self.ssl_verify
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=_RETRIES))
            self._of_thread.session = session
            with self._sessions_lock:
                self._sessions.add(session)
        return session


def _unreachable(url: str, asked: Asked, error: requests.RequestException) -> Denied | Transient:
    why = _innermost(error)
    if _is_of(error, ssl.SSLCertVerificationError):
        return Denied(
            f"the certificate of {url} is not trusted: {why}",
            code="tls",
            remedy="set chef.ca_certificate to the authority that signed it, and check the host name in chef.server_url",
        )
    if isinstance(error, requests.exceptions.SSLError):
        return Transient(f"no TLS with {url}: {why}", remedy="check chef.server_url and chef.ca_certificate")
    if _is_of(error, requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError):
        return Transient(
            f"Chef Server at {url} did not answer {asked} in time", remedy="check the network and the Chef Server"
        )
    return Transient(
        f"Chef Server at {url} cannot be reached for {asked}: {why}",
        remedy="check chef.server_url, the network and the Chef Server",
    )


def _causes(error: BaseException) -> list[BaseException]:
    """From the outside in: requests, urllib3 and ssl each keep the one below in a place of their own."""
    causes: list[BaseException] = []
    current: object = error
    while isinstance(current, BaseException) and current not in causes:
        causes.append(current)
        below = (
            [current.reason]
            if isinstance(current, urllib3.exceptions.MaxRetryError)
            else [*reversed(current.args), current.__context__]
        )
        current = next((each for each in below if isinstance(each, BaseException)), None)
    return causes


def _innermost(error: requests.RequestException) -> str:
    return str(_causes(error)[-1]).rpartition(": ")[2]


def _is_of(error: requests.RequestException, *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in _causes(error))
