"""What comes before the command on the line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_CONFIG: Final = Path("/etc/hivequeen/hivequeen.yml")


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options before the command: the context's `obj`."""

    config: Path
    is_debugging: bool
