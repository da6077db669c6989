"""How far an environment is on its way out, and what three conditions say of that. Pure.

    stage           Ending    Ready (false)   Expired, where its lifetime is over
    GRACE           true      Ending          true
    HELD, WAITING   true      Ending          true
    TEARING_DOWN    true      TearingDown     true
    GONE            false     Expired         true

GONE is only told of what expired, for as long as its file is there: one whose file is gone has no conditions then.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.model.desired import Environment
from reconciler.model.facts import Fact, TeardownBegan, TeardownItems
from reconciler.model.memory import Ending, EndingCause, Item, KnownEnvironment
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.observed import ObservedEnvironment
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard
from reconciler.report.said import Said
from reconciler.report.sentences import nodes_of, why_it_ends


class Stage(StrEnum):
    """The value is the reason of the condition Ending, where that is true."""

    GRACE = "Grace"  # nothing is touched, and a commit keeps everything
    HELD = "Held"  # the grace is over, and a guard keeps everything
    WAITING = "Waiting"  # the grace is over, and nothing has been removed yet
    TEARING_DOWN = "TearingDown"
    GONE = "Gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """An environment that was declared and is to go, goes or went."""

    stage: Stage
    has_expired: bool  # its lifetime is over; else its file is gone
    nodes_left: int
    why: str
    how_far: str
    remedy: str

    def ready(self) -> Said:
        left = nodes_of(self.nodes_left) if self.nodes_left else "its Chef objects"
        match self.stage:
            case Stage.GRACE | Stage.HELD | Stage.WAITING:
                return Said("Ending", f"it is to go; {left} left as they are", is_true=False)
            case Stage.TEARING_DOWN:
                because = "its lifetime is over" if self.has_expired else "not declared any more"
                return Said("TearingDown", f"{because}; {left} left", is_true=False)
            case Stage.GONE:
                return Said("Expired", "nothing of it is left", is_true=False)

    def ending(self) -> Said | None:
        return None if self.stage is Stage.GONE else Said(self.stage.value, self.how_far, self.remedy)

    def expired(self) -> Said | None:
        if not self.has_expired:
            return None
        return Said("LifetimeOver", self.how_far if self.stage is Stage.GONE else self.why, self.remedy)


def leaving(
    plan: EnvironmentPlan,
    *,
    declared: Environment | None,
    observed: ObservedEnvironment | None,
    known: KnownEnvironment | None,
    at: datetime,
) -> Leaving | None:
    """None: it stays, or nobody ever declared it.

    Args:
        declared: by the revision that applies. One that is not to run all the same has expired.
        known: as the journal remembered it before this pass.
        at: when this pass looked.
    """
    if plan.is_declared:
        return None
    ending = plan.ending or (known.ending if known is not None else None) or _noted_next(declared, at)
    if ending is None:
        return None
    stage = _stage(plan, observed, known)
    why = why_it_ends(ending)
    way_back = _way_back(plan.name, ending)
    match stage:
        case Stage.GRACE:
            (grace,) = _graces(plan)
            how_far, remedy = grace.message, grace.remedy
        case Stage.HELD | Stage.WAITING:
            how_far, remedy = f"{why}; nothing is removed yet", f"to keep it, {way_back}"
        case Stage.TEARING_DOWN:
            progress = _progress(items_after(ending, plan.facts, at), known)
            how_far, remedy = f"{why}; it is being torn down{progress}", f"{way_back}: it comes back, with new nodes"
        case Stage.GONE:
            how_far, remedy = f"{why}; nothing of it is left", f"{way_back}: it comes back, with new nodes"
    return Leaving(
        stage=stage,
        has_expired=declared is not None or ending.cause is EndingCause.EXPIRED,
        nodes_left=len(observed.nodes) if observed is not None else 0,
        why=ending.why,
        how_far=how_far,
        remedy=remedy,
    )


def _noted_next(declared: Environment | None, at: datetime) -> Ending | None:
    """Of one whose date had passed when its commit came: the journal has its ending only after the next pass."""
    if declared is None:
        return None
    return Ending(cause=EndingCause.EXPIRED, at=at, revision=RevisionId(""), author="", file=declared.origin.file)


def _stage(plan: EnvironmentPlan, observed: ObservedEnvironment | None, known: KnownEnvironment | None) -> Stage:
    if _graces(plan):
        return Stage.GRACE
    if _is_gone(plan, observed, known):
        return Stage.GONE
    began_at = known.teardown_began_at if known is not None else None
    if began_at is not None or any(isinstance(fact, TeardownBegan) for fact in plan.facts):
        return Stage.TEARING_DOWN
    return Stage.HELD if plan.blocked else Stage.WAITING


def _graces(plan: EnvironmentPlan) -> Sequence[Blocked]:
    return [one for one in plan.blocked if one.guard is Guard.GRACE][:1]


def _is_gone(plan: EnvironmentPlan, observed: ObservedEnvironment | None, known: KnownEnvironment | None) -> bool:
    if observed is not None and not observed.is_empty:
        return False
    return plan.is_converged or (known is not None and is_over(known))


def is_over(known: KnownEnvironment) -> bool:
    """Whether its teardown ended in an earlier pass: only that forgets when it began, and keeps the receipt."""
    return known.ending is not None and bool(known.ending.items) and known.teardown_began_at is None


def _progress(items: Mapping[Item, datetime | None], known: KnownEnvironment | None) -> str:
    """` since 12:00 UTC: 1 of 2 objects are seen gone`."""
    began_at = known.teardown_began_at if known is not None else None
    since = f" since {began_at:%H:%M} UTC" if began_at is not None else ""
    gone = sum(1 for seen_gone_at in items.values() if seen_gone_at is not None)
    return f"{since}: {gone} of {len(items)} objects are seen gone" if items else since


def items_after(ending: Ending, facts: Iterable[Fact], at: datetime) -> Mapping[Item, datetime | None]:
    """The receipt as the journal has it after a pass that looked then and concluded these facts about its environment."""
    items = dict(ending.items)
    for fact in facts:
        if isinstance(fact, TeardownItems):
            for item in fact.found | fact.gone:
                items.setdefault(item, None)
            for item in fact.gone:
                items[item] = items[item] or at
    return items


def _way_back(name: EnvironmentName, ending: Ending) -> str:
    if ending.cause is EndingCause.EXPIRED:
        return f"hivequeen extend {name} 3d, or commit a longer ttl or a later expires in {ending.file}"
    return f"git revert {ending.revision[:8]} and push" if ending.author else f"restore {ending.file} and push"
