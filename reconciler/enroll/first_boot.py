"""User-data: the first-boot script with the settings and a role's declared user_data in it. It holds no secret."""

import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from ipaddress import ip_address
from itertools import takewhile
from pathlib import Path
from string import ascii_letters, digits
from typing import Final
from urllib.parse import urlsplit

from reconciler.errors import SettingsError, Stalled
from reconciler.settings import BootstrapSettings, ChefSettings, Settings

USER_DATA_BYTES_MAX: Final = 16_384  # EC2's, before base64
USER_DATA_LIMIT_UNKNOWN: Final = 4_096  # for declared user_data where no settings tell how much the rest takes

_PLACEHOLDER = re.compile(r"@([a-z0-9_]+)@")
_COMMENT = re.compile(r"^\s*#(?!!).*\n", re.MULTILINE)
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----\n.+?\n-----END CERTIFICATE-----\n?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class FirstBoot:
    """Renders user-data. Everything is read once, when it is made; rendering is pure."""

    bootstrap: BootstrapSettings
    chef: ChefSettings
    ca_certificate: str | None  # PEM; the authority of the nodes listener, pinned
    chef_ca_certificate: str | None  # PEM; trusted besides the system's

    @classmethod
    def load(cls, bootstrap: BootstrapSettings, chef: ChefSettings) -> "FirstBoot":
        """Read what the settings point to.

        Raises:
            SettingsError: a certificate cannot be read, or nodes would send their proof over plain HTTP.
        """
        if not (_is_private_to_the_wire(bootstrap.url) or bootstrap.insecure):
            raise SettingsError(
                (f"bootstrap.url: {bootstrap.url}: plain HTTP; use https, or set bootstrap.insecure: true",)
            )
        return cls(
            bootstrap=bootstrap,
            chef=chef,
            ca_certificate=_certificates("bootstrap.ca_certificate", bootstrap.ca_certificate),
            chef_ca_certificate=_certificates("chef.ca_certificate", chef.ca_certificate),
        )

    def render(self, user_data: str | None = None) -> str:
        """The script of one role.

        Args:
            user_data: the role's declared shell; it runs before the bootstrap, in a process of its own.

        Raises:
            Stalled: the whole is more than EC2 takes.
        """
        rendered = self._fill(user_data)
        if len(rendered.encode()) > USER_DATA_BYTES_MAX:
            raise Stalled(
                f"user-data would have {len(rendered.encode())} bytes, EC2 takes {USER_DATA_BYTES_MAX}",
                remedy=f"shorten user_data to {self.user_data_limit} bytes",
            )
        return rendered

    @cached_property
    def user_data_limit(self) -> int:
        """How many bytes declared user_data may have."""
        return max(0, USER_DATA_BYTES_MAX - len(self._fill("").encode()))

    def _fill(self, user_data: str | None) -> str:
        package = self.bootstrap.package
        values = {
            "url": _quote(self.bootstrap.url.rstrip("/")),
            "protocol": _quote(urlsplit(self.bootstrap.url).scheme),
            "product": _quote(self.bootstrap.product),
            "package_url": _quote(package.url if package else ""),
            "package_sha256": _quote(package.sha256.lower() if package else ""),
            "interval_s": str(int(self.chef.interval_s)),
            "cron": _quote(cron_schedule(self.chef.interval_s)),
            "files": self._files(user_data),
        }
        template = _COMMENT.sub("", files(__package__).joinpath("first_boot.sh").read_text(encoding="utf-8"))
        # One pass: what is put in is never looked at again.
        return _PLACEHOLDER.sub(lambda match: values[match[1]], template)

    def _files(self, user_data: str | None) -> str:
        """The shell that writes what the script needs as files."""
        written = []
        if self.ca_certificate is not None:
            written.append("CA=$WORK/nodes_ca.pem")
            written.append(_here_document("$CA", self.ca_certificate))
        # Chef reads one certificate of each file.
        for number, certificate in enumerate(_CERTIFICATE.findall(self.chef_ca_certificate or "")):
            written.append(_here_document(f"$CONFIG/trusted_certs/hivequeen{number}.crt", certificate))
        if user_data is not None:
            written.append(_here_document("$WORK/user-data", user_data))
        return "\n".join(written)


def user_data_limit(settings: Settings | None) -> int:
    """How many bytes declared user_data may have: for `validate`, which may have to do without settings."""
    if settings is None:
        return USER_DATA_LIMIT_UNKNOWN
    return FirstBoot.load(settings.bootstrap, settings.chef).user_data_limit


def cron_schedule(interval_s: float) -> str:
    """The five fields of a schedule that is nearest to this interval."""
    minutes = max(1, round(interval_s / 60))
    if minutes < 60:  # noqa: PLR2004 - an hour
        return f"*/{minutes} * * * *"
    hours = minutes // 60
    return f"7 */{hours} * * *" if hours < 24 else "7 3 * * *"  # noqa: PLR2004 - a day


def _quote(text: str) -> str:
    """One shell word, always in quotes (shlex.quote leaves out those that it can)."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


def _here_document(path: str, content: str) -> str:
    """Shell that writes `content`, whatever it holds, and a newline if it lacks one, to `path`."""
    end = _end_of(content)
    newline = "" if content.endswith("\n") else "\n"
    return f"cat >\"{path}\" <<'{end}'\n{content}{newline}{end}"


def _end_of(content: str) -> str:
    """A delimiter that no line of the content is, for it is a digest of it.

    It begins with a letter of which no line makes dash 0.5.12 lose a byte: where a line begins like the delimiter and
    goes on with a byte beyond ASCII, dash drops that byte.

    Raises:
        Stalled: every letter and digit begins such a line.
    """
    lines = content.splitlines()
    digest = sha256(content.encode()).hexdigest()[:16]
    for first in ascii_letters + digits:
        end = f"{first}_{digest}"
        if not any(_loses_a_byte(line, end) for line in lines):
            return end
    raise Stalled("user_data cannot be put into a script unharmed", remedy="write it in ASCII")


def _loses_a_byte(line: str, end: str) -> bool:
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(line, end, strict=False)))
    return 0 < alike < len(line) and not line[alike].isascii()


def _is_private_to_the_wire(url: str) -> bool:
    """True for TLS, and for loopback, where nobody else listens."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname == "localhost":
        return True
    try:
        return ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _certificates(setting: str, path: Path | None) -> str | None:
    """Only the certificates of the file, each once: comments beside them would cost user-data its room."""
    if path is None:
        return None
    try:
        found = _CERTIFICATE.findall(path.read_text(encoding="ascii", errors="replace").replace("\r\n", "\n"))
    except OSError as error:
        raise SettingsError((f"{setting}: {path}: {error.strerror}",)) from error
    if not found:
        raise SettingsError((f"{setting}: {path}: holds no PEM certificate",))
    return "".join(certificate.rstrip("\n") + "\n" for certificate in dict.fromkeys(found))
