"""How long a declared environment lives: when it expires, the notices before, its end, and the commit that renews it.

Expiry follows the same teardown as a deleted file. What cannot be known ends nothing, and cancels nothing either.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from reconciler.model.actions import Reason
from reconciler.model.commits import Commit
from reconciler.model.desired import Environment
from reconciler.model.facts import EndingCancelled, EnvironmentEnding, ExpiryNoticed, Fact
from reconciler.model.findings import Origin
from reconciler.model.memory import Ending, EndingCause, ExpiryNotice, KnownEnvironment
from reconciler.model.names import EnvironmentName
from reconciler.model.observed import ObservedEnvironment
from reconciler.model.plan import EnvironmentPlan, Stall
from reconciler.model.schedule import next_change
from reconciler.plan.chef import generated_environment
from reconciler.plan.context import Context
from reconciler.plan.ending import ending_of
from reconciler.plan.environment import plan_declared
from reconciler.plan.protection import is_protected
from reconciler.plan.teardown import tear_down

_MOMENT: Final = "%Y-%m-%d %H:%M UTC"
_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC)


def expires_at(environment: Environment, context: Context) -> datetime | None:
    """None: never, or it cannot be told now when."""
    found = _announced(environment, context)
    return found.at if found is not None else None


def plan_living(environment: Environment, observed: ObservedEnvironment, context: Context) -> EnvironmentPlan:
    """Everything that its file asks for, for as long as it lives."""
    expiry, known = _announced(environment, context), context.memory.environments.get(environment.name)
    has_ended = known is not None and known.ending is not None and known.ending.cause is EndingCause.EXPIRED
    if expiry is not None and expiry.at <= context.now:
        return _plan_expired(environment, expiry, observed, context)
    if has_ended and _is_in_the_dark(environment, context):
        return EnvironmentPlan(name=environment.name, is_declared=False, stalls=(_dark(environment),))
    plan = plan_declared(environment, observed, context)
    facts: list[Fact] = [EndingCancelled(environment=environment.name)] if has_ended else []
    moments = [plan.due_at] if plan.due_at is not None else []
    if environment.lifetime.schedule is not None:
        moments.append(next_change(environment.lifetime.schedule, context.now))
    if expiry is not None:
        moments.append(_next_moment(expiry, context))
        facts.extend(_notices(environment, expiry, known, context))
    return replace(
        plan,
        facts=(*facts, *plan.facts),
        due_at=min(moments, default=None),
        expires_at=expires_at(environment, context),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expiry:
    at: datetime
    why: str  # "its ttl of 7 days"
    origin: Origin | None  # the line that says so
    commit: Commit | None  # that it counts from, where that is known


def _announced(environment: Environment, context: Context) -> _Expiry | None:
    """The moment as people were told it. What runs and is over when that is first seen ends by a notice of its own."""
    expiry, shortest = _expiry(environment, context), min(context.rules.notices, default=None)
    if expiry is None or shortest is None or _is_bare(environment, context):
        return expiry
    known = context.memory.environments.get(environment.name)
    given = known.notice if known is not None else None
    if known is not None and known.ending is not None and known.ending.cause is EndingCause.EXPIRED:
        return expiry  # it was over already when it was renewed for too short a time
    if given is not None and given.ahead == shortest and given.expires_at >= expiry.at:
        return replace(expiry, at=given.expires_at)
    if given is not None and given.expires_at == expiry.at:
        return expiry  # a longer notice, given while the shortest was not due
    is_in_time = expiry.at - context.now >= shortest / 2
    return expiry if is_in_time else replace(expiry, at=_after(context.now, shortest))


def _expiry(environment: Environment, context: Context) -> _Expiry | None:
    """The earlier of the two that a file may name; of a file that names neither, the default of the settings."""
    if _never_expires(environment, context):
        return None
    life, touched = environment.lifetime, _touched(environment, context)
    found: list[_Expiry] = []
    if life.expires_at is not None:
        origin = environment.origins.get("expires", environment.origin)
        found.append(_Expiry(at=life.expires_at, why="its date of expiry", origin=origin, commit=touched))
    if life.ttl is not None and touched is not None:
        origin = environment.origins.get("ttl", environment.origin)
        found.append(
            _Expiry(
                at=_after(touched.at, life.ttl), why=f"its ttl of {_shown(life.ttl)}", origin=origin, commit=touched
            )
        )
    default = _default_ttl(environment, context)
    if default is not None and touched is not None:
        why = f"the default ttl of {_shown(default)}"
        found.append(_Expiry(at=_after(touched.at, default), why=why, origin=environment.origin, commit=touched))
    return min(found, key=lambda one: one.at, default=None)


def _after(moment: datetime, span: timedelta) -> datetime:
    """Whoever commits names the date, and may name one near the end of the calendar."""
    return moment + span if moment < _LAST - span else _LAST


def _shown(span: timedelta) -> str:
    """`7 days`, `2:00:00`."""
    return str(span).removesuffix(", 0:00:00")


def _never_expires(environment: Environment, context: Context) -> bool:
    """What is protected never does: by its file, and until the marks of an earlier protection are taken off."""
    return environment.protected or (
        not context.has_begun(environment.name) and is_protected(environment.name, context)
    )


def _default_ttl(environment: Environment, context: Context) -> timedelta | None:
    life = environment.lifetime
    return context.rules.default_ttl if life.ttl is None and life.expires_at is None else None


def _touched(environment: Environment, context: Context) -> Commit | None:
    return context.touched.get(environment.origin.file.removeprefix(f"{context.folder.rstrip('/')}/"))


def _is_bare(environment: Environment, context: Context) -> bool:
    """Nothing of its own is there, and no launch may have made something."""
    there = context.environment(environment.name)
    own = replace(there, chef_environment=generated_environment(context.rules.fleet, there))
    return own.is_empty and environment.name not in context.open_intents


def _is_in_the_dark(environment: Environment, context: Context) -> bool:
    """Whether its lifetime counts from a commit that cannot be told now."""
    counts = environment.lifetime.ttl is not None or _default_ttl(environment, context) is not None
    return counts and not _never_expires(environment, context) and _touched(environment, context) is None


def _dark(environment: Environment) -> Stall:
    return Stall(
        reason="LifetimeUnknown",
        message=f"it has expired, and whether a commit renewed {environment.origin.file} cannot be read",
        remedy="make the history of the repository readable; until then nothing of it is removed or launched",
    )


# --- the end --------------------------------------------------------------------------------------------------------


def _plan_expired(
    environment: Environment, expiry: _Expiry, observed: ObservedEnvironment, context: Context
) -> EnvironmentPlan:
    """The teardown, then nothing: it stays gone until a commit renews it."""
    name, known = environment.name, context.memory.environments.get(environment.name)
    is_gone = _is_bare(environment, context)
    if known is None and is_gone:  # what this revision declares anew; it is applied first
        ending = _begin(environment, expiry, context)
        return EnvironmentPlan(name=name, is_declared=False, facts=(_noted(name, ending),))
    if known is None or (known.ending is not None and known.ending.cause is not EndingCause.EXPIRED):
        return EnvironmentPlan(name=name, is_declared=False)  # first this revision is applied
    # A Chef environment that it merely uses is no part of it.
    observed = replace(observed, chef_environment=generated_environment(context.rules.fleet, observed))
    ending = _ending(environment, expiry, known, context)
    if is_gone and known.teardown_began_at is None:  # said once, so that people see why nothing is there
        facts = (_noted(name, ending),) if known.ending is None else ()
        return EnvironmentPlan(name=name, is_declared=False, facts=facts)
    reason = Reason(
        rule="expired",
        detail=f"{expiry.why} ended on {expiry.at:{_MOMENT}}",
        origin=expiry.origin,
        revision=ending.revision,
    )
    return tear_down(observed, ending, context, reason=reason)


def _ending(environment: Environment, expiry: _Expiry, known: KnownEnvironment, context: Context) -> Ending:
    """The one that is remembered, unless it was renewed and has expired again since: then a new grace begins."""
    is_same = expiry.commit is None or known.ending is None or known.ending.revision == expiry.commit.revision
    if known.ending is not None and (is_same or known.teardown_began_at is not None):
        return ending_of(environment.name, context)
    return _begin(environment, expiry, context)


def _begin(environment: Environment, expiry: _Expiry, context: Context) -> Ending:
    return Ending(
        cause=EndingCause.EXPIRED,
        at=context.now,
        revision=expiry.commit.revision if expiry.commit is not None else context.revision,
        author=expiry.commit.author if expiry.commit is not None else "",
        file=environment.origin.file,
    )


def _noted(name: EnvironmentName, ending: Ending) -> EnvironmentEnding:
    return EnvironmentEnding(
        environment=name, cause=ending.cause, revision=ending.revision, author=ending.author, file=ending.file
    )


# --- the notices before ---------------------------------------------------------------------------------------------


def _next_moment(expiry: _Expiry, context: Context) -> datetime:
    """Its next notice, else its end."""
    notices = (expiry.at - ahead for ahead in context.rules.notices)
    return min((moment for moment in notices if moment > context.now), default=expiry.at)


def _notices(
    environment: Environment, expiry: _Expiry, known: KnownEnvironment | None, context: Context
) -> Iterator[Fact]:
    """The most urgent of those that are due, if it was not given yet for this moment of expiry."""
    ahead = min((one for one in context.rules.notices if expiry.at - context.now <= one), default=None)
    if ahead is None:
        return
    given = known.notice if known is not None else None
    if given is None or given.expires_at != expiry.at or given.ahead > ahead:
        yield ExpiryNoticed(environment=environment.name, notice=ExpiryNotice(expires_at=expiry.at, ahead=ahead))
