"""What a node's log may hold when it is shown to people: no control characters, and no secret that looks like one."""

import re
import unicodedata

LOG_BYTES_MAX = 16 * 1024
MASK = "[masked]"

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# The end of a log may begin in the midst of a key, and end in the midst of one.
_PRIVATE_KEY = re.compile(
    r"(?:-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----|\A(?:[A-Za-z0-9+/=]+\n)+(?=-----END))"
    r"(?:(?!-----END).)*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_ACCESS_KEY = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_NAMED = re.compile(
    r"(?i)\b([a-z0-9_-]*(?:password|passwd|passphrase|secret|secret_access_key|api_?key|token|credential)s?)"
    r"(\"?'?\s*(?:=>|=|:)\s*)(?!\[masked\])(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;\"']+)"
)
_AUTHORIZATION = re.compile(r"(?i)\b(authorization\s*[:=]\s*(?:basic|bearer)\s+)(?!\[masked\])\S+")
_URL = re.compile(r"(?i)([a-z][a-z0-9+.-]*://[^\s/:@]+:)(?!\[masked\])[^\s/@]+@")


def presentable(log: bytes) -> str:
    """The end of it, as text."""
    text = _ESCAPES.sub("", log[-LOG_BYTES_MAX:].decode("utf-8", errors="replace"))
    shown = "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))
    return mask(shown)


def mask(text: str) -> str:
    """Obvious secrets replaced."""
    text = _PRIVATE_KEY.sub(MASK, text)
    text = _ACCESS_KEY.sub(MASK, text)
    text = _AUTHORIZATION.sub(rf"\g<1>{MASK}", text)
    text = _NAMED.sub(rf"\g<1>\g<2>{MASK}", text)
    return _URL.sub(rf"\g<1>{MASK}@", text)
