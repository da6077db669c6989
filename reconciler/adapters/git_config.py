"""What git is told before it runs: a configuration and an environment that are ours alone.

Nothing of `/etc/gitconfig`, of a home directory, or of the environment takes part. The settings lie in a file and not
in `-c` arguments, because only a file reaches `upload-pack` in a local repository (which runs with the rights of this
daemon on somebody else's configuration), and because a URL may hold a password, which a command line would show.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from reconciler.errors import Stalled
from reconciler.settings import RepositorySettings, is_remote_url

REMOTE: Final = "source"

# What a child may need of ours: to find programs, to get out, to trust an authority, to ask an agent for a key.
_INHERITED: Final = (
    "PATH",
    "HTTPS_PROXY",
    "https_proxy",
    "NO_PROXY",
    "no_proxy",
    "GIT_SSL_CAINFO",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSH_AUTH_SOCK",
)
_URL_REMEDY: Final = "set repository.url to https://…, ssh://…, git@host:path or a local path"


def require_usable(settings: RepositorySettings) -> None:
    """Refuse what git could take for something else than a URL or a folder.

    Raises:
        Stalled: it names the setting.
    """
    is_local = settings.url != "" and settings.local_path is not None
    if not is_local and not is_remote_url(settings.url):
        raise Stalled(f'repository.url: "{masked(settings.url)}" is not a supported address', remedy=_URL_REMEDY)
    folder = PurePosixPath(settings.path)
    if folder.is_absolute() or ".." in folder.parts:
        raise Stalled(
            f'repository.path: "{settings.path}" is not a folder of the repository',
            remedy='write it relative to the top of the repository, such as "environments.d"',
        )


def masked(text: str) -> str:
    """Without the credentials of any URL in it."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)


def configuration(settings: RepositorySettings) -> str:
    """The text of the one configuration file that git reads besides the mirror's own."""
    return "".join(_lines(settings))


def _lines(settings: RepositorySettings) -> Iterator[str]:
    local = settings.local_path
    yield f'[remote "{REMOTE}"]\n\turl = {_quoted(str(local) if local else settings.url)}\n'
    if local:
        # A repository owned by another user is the normal case. `.git`: of one with a work tree, git asks for that.
        yield f"[safe]\n\tdirectory = {_quoted(str(local))}\n\tdirectory = {_quoted(str(local / '.git'))}\n"
    yield "[core]\n\thooksPath = /dev/null\n"
    yield "[transfer]\n\tfsckObjects = true\n"
    yield "[gc]\n\tauto = 0\n\tautoDetach = false\n[maintenance]\n\tauto = false\n"  # not within a fetch: see git.py
    yield "[fetch]\n\tshowForcedUpdates = false\n[advice]\n\tfetchShowForcedUpdates = false\n"  # judged elsewhere
    yield "[http]\n\tlowSpeedLimit = 1\n\tlowSpeedTime = 30\n"
    # A signature of another kind than SSH is not one of `verify_keys`.
    yield "[gpg]\n\tformat = ssh\n\tminTrustLevel = fully\n\tprogram = /bin/false\n"
    yield '[gpg "x509"]\n\tprogram = /bin/false\n'
    if settings.verify_keys:
        yield f'[gpg "ssh"]\n\tallowedSignersFile = {_quoted(str(settings.verify_keys.absolute()))}\n'


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def environment(
    settings: RepositorySettings, *, home: Path, configuration_file: Path, inherited: Mapping[str, str]
) -> dict[str, str]:
    return {
        **{name: inherited[name] for name in _INHERITED if name in inherited},
        "LC_ALL": "C",  # messages are read
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(configuration_file),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "https:ssh:file",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_SSH_VARIANT": "ssh",
        "GIT_SSH_COMMAND": ssh_command(settings),
    }


def ssh_command(settings: RepositorySettings) -> str:
    """A shell command line: git hands it to `sh`."""
    words = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
    words += ["-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15"]
    if settings.ssh_key:
        words += ["-i", str(settings.ssh_key.absolute()), "-o", "IdentitiesOnly=yes"]
    if settings.known_hosts:
        # ssh splits this value at blanks and expands percent signs.
        path = str(settings.known_hosts.absolute()).replace("%", "%%")
        words += ["-o", f'UserKnownHostsFile="{path}"']
    return shlex.join(words)
