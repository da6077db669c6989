"""After converging: which environments back off, which roles are in trouble, and who was asked to start. Pure."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from reconciler.model.actions import LaunchNodes, ReplaceNode, ReplayLaunch, StartNode
from reconciler.model.desired import Desired
from reconciler.model.digest import content_digest
from reconciler.model.facts import (
    EnvironmentFailed,
    EnvironmentRecovered,
    Fact,
    NodeOdd,
    RoleRecovered,
    RoleTroubled,
)
from reconciler.model.memory import Backoff, Memory, Trouble
from reconciler.model.names import EnvironmentName, RoleName
from reconciler.model.passes import Outcome, Result
from reconciler.model.rules import BACKOFF_MAX

BACKOFF_FIRST: Final = timedelta(seconds=1)
DOUBLINGS_MAX: Final = 10  # 2^10 s is past the maximum
_SUCCESS: Final = (Result.DONE, Result.UNCHANGED)


def setbacks(
    outcomes: Sequence[Outcome],
    broken: Collection[EnvironmentName],
    desired: Desired,
    memory: Memory,
    now: datetime,
    *,
    jitter: Callable[[], float],
    noted: Iterable[Fact] = (),
) -> tuple[Fact, ...]:
    """What the journal should keep of this pass's failures and recoveries.

    Args:
        broken: environments whose turn ended in a defect.
        memory: as recalled for planning.
        noted: what the journal was told since, in this pass: planning may have judged the same roles.
        jitter: a number from 0 to 1; it spreads retries by up to a quarter.
    """
    by_environment: dict[EnvironmentName, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_environment[outcome.action.environment].append(outcome)
    for name in broken:
        by_environment.setdefault(name, [])
    troubles = _troubles_now(memory, noted)
    facts: list[Fact] = []
    for name, own in sorted(by_environment.items()):
        failed = [outcome for outcome in own if is_setback(outcome)]
        if failed or name in broken:
            message = failed[0].message if failed else "a defect; see the log"
            facts.append(EnvironmentFailed(backoff=_backoff(name, message, memory, now, jitter)))
        elif name in memory.backoffs and any(outcome.result in _SUCCESS for outcome in own):
            facts.append(EnvironmentRecovered(environment=name))
        facts.extend(_troubles(failed, desired, troubles, now))
        facts.extend(_asked_to_start(own))
    return tuple(facts)


def is_setback(outcome: Outcome) -> bool:
    """For a launch, capacity that is out or a spent token is not one: the next pass has another way at once."""
    has_no_other_way = outcome.needs_person or isinstance(outcome.action, StartNode)
    return outcome.result == Result.UNKNOWN or (outcome.result == Result.REFUSED and has_no_other_way)


def _asked_to_start(outcomes: Sequence[Outcome]) -> Iterator[Fact]:
    """Those whose time to start counts from now, for EC2 has answered. Asking it in vain is no fault of theirs."""
    for outcome in outcomes:
        if isinstance(outcome.action, StartNode) and outcome.result in (Result.DONE, Result.REFUSED):
            yield NodeOdd(instance_id=outcome.action.instance_id)


def _backoff(
    name: EnvironmentName, message: str, memory: Memory, now: datetime, jitter: Callable[[], float]
) -> Backoff:
    before = memory.backoffs.get(name)
    failures = before.failures if before is not None else 0
    pause = min(BACKOFF_MAX, BACKOFF_FIRST * 2 ** min(failures, DOUBLINGS_MAX))
    return Backoff(environment=name, failures=failures + 1, until=now + pause * (1 - jitter() / 4), message=message)


def _troubles_now(memory: Memory, noted: Iterable[Fact]) -> dict[tuple[EnvironmentName, RoleName], Trouble]:
    troubles = dict(memory.troubles)
    for fact in noted:
        match fact:
            case RoleTroubled(trouble=trouble):
                troubles[trouble.environment, trouble.role] = trouble
            case RoleRecovered(environment=environment, role=role):
                troubles.pop((environment, role), None)
            case _:
                pass
    return troubles


def _troubles(
    failed: Sequence[Outcome],
    desired: Desired,
    troubles: Mapping[tuple[EnvironmentName, RoleName], Trouble],
    now: datetime,
) -> Iterator[Fact]:
    """A refused launch counts among a role's failures in a row; one that is refused for good halts it."""
    for outcome in failed:
        action = outcome.action
        declared = desired.environments.get(action.environment)
        if not isinstance(action, LaunchNodes | ReplaceNode | ReplayLaunch):
            continue
        # Bad credentials are no fault of the role's, and go for all: the backoff is enough.
        is_of_role = outcome.is_permanent or not outcome.is_denied
        if outcome.result != Result.REFUSED or not is_of_role or declared is None:
            continue
        content = content_digest(declared, declared.roles[action.role])
        known = troubles.get((action.environment, action.role))
        if known is None or known.content != content:  # a commit that touches the role starts afresh
            known = Trouble(
                environment=action.environment,
                role=action.role,
                content=content,
                failed=frozenset(),
                is_halted=False,
                message="",
                remedy="",
                since=now,
            )
        trouble = replace(
            known,
            failed=known.failed | {f"launch at {now.isoformat()}"},
            is_halted=known.is_halted or outcome.is_permanent,
            message=outcome.message,
            remedy=outcome.remedy,
            retry_at=None,  # the next plan says when
        )
        yield RoleTroubled(trouble=trouble)
