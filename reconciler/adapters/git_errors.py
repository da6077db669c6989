"""From what git prints when it fails to errors that say what to do next."""

import re
from typing import Final

from reconciler.adapters.git_config import masked
from reconciler.errors import HivequeenError, SourceRejected, Stalled, Transient
from reconciler.settings import RepositorySettings

# Lines that git adds after the one that says what is the matter.
_NOISE: Final = re.compile(
    r"^(?:hint:.*|fatal: Could not read from remote repository\.|Please make sure you have the correct access rights"
    r"|and the repository exists\.|To add an exception.*|\s*git config --global.*|fatal: the remote end hung up.*)$"
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
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if not _NOISE.match(line)]
    return masked((telling or lines or ["git said nothing"])[-1])


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
