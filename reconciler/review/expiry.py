"""When an environment ends by itself, and what a change does to that."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reconciler.model.desired import Environment
from reconciler.model.names import EnvironmentName
from reconciler.model.rules import Rules
from reconciler.review.foresee import Foreseen

# What a file says of it. The protected never end so.
KEYS: Final = ("ttl", "expires", "protected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    before: datetime | None  # None: never, or nobody can tell when
    after: datetime | None
    is_moved: bool  # by the change
    is_over: bool  # it has ended: what runs of it goes, and nothing is launched
    ends_what_runs: bool  # the change does, at once or as soon as a notice allows


def expiry(name: EnvironmentName, old: Foreseen, new: Foreseen, rules: Rules) -> Expiry:
    before, after = old.expires_at.get(name), new.expires_at.get(name)
    declared = new.desired.environments.get(name)
    is_moved = declared is not None and before != after and (after is not None or _is_endless(declared, rules))
    here = new.observed.environments.get(name)
    soon = new.observed.at + min(rules.notices, default=timedelta())
    return Expiry(
        before=before,
        after=after,
        is_moved=is_moved,
        is_over=new.is_over(name),
        ends_what_runs=is_moved
        and after is not None
        and after <= soon
        and (before is None or after < before)
        and here is not None
        and bool(here.nodes),
    )


def _is_endless(environment: Environment, rules: Rules) -> bool:
    """It says so itself. Else that its end is not known may as well be for want of a history."""
    life = environment.lifetime
    return environment.protected or (life.ttl is None and life.expires_at is None and rules.default_ttl is None)
