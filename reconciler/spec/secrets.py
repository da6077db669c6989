"""Values that look like secrets. A spec repository is read by the whole company, and so is a Chef role."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Final

_KNOWN: Final = (
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "an AWS access key"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), "a private key"),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36,}\b"), "a GitHub token"),
)
_TELLING_KEY: Final = re.compile(
    r"(?:^|[_-])(?:passwords?|passwd|passphrase|secrets?|tokens?|credentials?|(?:api|access|private|secret)[_-]?keys?)$",
    re.IGNORECASE,
)
# Paths, URLs, ARNs and sentences are references to a secret rather than one.
_OPAQUE: Final = re.compile(r"(?!/)[A-Za-z0-9+/=_.~!@#$%^&*-]{16,}")
_BITS_PER_CHARACTER_MIN: Final = 3.0  # random hexadecimal has nearly 4, "changeme-changeme" 2.8


def secret_kind(keys: Iterable[str], text: str) -> str:
    """What `text`, found under these nested keys, looks like: "an AWS access key"; "" if it looks harmless."""
    for pattern, what in _KNOWN:
        if pattern.search(text):
            return what
    if (
        any(_TELLING_KEY.search(key) for key in keys)
        and _OPAQUE.fullmatch(text)
        and _entropy(text) >= _BITS_PER_CHARACTER_MIN
    ):
        return "a secret"
    return ""


def _entropy(text: str) -> float:
    """Shannon entropy in bits per character."""
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares)
