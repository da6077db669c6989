"""What merging would do: two revisions foreseen against the same world, and what the second adds over the first.

What is pending already is not blamed on the change: an action that the base asks for, too, is none of the review's.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Final

from reconciler.model.actions import Action
from reconciler.model.cost import Cost
from reconciler.model.desired import Desired, Environment
from reconciler.model.findings import Finding, new_findings
from reconciler.model.names import EnvironmentName, InstanceId, RevisionId
from reconciler.model.plan import EnvironmentPlan, Guard, Stall
from reconciler.model.rules import Rules
from reconciler.plan.drift import Drift
from reconciler.review.expiry import KEYS, Expiry, expiry
from reconciler.review.fields import FieldChange, Risk, differing, leaves
from reconciler.review.foresee import Foreseen, Side, foresee
from reconciler.review.snapshot import Snapshot, Stop
from reconciler.review.steps import Added, Step, added, held, steps_of, steps_of_change

# They say when, or that nobody acts at all; they keep nothing from happening once it is merged and looked at.
_TELLING_ONLY: Final = (Guard.GRACE, Guard.OBSERVE_MODE)

Price = Callable[[Environment], Cost]


class Kind(StrEnum):
    """What becomes of an environment's file."""

    CREATED = "created"
    CHANGED = "changed"  # what it declares, by itself or by what it extends
    DELETED = "deleted"
    FROZEN = "frozen"  # it cannot be read any more: what runs stays as it is
    MENDED = "mended"  # it can be read again; what it declared before is not known
    AFFECTED = "affected"  # it declares what it did, and something happens to it all the same


class Verdict(IntEnum):
    """The value is the exit code of `hivequeen plan --diff`."""

    NOTHING = 0
    FAILED = 1  # something new is wrong, or somebody would have to act
    CHANGES = 2
    HELD = 3  # a guard would keep something from happening


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A guard that would keep steps of the change from happening."""

    guard: Guard
    message: str
    remedy: str
    until: datetime | None
    steps: tuple[Step, ...]

    @property
    def holds(self) -> bool:
        return self.guard not in _TELLING_ONLY

    @property
    def is_certain(self) -> bool:
        return all(one.is_certain for one in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentReview:
    name: EnvironmentName
    kind: Kind
    file: str
    fields: tuple[FieldChange, ...]  # sorted by key
    steps: tuple[Step, ...]  # in the order in which they would be carried out, held ones included
    holds: tuple[Hold, ...]
    stalls: tuple[Stall, ...]  # what would need a person
    expiry: Expiry
    unresolved: frozenset[str]  # moving images that the daemon looks up once it is merged: nobody knows what they name
    before: Cost
    after: Cost

    @property
    def has_details(self) -> bool:
        return bool(self.fields or self.steps or self.holds or self.stalls or self.expiry.is_moved)

    @property
    def is_held(self) -> bool:
        return any(one.holds for one in self.holds)

    @property
    def risk(self) -> Risk:
        return max((one.risk for one in self._parts), default=Risk.IN_PLACE)

    @property
    def is_certain(self) -> bool:
        """Whether it comes to that risk whatever a moving image names."""
        worst = [one for one in self._parts if one.risk is self.risk]
        return not worst or any(one.is_certain for one in worst)

    @property
    def _parts(self) -> tuple[FieldChange | Step, ...]:
        return (*self.fields, *self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    base: RevisionId
    head: RevisionId
    at: datetime  # when the world looked so
    is_assumed: bool  # nobody looked: the base is taken to run exactly as declared
    environments: tuple[EnvironmentReview, ...]  # that the change does something to, sorted by name
    findings: tuple[tuple[Finding, bool], ...]  # of the head, sorted; whether the base lacks it, or has it less badly
    stops: tuple[Stop, ...]
    before: Cost  # of all environments
    after: Cost
    reasons: Mapping[EnvironmentName, tuple[Finding, ...]]  # why the head freezes an environment
    subject: EnvironmentName | None = None  # the only environment that is looked at; None: all

    @property
    def unresolved(self) -> tuple[str, ...]:
        """Moving images of which nobody knows what they will name, sorted."""
        return tuple(sorted({image for one in self.environments for image in one.unresolved}))

    @property
    def verdict(self) -> Verdict:
        """Findings that the base has, too, are not the change's."""
        if any(is_new for _, is_new in self.findings) or any(one.stalls for one in self.environments):
            return Verdict.FAILED
        stops_all = any(one.guard not in _TELLING_ONLY for one in self.stops)
        if any(one.is_held or (stops_all and one.steps) for one in self.environments):
            return Verdict.HELD
        return Verdict.CHANGES if self.environments else Verdict.NOTHING

    def only(self, name: EnvironmentName) -> "Review":
        """As far as one environment is concerned: with what its own file and the templates have wrong."""
        own = self.reasons.get(name, ())
        return replace(
            self,
            subject=name,
            environments=tuple(one for one in self.environments if one.name == name),
            findings=tuple(
                (one, is_new)
                for one, is_new in self.findings
                if one in own or _stem(one.origin.file) == name or _stem(one.origin.file).startswith("_")
            ),
        )


def review(base: Side, head: Side, snapshot: Snapshot, price: Price) -> Review:
    """
    Args:
        price: what an environment costs in a month.
    """
    old, new = foresee(base, snapshot), foresee(head, snapshot)
    plans = {one.name: one for one in old.plan.environments}, {one.name: one for one in new.plan.environments}
    names = sorted(old.desired.names | new.desired.names | plans[1].keys())
    reviews = [
        _review_one(name, old, new, (plans[0].get(name), plans[1].get(name)), price=price, rules=snapshot.rules)
        for name in names
    ]
    worse = new_findings(head.desired.findings, base.desired.findings)
    return Review(
        base=base.desired.revision,
        head=head.desired.revision,
        at=snapshot.at,
        is_assumed=snapshot.is_assumed,
        environments=tuple(one for one in reviews if one is not None),
        findings=tuple((one, one in worse) for one in head.desired.findings),
        stops=snapshot.stops,
        before=_total(old, old, price),
        after=_total(new, old, price),
        reasons={name: one.findings for name, one in new.desired.frozen.items()},
    )


def _review_one(
    name: EnvironmentName,
    old: Foreseen,
    new: Foreseen,
    plans: tuple[EnvironmentPlan | None, EnvironmentPlan | None],
    *,
    price: Price,
    rules: Rules,
) -> EnvironmentReview | None:
    """None: the change does nothing to it."""
    kind = _kind(name, old.desired, new.desired)
    before, after = old.desired.environments.get(name), new.desired.environments.get(name)
    planned, plan = plans
    actions = added(_all_actions(planned), _all_actions(plan))
    drifting = _new_drifts(name, old, new)
    here = new.observed.environments.get(name)
    steps = steps_of_change(actions, drifting, here.nodes if here else (), before, after)
    is_comparable = kind not in (Kind.FROZEN, Kind.MENDED)
    ending = expiry(name, old, new, rules)
    fields = tuple(_field_changes(before, after, steps, ending)) if is_comparable else ()
    holds = tuple(_holds(plan, actions, drifting, rules.teardown_grace))
    known = {(one.reason, one.message) for one in planned.stalls} if planned else set()
    # Why it is frozen is told by findings.
    stalls = (
        tuple(one for one in plan.stalls if (one.reason, one.message) not in known)
        if plan and not plan.is_frozen
        else ()
    )
    # A history that could not be read for the base alone must not look like an end that a commit brought.
    is_renewed = ending.is_moved and ending.before is not None
    if kind is Kind.AFFECTED and not (steps or holds or stalls or fields or is_renewed):
        return None
    declared = after or before
    return EnvironmentReview(
        name=name,
        kind=Kind.CHANGED if kind is Kind.AFFECTED and fields else kind,
        file=declared.origin.file if declared else _file(name, old.desired, new.desired),
        fields=fields,
        steps=steps,
        holds=holds,
        stalls=stalls,
        expiry=ending,
        unresolved=new.unresolved.get(name, frozenset()),
        before=_price(name, old, price),
        after=_price_after(name, old, new, price),
    )


# --- what becomes of the file ---------------------------------------------------------------------------------------


def _kind(name: EnvironmentName, old: Desired, new: Desired) -> Kind:
    was_declared, is_declared = name in old.environments, name in new.environments
    was_frozen, is_frozen = name in old.frozen, name in new.frozen
    match (was_declared, was_frozen, is_declared, is_frozen):
        case (_, False, _, True):
            return Kind.FROZEN if was_declared or not new.frozen[name].is_trace else Kind.AFFECTED
        case (_, True, True, _):
            return Kind.MENDED if not old.frozen[name].is_trace else Kind.CREATED
        case (False, False, True, _):
            return Kind.CREATED
        case (True, _, False, False):
            return Kind.DELETED
        case (_, True, False, False):
            return Kind.DELETED if not old.frozen[name].is_trace else Kind.AFFECTED
        case _:
            return Kind.AFFECTED


def _stem(file: str) -> str:
    return file.rpartition("/")[2].partition(".")[0]


def _file(name: EnvironmentName, old: Desired, new: Desired) -> str:
    """Of an environment whose file cannot be read, or that no file declares."""
    for desired in (new, old):
        if name in desired.frozen:
            return desired.frozen[name].findings[0].origin.file
    return ""


def _field_changes(
    before: Environment | None, after: Environment | None, steps: Sequence[Step], ending: Expiry
) -> Iterator[FieldChange]:
    for path, old, new in differing(leaves(before), leaves(after)):
        change = FieldChange(path=path, old=old, new=new, risk=Risk.IN_PLACE)
        risk = _risk(change, before, after, steps, ending)
        is_certain = risk is not Risk.REPLACE or any(
            step.role == change.role and path[2] in step.replaces for step in steps
        )
        yield replace(change, risk=risk, is_certain=is_certain)


def _risk(
    change: FieldChange,
    before: Environment | None,
    after: Environment | None,
    steps: Sequence[Step],
    ending: Expiry,
) -> Risk:
    """What the field does to what runs: it is the steps that tell, for nothing goes that is not there."""
    role = change.role
    of_end = Risk.DESTROY if ending.ends_what_runs and change.path[0] in KEYS else Risk.IN_PLACE
    if ending.is_over:  # nothing else matters then
        return of_end
    if before is None or (role is not None and role not in before.roles):
        return Risk.CREATE
    mine = [step for step in steps if role is None or step.role == role]
    destroys = Risk.DESTROY if any(step.risk is Risk.DESTROY for step in mine) else Risk.IN_PLACE
    if after is None or (role is not None and role not in after.roles):
        return destroys
    if role is None:
        return of_end
    if change.path[2] == "count":
        return Risk.CREATE if after.roles[role].count > before.roles[role].count else destroys
    causes = {key for step in mine for key in step.replaces | step.may_replace}
    return Risk.REPLACE if change.path[2] in causes else Risk.IN_PLACE


# --- what happens ---------------------------------------------------------------------------------------------------


def _all_actions(plan: EnvironmentPlan | None) -> tuple[Action, ...]:
    """Those that would be carried out, and those that a guard holds; each once."""
    if plan is None:
        return ()
    found = {id(action): action for one in plan.blocked for action in one.actions}
    return (*plan.actions, *found.values())


def _new_drifts(name: EnvironmentName, old: Foreseen, new: Foreseen) -> Mapping[InstanceId, tuple[Drift, ...]]:
    """Of each node those that the change alone brings."""
    known = old.drifts(name)
    found = {
        instance: tuple(one for one in drifts if (one.field, one.new) not in _told(known.get(instance, ())))
        for instance, drifts in new.drifts(name).items()
    }
    return {instance: drifts for instance, drifts in found.items() if drifts}


def _told(drifts: Iterable[Drift]) -> set[tuple[str, str]]:
    return {(one.field, one.new) for one in drifts}


def _holds(
    plan: EnvironmentPlan | None,
    actions: Sequence[Added],
    drifts: Mapping[InstanceId, tuple[Drift, ...]],
    grace: timedelta,
) -> Iterator[Hold]:
    for one in plan.blocked if plan else ():
        steps = steps_of(held(actions, one.actions), drifts)
        if not steps:
            continue
        if one.guard is Guard.GRACE:  # it begins when the daemon sees the merge, whenever that is
            yield Hold(
                guard=one.guard,
                message=f"nothing of it goes within {_minutes(grace)} of the merge",
                remedy="until then, a commit that restores the file keeps everything",
                until=None,
                steps=steps,
            )
        else:
            yield Hold(guard=one.guard, message=one.message, remedy=one.remedy, until=one.until, steps=steps)


def _minutes(span: timedelta) -> str:
    minutes = span / timedelta(minutes=1)
    return f"{minutes:g} minute{'' if minutes == 1 else 's'}"


# --- what it costs --------------------------------------------------------------------------------------------------


def _price(name: EnvironmentName, seen: Foreseen, price: Price) -> Cost:
    environment = seen.desired.environments.get(name)
    return Cost() if environment is None or seen.is_over(name) else price(environment)


def _price_after(name: EnvironmentName, old: Foreseen, new: Foreseen, price: Price) -> Cost:
    """What is frozen stays as it is, and costs what it did."""
    return _price(name, old if name in new.desired.frozen else new, price)


def _total(seen: Foreseen, old: Foreseen, price: Price) -> Cost:
    total = Cost()
    for name in sorted(seen.desired.names):
        total += _price_after(name, old, seen, price)
    return total
