"""What is wrong with an input, and where: always all of it, each with file, line and remedy."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Origin:
    """Where a value was declared."""

    file: str  # path in the repository, "environments.d/checkout.yml"
    line: int  # from 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One fault of one file. `str()` is the line that people read."""

    origin: Origin
    message: str  # names the offending value: 'unknown key "run_lsit"'
    remedy: str = ""  # 'did you mean "run_list"?'

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}" + (f" ({self.remedy})" if self.remedy else "")
