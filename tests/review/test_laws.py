"""What holds of every review, whatever the world and the change."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.actions import removal
from reconciler.model.cost import Cost, monthly_cost
from reconciler.model.desired import Desired, Environment
from reconciler.model.names import RevisionId
from reconciler.model.policy import Policy
from reconciler.plan import Context
from reconciler.prices import load
from reconciler.report.views import plan_document
from reconciler.review import Review, Side, Snapshot, Verdict, assume, foresee, review, sources_of
from reconciler.review.codec import dump, parse
from reconciler.review.document import review_document
from reconciler.review.fields import Risk, leaves
from reconciler.review.markdown import review_markdown
from tests.plan.builders import NOW, RULES
from tests.plan.worlds import random_worlds

PRICES = load()
OTHER = RevisionId("6" * 40)


def price(environment: Environment) -> Cost:
    return monthly_cost(environment, PRICES, "us-east-1")


def snapshot_of(world: Context) -> Snapshot:
    return Snapshot(
        revision=world.revision,
        folder=world.folder,
        region="us-east-1",
        rules=world.rules,
        policy=Policy(),
        observed=world.observed,
        memory=world.memory,
        sources=sources_of(world.observed, world.desired),
    )


def reviewed(world: Context, head: Desired) -> Review:
    return review(Side(desired=world.desired), Side(desired=head), snapshot_of(world), price)


@st.composite
def changes(draw: st.DrawFn) -> tuple[Context, Desired]:
    """A world, and what somebody wants to merge."""
    world, other = draw(random_worlds(is_full=True)), draw(random_worlds(is_full=True))
    return world, replace(other.desired, revision=OTHER)


@given(random_worlds(is_full=True))
def test_what_is_merged_already_changes_nothing(world: Context) -> None:
    found = reviewed(world, replace(world.desired, revision=OTHER))
    assert found.environments == ()
    assert found.verdict is Verdict.NOTHING


@given(changes())
def test_the_fields_are_exactly_those_in_which_the_declarations_differ(change: tuple[Context, Desired]) -> None:
    world, head = change
    told = {one.name: one for one in reviewed(world, head).environments}
    for name in world.desired.environments.keys() & head.environments.keys():
        before, after = leaves(world.desired.environments[name]), leaves(head.environments[name])
        differing = {path for path in before.keys() | after.keys() if _value(before, path) != _value(after, path)}
        assert {field.path for field in told[name].fields} if name in told else set() == differing


def _value(declared: object, path: tuple[str, ...]) -> object:
    assert isinstance(declared, dict)
    return declared[path].value if path in declared else None


@given(changes())
def test_whatever_is_destroyed_is_a_removal_of_the_plan(change: tuple[Context, Desired]) -> None:
    world, head = change
    found = reviewed(world, head)
    plan = foresee(Side(desired=head), snapshot_of(world)).plan
    removed = {
        (one.name, gone.action, target)
        for one in plan.environments
        for action in (*one.actions, *(held for block in one.blocked for held in block.actions))
        if (gone := removal(action)) is not None
        for target in (gone.target, getattr(action, "node", ""))
    }
    for one in found.environments:
        for step in one.steps:
            if step.risk is Risk.DESTROY:
                assert {(one.name, step.action.value, target) for target in step.targets} <= removed


@given(changes())
def test_what_would_be_done_without_the_change_is_not_blamed_on_it(change: tuple[Context, Desired]) -> None:
    world, head = change
    before = foresee(Side(desired=world.desired), snapshot_of(world)).plan
    pending = {
        (one.name, action.name, action.node)
        for one in before.environments
        for action in (*one.actions, *(held for block in one.blocked for held in block.actions))
        if removal(action) is not None and hasattr(action, "node") and not getattr(action, "change", "")
    }
    for one in reviewed(world, head).environments:
        for step in one.steps:
            assert not pending & {(one.name, step.action, target) for target in step.targets}


@given(changes(), st.randoms(use_true_random=False))
def test_a_review_depends_on_nothing_but_what_it_is_of(
    change: tuple[Context, Desired], shuffling: st.DataObject
) -> None:
    world, head = change
    names = list(head.environments)
    shuffling.shuffle(names)  # type: ignore[attr-defined]  # it is a random.Random
    again = replace(head, environments={name: head.environments[name] for name in names})
    first, second = reviewed(world, head), reviewed(world, again)
    assert review_markdown(first) == review_markdown(second)
    assert review_document(first) == review_document(second)


@given(random_worlds())
def test_a_snapshot_tells_planning_what_the_world_did(world: Context) -> None:
    snapshot = snapshot_of(world)
    read = parse(dump(snapshot), file="world.json")
    before, after = (foresee(Side(desired=world.desired), one).plan for one in (snapshot, read))
    assert plan_document(after) == plan_document(before)
    assert dump(read) == dump(snapshot)


@given(random_worlds())
def test_where_a_revision_runs_as_declared_it_has_nothing_left_to_do(world: Context) -> None:
    base = world.desired
    assumed = assume(base, rules=RULES, policy=Policy(), folder="environments.d", region="us-east-1", at=NOW)
    plan = foresee(Side(desired=base), assumed).plan
    assert [one.name for one in plan.environments if one.actions or one.blocked or one.waiting] == []
