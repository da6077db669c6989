"""Why an environment is as it is: its file, what ends or holds it, each role, and what is done, awaited or stuck."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from reconciler.model.conditions import ConditionType
from reconciler.model.desired import Environment
from reconciler.model.findings import Origin
from reconciler.model.memory import Backoff, Trouble
from reconciler.model.names import EnvironmentName, RoleName
from reconciler.model.observed import Phase
from reconciler.model.plan import EnvironmentPlan, Guard
from reconciler.report.holds import held_since, in_order
from reconciler.report.picture import Picture
from reconciler.report.sentences import nodes_of, why_it_ends
from reconciler.report.statements import Statement, Topic, of_action, of_hold

# Conditions that tell what no plan, hold or suspension does; and those that do so while there is a plan.
_ODD: Final[Mapping[ConditionType, Topic]] = MappingProxyType(
    {
        ConditionType.DEGRADED: Topic.WAITING,
        ConditionType.LOST: Topic.STALLED,
        ConditionType.STALE: Topic.STALLED,
        ConditionType.QUARANTINED: Topic.WAITING,
    }
)
_REMEMBERED: Final[Mapping[ConditionType, Topic]] = MappingProxyType(
    {
        ConditionType.RECONCILING: Topic.WAITING,
        ConditionType.HELD: Topic.HELD,
        ConditionType.SUSPENDED: Topic.SUSPENDED,
    }
)


def environment_statements(name: EnvironmentName, picture: Picture, now: datetime) -> Iterator[Statement]:
    declared, plan = picture.declared(name), picture.plan(name)
    yield from _declaration(name, picture)
    yield from _ending(name, picture)
    yield from holds(name, picture, plan)
    if declared is not None and (plan is None or plan.is_declared):
        if plan is not None and plan.expires_at is not None and plan.expires_at > now:
            yield _expiry(declared, plan.expires_at, picture)
        yield from _roles(declared, picture, plan)
        for finding in (violation.finding for violation in declared.violations):
            yield Statement(
                topic=Topic.POLICY,
                text=f"{finding.message}: it may not grow, and what runs is kept well",
                rule="policy",
                origin=finding.origin,
                revision=picture.made.revision if picture.made else None,
                remedy=finding.remedy,
            )
    if plan is not None:
        for action in plan.actions:
            yield of_action(Topic.DOING, action)
        yield from waits(plan, picture, now)
        yield from stalls(plan, picture)
    yield from _conditions(name, picture, plan)
    yield from _approvals(name, picture)


def holds(name: EnvironmentName, picture: Picture, plan: EnvironmentPlan | None) -> Iterator[Statement]:
    """Guards' verdicts on it and on everything, and suspensions, whether they hold something now or not."""
    made = picture.made
    for blocked in made.plan.blocked if made and made.plan else ():
        yield of_hold(blocked, (), held_since(blocked.guard, None, picture.conditions))
    general = {blocked.guard for blocked in made.plan.blocked} if made and made.plan else set[Guard]()
    is_suspended = False
    for blocked in plan.blocked if plan else ():
        if blocked.guard in general and not blocked.digest:
            continue  # observe mode, or a foreign claim
        is_suspended = is_suspended or blocked.guard is Guard.SUSPENDED
        revision = plan.ending.revision if plan and plan.ending and blocked.guard is Guard.GRACE else None
        since = held_since(blocked.guard, name, picture.conditions)
        yield of_hold(blocked, blocked.actions, since, revision=revision)
    if not is_suspended:
        for one in picture.memory.suspensions:
            if one.environment in (None, name):
                yield Statement(
                    topic=Topic.SUSPENDED,
                    text=str(one),
                    rule=Guard.SUSPENDED.value,
                    actor=one.actor,
                    since=one.since,
                    until=one.until,
                    remedy=one.remedy,
                )


def waits(plan: EnvironmentPlan, picture: Picture, now: datetime, *, role: str = "") -> Iterator[Statement]:
    """What needs only time; with a role, its own alone."""
    backoff = picture.memory.backoffs.get(plan.name)
    for waiting in plan.waiting:
        if role and waiting.role not in ("", role):
            continue
        until = waiting.until or (backoff.until if _is_of(backoff, waiting.message, now) and backoff else None)
        yield Statement(topic=Topic.WAITING, text=waiting.message, until=until)


def _is_of(backoff: Backoff | None, message: str, now: datetime) -> bool:
    return backoff is not None and backoff.until > now and message.endswith(backoff.message) and "next try" in message


def stalls(plan: EnvironmentPlan, picture: Picture, *, role: str = "", mention: str = "") -> Iterator[Statement]:
    """What needs a person; with a role, only what concerns it, or mentions its node."""
    said = next(
        (one for one in picture.conditions if (one.environment, one.type) == (plan.name, ConditionType.STALLED)), None
    )
    for stall in plan.stalls:
        if stall.reason == "BadFile":
            continue  # each finding is a statement
        if role and not (stall.message.startswith(f"{role}:") or (mention and mention in stall.message)):
            continue
        trouble = _trouble(plan.name, stall.message, picture)
        yield Statement(
            topic=Topic.STALLED,
            text=stall.message,
            rule=stall.reason,
            since=trouble.since if trouble else said.since if said and said.is_true else None,
            until=trouble.retry_at if trouble and stall.reason == "BreakerOpen" else None,
            remedy=stall.remedy,
        )


def _trouble(name: EnvironmentName, message: str, picture: Picture) -> Trouble | None:
    return picture.memory.troubles.get((name, RoleName(message.partition(":")[0])))


def _declaration(name: EnvironmentName, picture: Picture) -> Iterator[Statement]:
    made = picture.made
    desired = made.desired if made else None
    revision = made.revision if made else None
    declared = picture.declared(name)
    if declared is not None:
        by = f"for {declared.owner}" if declared.owner else ""
        text = f"{declared.origin.file} declares it {by}".rstrip()
        yield Statement(topic=Topic.DECLARED, text=text, rule="declared", origin=declared.origin, revision=revision)
        return
    frozen = desired.frozen.get(name) if desired else None
    if frozen is not None:
        text = "its file cannot be trusted: it is neither changed nor torn down until that is corrected"
        yield Statement(topic=Topic.FROZEN, text=text, rule="BadFile")
        for one in frozen.findings:
            yield Statement(
                topic=Topic.FROZEN,
                text=one.message,
                rule="BadFile",
                origin=one.origin,
                revision=revision,
                remedy=one.remedy,
            )
        return
    known = picture.memory.environments.get(name)
    if desired is not None and name in picture.names:
        yield Statement(topic=Topic.DECLARED, text="no file declares it", rule="declared", revision=desired.revision)
    elif desired is None and known is not None:
        text = f"{known.declared_by[:8]} was the newest revision that declared it"
        yield Statement(topic=Topic.DECLARED, text=text, rule="declared", revision=known.declared_by)


def _ending(name: EnvironmentName, picture: Picture) -> Iterator[Statement]:
    """While the grace lasts its hold says it all."""
    known, plan = picture.memory.environments.get(name), picture.plan(name)
    ending = (known.ending if known else None) or (plan.ending if plan else None)
    if plan is not None and any(one.guard is Guard.GRACE for one in plan.blocked):
        return
    true = {one.type: one for one in picture.conditions if one.environment == name and one.is_true}
    said = true.get(ConditionType.ENDING) or true.get(ConditionType.EXPIRED)  # this alone once nothing is left
    declared = picture.declared(name)
    line = _lifetime_line(declared) if declared is not None else None
    rule = "teardown" if line is None else "expired"
    if ending is None:
        if said is not None:  # a commit brought it whose date had passed already
            yield Statement(
                topic=Topic.ENDING,
                text=said.message,
                rule=rule,
                origin=line,
                revision=picture.made.revision if picture.made else None,
                since=said.since,
                remedy=said.remedy,
            )
        return
    yield Statement(
        topic=Topic.ENDING,
        text=said.message if said is not None else why_it_ends(ending),
        rule=rule,
        origin=line,
        revision=ending.revision,
        actor=ending.author,
        since=known.teardown_began_at if known and known.teardown_began_at else ending.at,
        remedy=said.remedy if said is not None else "",
        details=tuple(
            f"{item.kind} {item.name}: {f'seen gone {at:%H:%M:%S} UTC' if at else 'still there'}"
            for item, at in in_order(ending.items)
        ),
    )


def _lifetime_line(declared: Environment) -> Origin:
    """The line that gives it its lifetime; where two do, or only the settings, the file."""
    lines = [declared.origins[key] for key in ("ttl", "expires") if key in declared.origins]
    return lines[0] if len(lines) == 1 else declared.origin


def _expiry(declared: Environment, expires_at: datetime, picture: Picture) -> Statement:
    origin = declared.origins.get("expires") if declared.lifetime.expires_at == expires_at else None
    return Statement(
        topic=Topic.EXPIRES,
        text="its lifetime ends then, and it is torn down",
        rule="expired",
        origin=origin or declared.origins.get("ttl") or declared.origin,
        revision=picture.made.revision if picture.made else None,
        until=expires_at,
        remedy=f"to keep it: hivequeen extend {declared.name} 3d",
    )


def _roles(declared: Environment, picture: Picture, plan: EnvironmentPlan | None) -> Iterator[Statement]:
    seen, revision = picture.seen(declared.name), picture.made.revision if picture.made else None
    for name, role in sorted(declared.roles.items()):
        nodes = [node for node in seen.nodes if node.role == name] if seen else []
        tally = Counter(node.phase for node in nodes)
        others = [f"{tally[phase]} {phase}" for phase in Phase if phase is not Phase.READY and tally[phase]]
        drifted = sum(1 for node in nodes if plan is not None and node.instance_id in plan.drifted)
        more = [*others, *([f"{drifted} not as declared"] if drifted else [])]
        yield Statement(
            topic=Topic.ROLE,
            text=f"{name}: {nodes_of(role.count)} wanted, {tally[Phase.READY]} ready{''.join(f', {one}' for one in more)}",
            rule="count",
            origin=role.origin("count"),
            revision=revision,
            live=str(tally[Phase.READY]),
            wanted=str(role.count),
        )


def _conditions(name: EnvironmentName, picture: Picture, plan: EnvironmentPlan | None) -> Iterator[Statement]:
    """What was refused or failed, and what is odd. Where only the journal is read, all that was said last."""
    said_already = {waiting.message for waiting in plan.waiting} if plan else set[str]()
    said_already |= {str(one) for one in picture.memory.suspensions}
    stalls = {stall.reason for stall in plan.stalls} if plan else set[str]()
    topics = {
        **_ODD,
        **({} if stalls else {ConditionType.STALLED: Topic.STALLED}),
        **(_REMEMBERED if plan is None else {}),
    }
    if "NodeLost" in stalls:
        del topics[ConditionType.LOST]
    for one in picture.conditions:
        if one.environment == name and one.is_true and one.type in topics and one.message not in said_already:
            yield Statement(
                topic=topics[one.type], text=one.message, rule=one.reason, since=one.since, remedy=one.remedy
            )


def _approvals(name: EnvironmentName, picture: Picture) -> Iterator[Statement]:
    for one in picture.memory.approvals:
        mine = sorted(removal.target for removal in one.removals if removal.environment == name)
        if mine or not one.removals:
            yield Statement(
                topic=Topic.APPROVED,
                text=f"{one.actor} approved {one.digest[:12]}",
                rule="approval",
                actor=one.actor,
                since=one.at,
                until=one.expires_at,
                details=tuple(mine),
            )
