"""Errors, named by what to do next. Adapters translate into these; nobody above them sees a library's exception."""


class HivequeenError(Exception):
    """The root: a message for people and the remedy that goes with it.

    Args:
        message: what happened, one line, no secret in it.
        remedy: what a person can do next; empty when there is nothing to do but wait.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Transient(HivequeenError):
    """Try again later: throttled, unreachable or timed out. **The outcome of a write is unknown.**"""

    def __init__(self, message: str, *, remedy: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_s = retry_after_s


class Interrupted(HivequeenError):
    """A person ended it by Ctrl-C, and the message says how far it had got."""


class Throttled(Transient):
    """Too many requests just now: **this one was certainly not carried out**, and often not even sent."""


class Refused(HivequeenError):
    """The other side said no for certain: nothing was created or changed.

    Args:
        code: the other side's own error code or HTTP status, such as `InvalidAMIID.NotFound` or `403`.
    """

    def __init__(self, message: str, *, code: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


class NoCapacity(Refused):
    """EC2 has no room for this instance type in this subnet now; another offering may have."""


class QuotaReached(Refused):
    """The account may have no more of these now: others must go first, or somebody raises the quota."""


class TokenMismatch(Refused):
    """The client token is known with other parameters: find the instances by their intent tag."""


class TokenSpent(Refused):
    """The client token's instances were terminated: only a new intent can launch again."""


class Denied(Refused):
    """Credentials are missing, wrong or not permitted to do this; trying again changes nothing until a person acts."""


class Conflict(Refused):
    """The object exists already and is not the one that was to be made."""


class Stalled(HivequeenError):
    """A person must act before this can go on."""


class SourceRejected(HivequeenError):
    """The repository answered, but its newest revision must not be trusted (bad signature, unreadable tree)."""


class SettingsError(HivequeenError):
    """`hivequeen.yml` is wrong; `problems` holds one clear line each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
