"""From what git prints when it fails to errors that say what to do next."""

import re
from typing import Final

from reconciler.adapters.git_config import masked
from reconciler.errors import Conflict, Denied, HivequeenError, Refused, SourceRejected, Stalled, Transient
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
# Of a push: the branch is not where it was, or somebody else is about to move it.
_RACE: Final = re.compile(
    r"stale info|fetch first|non-fast-forward|failed to update ref|cannot lock ref|failed to lock|incorrect old value"
    r"|reference already exists"
)
_NO_ACCESS: Final = re.compile(
    r"Permission (?:to .* )?denied|Authentication failed|could not read (?:Username|Password)|terminal prompts disabled"
    r"|returned error: 40[13]|insufficient permission|read[- ]only|not allowed to push"
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


def push_failed(stdout: str, stderr: str, settings: RepositorySettings) -> HivequeenError:
    """What a failed push means, by its porcelain output: a `Conflict` is a lost race."""
    why = rejection(stdout)
    if why and _RACE.search(why):
        return Conflict(f"the branch {settings.branch} moved meanwhile")
    said = "; ".join(part for part in (why, remark(stderr) if why else reason(stderr)) if part)
    message = f"the repository does not take the push: {said}"
    if _NO_ACCESS.search(stderr):
        return Denied(message, remedy=_write_access(settings))
    if why:
        return Refused(message, remedy=f"let the daemon push to {settings.branch}, or do by hand what it would do")
    return Transient(message)


def rejection(stdout: str) -> str:
    """Why a ref was not taken: what git puts in brackets at the end of its line in `push --porcelain`."""
    refused = next((line for line in stdout.splitlines() if line.startswith("!\t")), "")
    return masked(refused.rpartition("\t")[2])


def remark(stderr: str) -> str:
    """What the other side's hooks said, in one line."""
    told = [line.removeprefix("remote:").strip() for line in stderr.splitlines() if line.startswith("remote:")]
    return masked(" ".join(filter(None, told)))


def _write_access(settings: RepositorySettings) -> str:
    if settings.local_path:
        return "let the daemon's user write repository.url"
    if settings.url.startswith("https://"):
        return "put a user and token that may write into repository.url"
    return "let the key that repository.ssh_key names write to the repository"


def _access(settings: RepositorySettings) -> str:
    if settings.local_path:
        return "let the daemon's user read repository.url"
    if settings.url.startswith("https://"):
        return "put a valid user and token into repository.url"
    return "let the key that repository.ssh_key names read the repository"
