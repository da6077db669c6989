"""What no file declares any more: in order, each step waiting for the last to be seen done."""

import pytest

from reconciler.model.actions import TerminateNode
from reconciler.model.desired import Environment
from reconciler.model.digest import content_digest
from reconciler.model.facts import RoleRecovered, RoleSettled, TeardownBegan, TeardownEnded
from reconciler.model.memory import Cause
from reconciler.model.names import ChefName
from reconciler.model.observed import ChefRole, Node, Phase
from reconciler.plan import plan
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    MINUTE,
    NOW,
    OTHER_FLEET,
    REVISION,
    WEB,
    bare,
    broken,
    context,
    departed,
    desired,
    environment,
    generated,
    instance_id,
    intent,
    intents,
    known,
    launched,
    memory,
    node,
    observed,
    plan_one,
    planned,
    role,
    said,
    settled,
    there,
    trouble,
)

KNOWN = memory(environments=known(CHECKOUT))
BEGUN = memory(environments=known(CHECKOUT, began=NOW - MINUTE))
BEGAN = TeardownBegan(environment=CHECKOUT, revision=REVISION)
ENDED = TeardownEnded(environment=CHECKOUT)


def test_nodes_go_first() -> None:
    made = plan_one(None, there(nodes=[node(1), node(2, phase=Phase.PENDING)]), KNOWN)
    assert said(made.actions) == ["terminate_node 1", "terminate_node 2"]
    assert {action.cause for action in made.actions if isinstance(action, TerminateNode)} == {Cause.TEARDOWN}
    assert BEGAN in made.facts
    assert not made.is_declared


def test_chef_objects_wait_until_every_node_was_seen_gone() -> None:
    made = plan_one(None, there(nodes=[node(1, phase=Phase.TERMINATING)], departed=(departed(2),)), BEGUN)
    assert said(made.actions) == ["delete_chef_node 2", "delete_chef_client 2"]
    assert [waiting.message for waiting in made.waiting] == [f"web: {instance_id(1)} terminating"]


@pytest.mark.parametrize("home", [None, environment(roles=[role("worker")])], ids=["environment", "role"])
def test_a_node_of_which_nothing_is_left_is_awaited_until_it_is_forgotten(home: Environment | None) -> None:
    """Nothing else would bring the next pass soon, and the rest waits for it."""
    world = there(environment(), departed=(departed(1, has_chef_node=False, has_client=False),))
    made = plan_one(home, world, BEGUN)
    assert not any(name.startswith("delete") for name in said(made.actions))
    assert [waiting.message for waiting in made.waiting if waiting.role == WEB] == [
        f"web: {instance_id(1)} is gone, nothing of it is left in Chef"
    ]


def test_generated_objects_go_when_no_node_is_left() -> None:
    made = plan_one(None, there(), BEGUN)
    assert said(made.actions) == ["delete_chef_role checkout-web", "delete_chef_environment checkout"]


def test_it_has_ended_when_nothing_of_it_is_left() -> None:
    made = plan_one(None, bare(CHECKOUT), BEGUN)
    assert (made.facts, made.is_converged) == ((ENDED,), True)


def test_an_environment_that_was_never_there_ends_at_once() -> None:
    assert plan_one(None, bare(CHECKOUT), KNOWN).facts == (ENDED,)


def test_foreign_objects_of_its_names_stay_and_hold_nothing_up() -> None:
    foreign = generated(environment(), fleet=OTHER_FLEET)
    made = plan_one(None, bare(CHECKOUT, **foreign), BEGUN)
    assert (made.actions, made.facts) == ((), (ENDED,))


def test_a_role_that_only_bears_our_mark_is_not_deleted() -> None:
    ours = generated(environment())["chef_roles"][ChefName("checkout-web")]
    copy = ChefRole(name=ChefName("my-copy"), run_list=(), default_attributes=ours.default_attributes)
    made = plan_one(None, bare(CHECKOUT, chef_roles={copy.name: copy}), BEGUN)
    assert made.actions == ()


def test_a_teardown_that_has_nothing_to_do_yet_has_not_begun() -> None:
    """Else it would be past the limits when it has."""
    for world, remembered in (
        (there(nodes=[node(1, phase=Phase.TERMINATING)]), KNOWN),
        (there(nodes=[node(1, phase=Phase.LOST)]), KNOWN),
        (there(), memory(environments=known(CHECKOUT), intents=intents(intent()))),
    ):
        made = plan_one(None, world, remembered)
        assert (made.actions, BEGAN in made.facts) == ((), False)


def test_a_teardown_begins_once() -> None:
    assert BEGAN not in plan_one(None, there(nodes=[node(1)]), BEGUN).facts


def test_a_lost_node_holds_up_the_end_and_asks_a_person() -> None:
    made = plan_one(None, there(nodes=[node(1, phase=Phase.LOST)]), BEGUN)
    assert made.actions == ()
    assert [stall.reason for stall in made.stalls] == ["NodeLost"]


def test_a_scoped_look_begins_no_teardown() -> None:
    seen = context(desired(), observed(there(nodes=[node(1)]), is_full=False), KNOWN)
    assert plan(seen).environments == ()


def test_a_teardown_that_has_begun_goes_on_in_any_pass() -> None:
    seen = context(desired(), observed(there(nodes=[node(1)]), is_full=False), BEGUN)
    assert said(planned(plan(seen)).actions) == ["terminate_node 1"]


def test_an_environment_that_only_the_journal_knows_is_looked_at_in_full_passes() -> None:
    seen = context(desired(), observed(), KNOWN)
    assert planned(plan(seen)).facts == (ENDED,)


# --- swept: no commit ever asked for it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stray", "goes"),
    [
        pytest.param(node(1), False, id="seen for the first time"),
        pytest.param(node(1, odd_since=NOW), False, id="first sighting is now"),
        pytest.param(node(1, odd_since=NOW - 10 * MINUTE + MINUTE / 60), False, id="not old enough"),
        pytest.param(node(1, odd_since=NOW - 10 * MINUTE), True, id="two sightings and the minimum age"),
    ],
)
def test_an_environment_that_nobody_declared_is_swept_with_patience(stray: Node, goes: bool) -> None:  # noqa: FBT001  a parameter
    made = plan_one(None, bare(CHECKOUT, [stray]))
    assert said(made.actions) == (["terminate_node 1"] if goes else [])
    assert bool(made.waiting) != goes
    assert {action.cause for action in made.actions if isinstance(action, TerminateNode)} <= {Cause.SWEEP}
    assert made.facts == ()


def test_what_is_left_of_an_unknown_environment_leaves_no_trace() -> None:
    made = plan_one(None, bare(CHECKOUT))
    assert (made.is_converged, made.facts) == (True, ())


# --- roles ----------------------------------------------------------------------------------------------------------

BOTH = environment(roles=[role(), role("worker", 2)])
WORKER = role("worker", 2)
SETTLED = memory(settled=settled((CHECKOUT, WEB, 2), (CHECKOUT, "worker", 2)))


def workers(*phases: Phase, **changes: object) -> list[Node]:
    return [node(n, of=BOTH, role=WORKER, phase=phase, **changes) for n, phase in enumerate(phases, start=11)]  # type: ignore[arg-type]  # passed on


WEBS = [node(1), node(2)]


def test_a_removed_roles_nodes_go_then_its_chef_role() -> None:
    steps = [
        (there(BOTH, [*WEBS, *workers(Phase.READY, Phase.READY)]), ["terminate_node 11", "terminate_node 12"]),
        (there(BOTH, [*WEBS, *workers(Phase.TERMINATING)]), []),
        (there(BOTH, WEBS, departed=(departed(11, role="worker"),)), ["delete_chef_node 11", "delete_chef_client 11"]),
        (there(BOTH, WEBS), ["delete_chef_role checkout-worker"]),
        (there(environment(), WEBS), []),
    ]
    for world, actions in steps:
        made = plan_one(environment(), world, SETTLED)
        assert said(made.actions) == actions
        causes = {action.cause for action in made.actions if isinstance(action, TerminateNode)}
        assert causes <= {Cause.TEARDOWN}
    assert RoleSettled(environment=CHECKOUT, role=WORKER.name, count=0) in made.facts


def test_a_removed_roles_troubles_are_forgotten_with_it() -> None:
    halted = trouble("a", content=content_digest(BOTH, WORKER), is_halted=True, role=WORKER.name)
    made = plan_one(environment(), there(nodes=WEBS), memory(troubles={(CHECKOUT, WORKER.name): halted}))
    assert RoleRecovered(environment=CHECKOUT, role=WORKER.name) in made.facts


@pytest.mark.parametrize(
    ("remembered", "nodes", "cause"),
    [
        pytest.param(SETTLED, workers(Phase.READY), Cause.TEARDOWN, id="it held its count once"),
        pytest.param(memory(), workers(Phase.FAILED), Cause.TEARDOWN, id="its nodes all failed, but we launched them"),
        pytest.param(
            memory(troubles={(CHECKOUT, WORKER.name): trouble(content="v1:", role=WORKER.name)}),
            workers(Phase.READY, is_known=False),
            Cause.TEARDOWN,
            id="it had troubles",
        ),
        pytest.param(
            memory(intents=intents(intent(count=1, role=WORKER))),
            workers(Phase.READY, is_known=False),
            Cause.TEARDOWN,
            id="one of its launches is under way",
        ),
        pytest.param(
            memory(), workers(Phase.READY, is_known=False, odd_since=NOW - HOUR), Cause.SWEEP, id="nobody ever asked"
        ),
        pytest.param(
            memory(settled=settled((CHECKOUT, "worker", 0))),
            workers(Phase.READY, is_known=False, odd_since=NOW - HOUR),
            Cause.SWEEP,
            id="it was removed long ago",
        ),
    ],
)
def test_a_role_that_a_commit_removed_is_told_from_one_that_nobody_asked_for(
    remembered: object, nodes: list[Node], cause: Cause
) -> None:
    made = plan_one(environment(), there(nodes=[*WEBS, *nodes]), remembered)  # type: ignore[arg-type]  # a parameter
    assert {action.cause for action in made.actions if isinstance(action, TerminateNode)} == {cause}


def test_nothing_is_swept_in_a_scoped_look() -> None:
    stray = workers(Phase.READY, is_known=False, odd_since=NOW - HOUR)
    world = there(nodes=[*WEBS, *stray])
    assert said(plan_one(environment(), world, is_full=True).actions) == ["terminate_node 11"]
    assert plan_one(environment(), world, is_full=False).actions == ()


# --- frozen ---------------------------------------------------------------------------------------------------------


def test_a_broken_file_changes_and_removes_nothing_and_says_where() -> None:
    seen = context(desired(frozen=[broken()]), observed(there(nodes=[node(1, phase=Phase.FAILED)])), KNOWN)
    made = planned(plan(seen))
    assert (made.actions, made.facts, made.is_frozen) == ((), (), True)
    assert [(stall.reason, stall.message, stall.remedy) for stall in made.stalls] == [
        ("BadFile", 'environments.d/checkout.yml:7: unknown key "run_lsit"', 'did you mean "run_list"?')
    ]


def test_a_file_that_merely_bears_a_name_is_of_interest_only_while_something_of_it_exists() -> None:
    trace = desired(frozen=[broken(is_trace=True)])
    assert plan(context(trace, observed())).environments == ()
    assert planned(plan(context(trace, observed(there(nodes=[node(1)]))))).is_frozen
    assert planned(plan(context(trace, observed(), KNOWN))).is_frozen


def test_a_swept_environments_launch_that_is_settled_does_not_hold_it_up() -> None:
    made = plan_one(None, there(), memory(environments=known(CHECKOUT), intents=intents(launched("hq-1"))))
    assert said(made.actions) == ["delete_chef_role checkout-web", "delete_chef_environment checkout"]
