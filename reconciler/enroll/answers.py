"""What a node is told: a status, and `key=value` lines of an alphabet that means nothing to a shell."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from reconciler.enroll.verdicts import Delay, Refusal
from reconciler.errors import SettingsError
from reconciler.model.names import ChefName, NodeName

_SAFE = re.compile(r"[A-Za-z0-9_.:/\[\]@,%+-]{1,512}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: HTTPStatus
    body: str
    retry_after_s: int | None = None


def registered(*, name: NodeName, server_url: str, chef_environment: ChefName, run_list: Sequence[str]) -> Answer:
    """All that the first-boot script needs to know."""
    values = {
        "node_name": name,
        "chef_server_url": server_url,
        "chef_environment": chef_environment,
        "run_list": ",".join(run_list),
    }
    for key, value in values.items():
        if _SAFE.fullmatch(value) is None:
            # Names cannot look like this; the server's address is a setting.
            raise SettingsError((f"{key}: {value!r} holds a character that nodes cannot be told",))
    return Answer(status=HTTPStatus.OK, body="".join(f"{key}={value}\n" for key, value in values.items()))


def noted() -> Answer:
    """A report arrived."""
    return Answer(status=HTTPStatus.OK, body="noted=true\n")


def refused(reason: Refusal) -> Answer:
    """The script stops."""
    return Answer(status=HTTPStatus.FORBIDDEN, body=f"refused={reason}\n")


def deferred(reason: Delay, retry_after_s: int) -> Answer:
    """The script tries again."""
    return Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, body=f"deferred={reason}\n", retry_after_s=retry_after_s)
