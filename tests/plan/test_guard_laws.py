"""What holds of every plan that the guards have passed. Each law yields the cases that it judged."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from reconciler.model.actions import ReplaceNode, TerminateNode
from reconciler.model.facts import TeardownBegan, TeardownItems
from reconciler.model.observed import Phase
from reconciler.model.plan import Blocked, EnvironmentPlan, Guard, Plan
from reconciler.model.rules import PRUNE_WINDOW, Rules
from reconciler.plan import Context, guard, plan
from reconciler.plan.guard import removals
from tests.plan.builders import FLEET, NOW, approval
from tests.plan.law import actions_of, both, law
from tests.plan.worlds import IN_GRACE, STRICT, random_worlds

SOMEBODY_ELSE = Blocked(guard=Guard.NOT_OWNER, message="not ours", remedy="")


@law(random_worlds(), least=50)
def test_guards_only_take_away_and_what_they_take_is_shown(world: Context) -> Iterator[object]:
    planned, guarded = both(world)
    for before, after in zip(planned.environments, guarded.environments, strict=True):
        held = {id(action) for hold in after.blocked for action in hold.actions}
        left = [id(action) for action in after.actions]
        assert left == [id(action) for action in before.actions if id(action) in set(left)]  # in their order
        assert not held & set(left)
        is_backing_off = (found := world.memory.backoffs.get(after.name)) is not None and found.until > NOW
        if not (is_backing_off and after.actions == () and not after.blocked):
            assert held | set(left) == {id(action) for action in before.actions}
        assert set(after.facts) <= set(before.facts)
        if held:
            yield after


@law(random_worlds(mostly=["steady"]), least=20)
def test_terminations_that_no_commit_asked_for_stay_within_the_limit(world: Context) -> Iterator[object]:
    _, guarded = both(world)
    counted = [t for t in world.memory.terminations if t.cause.is_counted and NOW - t.at < PRUNE_WINDOW]
    lately = Counter(t.environment for t in counted)
    asked = {t.instance_id for t in counted}
    for one in guarded.environments:
        live = [n for n in world.environment(one.name).nodes if n.phase != Phase.TERMINATING]
        going = {
            a.instance_id for a in one.actions if isinstance(a, TerminateNode | ReplaceNode) and a.cause.is_counted
        }
        if going - asked:
            limit = max(world.rules.nodes_least, world.rules.nodes_share * len(live))
            assert lately[one.name] + len(going - asked) <= limit
            yield one
        yield from (hold for hold in one.blocked if hold.guard == Guard.PRUNE_NODES)


@law(random_worlds(mostly=["ending", "steady"], rules=[STRICT]), least=40)
def test_teardowns_that_begin_stay_within_the_limit_and_none_begins_where_nothing_is_declared(
    world: Context,
) -> Iterator[object]:
    _, guarded = both(world)
    beginning = {one.name for one in guarded.environments if any(isinstance(f, TeardownBegan) for f in one.facts)}
    sweeping = {one.name for one in guarded.environments if not one.is_declared and one.actions}
    sweeping -= set(world.memory.environments)
    swept = {t.environment for t in world.memory.terminations if t.cause == "sweep" and NOW - t.at < PRUNE_WINDOW}
    lately = set(world.memory.teardowns) | (swept - world.desired.names)
    fleet = {*world.memory.environments, *world.desired.declared, *beginning, *sweeping}
    if beginning | sweeping:
        assert world.desired.declared or len(fleet) == 1
        limit = max(world.rules.environments_least, world.rules.environments_share * len(fleet))
        assert len(lately | beginning | sweeping) <= limit
        yield beginning
    for one in guarded.environments:
        yield from (h for h in one.blocked if h.guard in (Guard.PRUNE_ENVIRONMENTS, Guard.EMPTY_REVISION))


@law(random_worlds(), least=100)
def test_whoever_may_not_write_does_nothing(world: Context) -> Iterator[object]:
    observing = replace(world, rules=Rules(fleet=FLEET, is_observing=True))
    for made in (
        guard(plan(observing), observing),
        guard(plan(world), world, not_owner=SOMEBODY_ELSE),
    ):
        assert actions_of(made) == []
        assert not any(isinstance(fact, TeardownBegan) for one in made.environments for fact in one.facts)
        yield from (one for one in made.environments if one.blocked)


@law(random_worlds(mostly=["ending"], rules=IN_GRACE), least=80)
def test_within_the_grace_nothing_of_an_ending_environment_is_touched(world: Context) -> Iterator[object]:
    planned, guarded = both(world)
    for before, one in zip(planned.environments, guarded.environments, strict=True):
        known = world.memory.environments.get(one.name)
        if one.name in world.desired.names or known is None or known.teardown_began_at is not None:
            continue
        began_at = known.ending.at if known.ending is not None else NOW
        if began_at + world.rules.teardown_grace > NOW:
            assert one.actions == ()
            assert not any(isinstance(fact, TeardownBegan | TeardownItems) for fact in one.facts)
            yield from before.actions


@law(random_worlds(mostly=["ending"], rules=IN_GRACE), least=40)
def test_whatever_ends_by_itself_is_looked_at_when_it_does(world: Context) -> Iterator[object]:
    _, guarded = both(world)
    for one in guarded.environments:
        for hold in one.blocked:
            if hold.until is not None and hold.until > NOW:
                assert one.due_at is not None
                assert guarded.requeue_after_s is not None
                assert one.due_at <= hold.until
                assert guarded.requeue_after_s <= (one.due_at - NOW).total_seconds()
                yield hold


@law(random_worlds(), least=50)
def test_a_suspended_environment_sees_no_action(world: Context) -> Iterator[object]:
    suspended = {one.environment for one in world.memory.suspensions}
    suspended |= {one.name for one in world.desired.environments.values() if one.suspend}
    for before, after in zip(*(made.environments for made in both(world)), strict=True):
        if after.name in suspended:
            assert after.actions == ()
            yield from before.actions


@law(random_worlds(mostly=["ending"]), least=80)
def test_protected_environments_are_not_torn_down(world: Context) -> Iterator[object]:
    planned, guarded = both(world)
    approved = replace(world, memory=replace(world.memory, approvals=(approval(guarded),)))
    for context in (world, approved):
        for before, one in zip(planned.environments, guard(planned, context).environments, strict=True):
            here, known = context.environment(one.name), context.memory.environments.get(one.name)
            protected = any(node.instance.is_protected for node in here.nodes) or any(m.protected for m in here.owned)
            if not one.is_declared and (protected or (known is not None and known.is_protected)):
                assert one.actions == ()
                yield from before.actions


@law(random_worlds(), least=30)
def test_approving_all_that_is_held_leaves_nothing_that_approval_could_lift(world: Context) -> Iterator[object]:
    """One yes to each hold's own list, as `hivequeen approve` records it."""
    _, guarded = both(world)
    approvals = tuple(_approve(digest, guarded) for digest in _digests(guarded))
    after = replace(world, memory=replace(world.memory, approvals=approvals))
    assert _digests(both(after)[1]) == set()
    yield from approvals


def _digests(made: Plan) -> set[str]:
    return {hold.digest for one in made.environments for hold in one.blocked if hold.digest}


def _approve(digest: str, made: Plan) -> Any:
    def only(one: EnvironmentPlan) -> EnvironmentPlan:
        return replace(one, blocked=tuple(hold for hold in one.blocked if hold.digest == digest))

    return approval(replace(made, environments=tuple(only(one) for one in made.environments)))


@law(random_worlds(), least=40)
def test_a_hold_that_approval_lifts_lists_what_would_be_removed(world: Context) -> Iterator[object]:
    for one in both(world)[1].environments:
        for hold in one.blocked:
            assert hold.actions
            assert not hold.digest or removals(hold.actions) <= hold.removals
            assert bool(hold.digest) == bool(hold.removals)
            assert hold.message and hold.remedy
            yield from (hold.digest,) if hold.digest else ()
