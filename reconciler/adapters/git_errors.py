"""From what git prints when it fails to errors that say what to do next."""

import re
from typing import Final

from reconciler.adapters.git_config import masked
from reconciler.errors import HivequeenError, SourceRejected, Stalled, Transient
from reconciler.settings import RepositorySettings

# Git says what is the matter in one line that begins so, and then adds others that only repeat that it failed.
_TELLING: Final = re.compile(r"^(?:fatal|error|ssh|remote|ERROR|warning|kex_exchange_identification|Host key)\b.*")
_REPEATING: Final = re.compile(
    r"^fatal: (?:Could not read from remote repository|the remote end hung up|index-pack failed|unpack-objects failed"
    r"|fetch-pack: invalid index-pack output|fsck error in packed object|early EOF)"
)
_UNTRUSTED: Final = re.compile(
    r"fsck error|did not send all necessary objects|repository corruption on the remote side|is corrupt|bad object"
)
# What git says, and what a person can do about it.
_NEEDS_PERSON: Final = (
    (r"couldn't find remote ref", "push {branch}, or correct repository.branch"),
    (
        r"shallow roots are not allowed|shallow update not allowed",
        "run git fetch --unshallow in the repository, or set repository.url to the full one",
    ),
    (r"Host key verification failed", "add the host's key to the file that repository.known_hosts names"),
    (r"certificate verification failed|SSL certificate problem", "let this machine trust the server's certificate"),
    (r"dubious ownership", "set repository.url to the full path of the repository, with its .git"),
    (
        (
            r"does not appear to be a git repository|repository '.*' not found|Repository not found|mismatched algorithms"
            r"|transport '.*' not allowed|is not a git command|strange (?:hostname|pathname)"
        ),
        "correct repository.url",
    ),
    (
        (
            r"Permission denied|Authentication failed|could not read (?:Username|Password)|terminal prompts disabled"
            r"|returned error: 40[13]|insufficient permission"
        ),
        "{access}",
    ),
)


def reason(stderr: str) -> str:
    """The last line that says what is the matter, without credentials."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or ["git said nothing"]
    telling = [line for line in lines if _TELLING.match(line)]
    first_hand = [line for line in telling if not _REPEATING.match(line)]
    return masked((first_hand or telling or lines)[-1])


def fetch_failed(stderr: str, settings: RepositorySettings) -> HivequeenError:
    """What a failed fetch means. What is not known to need a person is tried again."""
    message = f"the repository cannot be fetched: {reason(stderr)}"
    if _UNTRUSTED.search(stderr):
        return SourceRejected(message, remedy="run git fsck in the repository; the last good revision stays desired")
    for sign, remedy in _NEEDS_PERSON:
        if re.search(sign, stderr):
            return Stalled(message, remedy=remedy.format(branch=settings.branch, access=_access(settings)))
    return Transient(message)


def _access(settings: RepositorySettings) -> str:
    if settings.local_path:
        return "let the daemon's user read repository.url"
    if settings.url.startswith("https://"):
        return "put a valid user and token into repository.url"
    return "let the key that repository.ssh_key names read the repository"
