"""What a simulated machine takes out of its user-data: values. It executes none of it, for it is other people's shell."""

import re
from dataclasses import dataclass

_ASSIGNMENT = r"^{name}=((?:'[^']*'|\"'\")+)$"
_WORD = re.compile(r"'([^']*)'|\"(')\"")
_AUTHORITY = re.compile(r"^cat >\"\$CA\" <<'([A-Za-z0-9]_[0-9a-f]+)'\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserData:
    """Of a first-boot script."""

    url: str  # of the daemon's nodes listener
    product: str
    ca_certificate: str | None  # PEM, pinned


def read_user_data(text: str) -> UserData | None:
    """None if it is not a first-boot script."""
    url, product = _value(text, "URL"), _value(text, "PRODUCT")
    if url is None or product is None:
        return None
    authority = _AUTHORITY.search(text)
    return UserData(url=url, product=product, ca_certificate=authority[2] if authority else None)


def _value(text: str, name: str) -> str | None:
    """The first assignment of this name, in quotes."""
    found = re.search(_ASSIGNMENT.format(name=name), text, re.MULTILINE)
    return None if found is None else "".join(plain or quote for plain, quote in _WORD.findall(found[1]))
