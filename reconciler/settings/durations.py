"""Durations as people write them: `15s`, `5m`, `1h`, `14d`."""

import re
from typing import Final, TypeGuard

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile("[0-9]{1,5}[smhd]")


def is_duration(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and _DURATION.fullmatch(value) is not None


def seconds(duration: str) -> float:
    return float(int(duration[:-1]) * _SECONDS[duration[-1]])
