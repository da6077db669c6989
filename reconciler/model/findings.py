"""What is wrong with an input, and where: always all of it, each with file, line and remedy."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from reconciler.model.names import RoleName


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
    # What it is about, where the message holds figures or values that change while the fault stays the same.
    subject: str = ""
    excess: Decimal = Decimal(0)  # of such a figure: the higher, the worse

    def __str__(self) -> str:
        return f"{self.origin}: {self.message}" + (f" ({self.remedy})" if self.remedy else "")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Shape:
    """Something that nodes of a role are launched with."""

    role: RoleName
    field: str = ""  # the role's key: "instance_type", "root_volume"…; "": all of them
    value: str = ""  # of that key; "": whatever is declared


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Violation:
    """A bound of the policy that an environment goes beyond."""

    finding: Finding
    shapes: tuple[Shape, ...] = ()  # what of it no node may be launched with that none has been before
    is_total: bool = False  # of all environments together: it holds growth alone, for none of them is to blame


def new_findings(findings: Iterable[Finding], known: Iterable[Finding]) -> Collection[Finding]:
    """Those that are not among the known ones, or are worse than there.

    Lines move and figures change, so faults are told apart by subject, else by file and message; a fault is known as
    often as it was there.
    """
    left: defaultdict[tuple[str, str], list[Finding]] = defaultdict(list)
    for one in known:
        left[_identity(one)].append(one)
    new = []
    for one in sorted(findings, key=lambda one: one not in left[_identity(one)]):  # what did not move comes first
        before = left[_identity(one)]
        as_bad = (other for other in before if other.excess >= one.excess)
        match = one if one in before else min(as_bad, key=lambda other: other.excess, default=None)
        if match is None:
            new.append(one)
        else:
            before.remove(match)
    return new


def _identity(one: Finding) -> tuple[str, str]:
    return ("", one.subject) if one.subject else (one.origin.file, one.message)
