"""How many nodes a role gets and loses, and which."""

from dataclasses import replace

import pytest

from reconciler.model import tags
from reconciler.model.actions import EnsureChefRole, LaunchNodes, TagNode, TerminateNode
from reconciler.model.facts import RoleSettled
from reconciler.model.memory import Cause
from reconciler.model.observed import Node, Phase
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    IMAGE,
    MINUTE,
    NEW_IMAGE,
    NOW,
    REVISION,
    WEB,
    bare,
    environment,
    intent,
    intents,
    memory,
    node,
    plan_one,
    role,
    said,
    settled,
    there,
)


@pytest.mark.parametrize("live", range(4))
def test_a_role_gets_what_it_lacks(live: int) -> None:
    home = environment(roles=[role(count=3)])
    made = plan_one(home, there(home, [node(number) for number in range(1, live + 1)]))
    assert said(made.actions) == ([f"launch_nodes {3 - live}"] if live < 3 else [])


def test_a_new_environment_gets_its_chef_objects_before_its_nodes() -> None:
    home = environment(roles=[role("web"), role("worker", 1)])
    assert said(plan_one(home, bare(CHECKOUT)).actions) == [
        "ensure_chef_environment checkout",
        "ensure_chef_role checkout-web",
        "ensure_chef_role checkout-worker",
        "launch_nodes 2",
        "launch_nodes 1",
    ]


def test_a_launch_says_all_that_ec2_needs() -> None:
    (launch,) = [
        action for action in plan_one(environment(), bare(CHECKOUT)).actions if isinstance(action, LaunchNodes)
    ]
    assert launch.image == IMAGE
    assert launch.declared == role()
    assert launch.tags[tags.REVISION] == REVISION
    assert tags.INTENT not in launch.tags  # each batch has its own
    assert [(batch.subnet, batch.instance_type, batch.count) for batch in launch.batches] == [
        ("subnet-a", "m7i.large", 1),
        ("subnet-b", "m7i.large", 1),
    ]


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RUNNING, Phase.REGISTERED, Phase.READY, Phase.LOST])
def test_a_node_that_may_serve_or_come_to_serve_fills_its_place(phase: Phase) -> None:
    assert plan_one(environment(), there(nodes=[node(1), node(2, phase=phase)])).actions == ()


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.TERMINATING])
def test_a_node_that_will_not_serve_fills_no_place(phase: Phase) -> None:
    made = plan_one(environment(), there(nodes=[node(1), node(2, phase=phase)]))
    assert "launch_nodes 1" in said(made.actions)


def test_what_frees_a_place_goes_before_what_fills_it() -> None:
    made = plan_one(environment(), there(nodes=[node(1), node(2, phase=Phase.FAILED)]))
    assert said(made.actions) == ["terminate_node 2", "launch_nodes 1"]


# --- too many -------------------------------------------------------------------------------------------------------

FOUR = settled((CHECKOUT, WEB, 4))


@pytest.mark.parametrize(
    ("nodes", "gone"),
    [
        pytest.param([node(1), node(2), node(3), node(4)], [1, 2], id="the oldest"),
        pytest.param(
            [node(1), node(2), node(3), node(4, phase=Phase.RUNNING)], [4, 1], id="who never served, then the oldest"
        ),
        pytest.param(
            [node(1), node(2), node(3, phase=Phase.REGISTERED), node(4, phase=Phase.PENDING)],
            [3, 4],
            id="of those who never served, the older first",
        ),
        pytest.param(
            [node(1), node(2), node(3, phase=Phase.STOPPED, odd_since=NOW), node(4)],
            [3, 1],
            id="a stopped one before those that serve",
        ),
        pytest.param(
            [node(1), node(2, phase=Phase.LOST), node(3), node(4)],
            [1],
            id="never one that is out of sight, nor another for its sake",
        ),
    ],
)
def test_scaling_down_takes(nodes: list[Node], gone: list[int]) -> None:
    made = plan_one(environment(), there(nodes=nodes), memory(settled=FOUR))
    assert said(made.actions) == [f"terminate_node {number}" for number in gone]
    assert {action.cause for action in made.actions if isinstance(action, TerminateNode)} == {Cause.SCALE_DOWN}


def test_who_never_served_goes_before_one_that_serves_and_is_outdated() -> None:
    home = environment(roles=[role(count=1)])
    world = there(home, [node(1, instance={"instance_type": "old"}), node(2), node(3, phase=Phase.RUNNING)])
    made = plan_one(home, world, memory(settled=settled((CHECKOUT, WEB, 3))))
    assert said(made.actions) == ["terminate_node 3", "terminate_node 1"]


def test_a_node_that_ec2_does_not_show_yet_is_charged_first_and_awaited() -> None:
    """Else a node that serves would go in place of one that is only too young to be listed."""
    home = environment(roles=[role(count=1)])
    nodes = [node(1), node(2, phase=Phase.PENDING, is_unseen=True, age=MINUTE)]
    made = plan_one(home, there(home, nodes), memory(settled=settled((CHECKOUT, WEB, 2))))
    assert made.actions == ()
    assert any("one too many" in waiting.message for waiting in made.waiting)


@pytest.mark.parametrize(
    ("had_settled", "nodes", "causes"),
    [
        pytest.param(2, [node(1), node(2), node(3)], [Cause.SURPLUS], id="no commit lowered it"),
        pytest.param(3, [node(1), node(2), node(3)], [Cause.SCALE_DOWN], id="a commit lowered it"),
        pytest.param(
            3, [node(1), node(2), node(3), node(4)], [Cause.SCALE_DOWN, Cause.SURPLUS], id="one by commit, one not"
        ),
        pytest.param(0, [node(1), node(2), node(3)], [Cause.SURPLUS], id="nothing is known of the past"),
        pytest.param(
            2, [node(1), node(2), node(3, phase=Phase.RUNNING)], [Cause.NEVER_READY], id="surplus that never served"
        ),
        pytest.param(1, [node(1), node(2), node(3)], [Cause.SURPLUS], id="the count was raised and is overshot"),
    ],
)
def test_why_an_excess_node_goes_depends_on_what_a_commit_asked_for(
    had_settled: int, nodes: list[Node], causes: list[Cause]
) -> None:
    made = plan_one(environment(), there(nodes=nodes), memory(settled=settled((CHECKOUT, WEB, had_settled))))
    assert [action.cause for action in made.actions if isinstance(action, TerminateNode)] == causes


@pytest.mark.parametrize(
    ("had_settled", "live", "noted"),
    [
        pytest.param(None, 2, 2, id="reached for the first time"),
        pytest.param(2, 2, None, id="known already"),
        pytest.param(None, 1, 1, id="half way up: a commit asked for these"),
        pytest.param(None, 0, None, id="nothing there yet"),
        pytest.param(4, 2, 2, id="scaled down"),
        pytest.param(4, 3, None, id="not down yet"),
        pytest.param(4, 5, None, id="not down yet, and one too many"),
        pytest.param(2, 1, None, id="one died: it was asked for all the same"),
        pytest.param(1, 3, 2, id="no more than is declared"),
    ],
)
def test_the_settled_count_is_what_a_commit_asked_for_and_got(
    had_settled: int | None, live: int, noted: int | None
) -> None:
    before = {} if had_settled is None else settled((CHECKOUT, WEB, had_settled))
    made = plan_one(environment(), there(nodes=[node(n) for n in range(1, live + 1)]), memory(settled=before))
    expected = [] if noted is None else [RoleSettled(environment=CHECKOUT, role=WEB, count=noted)]
    assert [fact for fact in made.facts if isinstance(fact, RoleSettled)] == expected


def test_going_back_on_a_commit_that_was_half_done_is_a_commits_doing() -> None:
    growing = environment(roles=[role(count=6)])
    nodes = [node(number, of=growing) for number in range(1, 5)]
    half = plan_one(growing, there(growing, nodes), memory(settled=settled((CHECKOUT, WEB, 2))))
    assert half.facts == (RoleSettled(environment=CHECKOUT, role=WEB, count=4),)
    back = plan_one(environment(), there(nodes=nodes), memory(settled=settled((CHECKOUT, WEB, 4))))
    assert [action.cause for action in back.actions if isinstance(action, TerminateNode)] == [Cause.SCALE_DOWN] * 2


def test_a_role_of_none_settles_at_none() -> None:
    home = environment(roles=[role(count=0)])
    assert plan_one(home, there(home)).facts == (RoleSettled(environment=CHECKOUT, role=WEB, count=0),)


def test_a_role_with_a_launch_under_way_has_not_settled_exactly() -> None:
    under_way = memory(settled=FOUR, intents=intents(intent(count=1)))
    assert plan_one(environment(), there(nodes=[node(1), node(2)]), under_way).facts == ()


def test_a_role_of_which_nodes_are_replaced_has_settled() -> None:
    """Else the extra one would be taken for one that the commit before had asked for."""
    drifted = [node(1), node(2, image=NEW_IMAGE)]
    made = plan_one(environment(), there(nodes=drifted), memory(settled=FOUR))
    assert made.facts == (RoleSettled(environment=CHECKOUT, role=WEB, count=2),)


def test_what_a_commit_lowered_goes_by_its_count_though_it_drifts_too() -> None:
    """Taken for the extra one of a replacement, one of them would go by no hold of protection."""
    home = environment(roles=[role(count=1)])
    outdated = [node(number, image=NEW_IMAGE) for number in (1, 2, 3, 4)]
    made = plan_one(home, there(home, outdated), memory(settled=FOUR))
    assert said(made.actions) == ["terminate_node 1", "terminate_node 2", "terminate_node 3"]
    assert {action.cause for action in made.actions if isinstance(action, TerminateNode)} == {Cause.SCALE_DOWN}


# --- failed and stopped ---------------------------------------------------------------------------------------------


def test_a_failed_node_is_replaced_and_does_not_count_as_a_loss() -> None:
    made = plan_one(environment(), there(nodes=[node(1), node(2, phase=Phase.FAILED)]))
    (gone,) = [action for action in made.actions if isinstance(action, TerminateNode)]
    assert (gone.cause, gone.reason.detail) == (Cause.NEVER_READY, "not ready within 30 min: it never registered")


@pytest.mark.parametrize(
    ("sighted", "does"),
    [
        pytest.param(None, [], id="just seen"),
        pytest.param(NOW - 10 * MINUTE + MINUTE / 60, [], id="may still be started again"),
        pytest.param(NOW - 10 * MINUTE, ["terminate_node 2"], id="given up"),
    ],
)
def test_a_stopped_node_is_given_time(sighted: object, does: list[str]) -> None:
    made = plan_one(environment(), there(nodes=[node(1), node(2, phase=Phase.STOPPED, odd_since=sighted)]))
    assert said(made.actions) == does
    assert any("stopped by hand" in waiting.message for waiting in made.waiting) == (not does)


def test_a_stopped_node_keeps_its_place_until_it_is_seen_to_go() -> None:
    """Its end may be held, and what is held may be started again: another beside it would be one too many."""
    stopped = node(2, phase=Phase.STOPPED, odd_since=NOW - HOUR)
    assert said(plan_one(environment(), there(nodes=[node(1), stopped])).actions) == ["terminate_node 2"]
    going = replace(stopped, phase=Phase.TERMINATING)
    assert said(plan_one(environment(), there(nodes=[node(1), going])).actions) == ["launch_nodes 1"]


@pytest.mark.parametrize(("was_ready", "cause"), [(True, Cause.FAILED), (False, Cause.NEVER_READY)])
def test_only_a_stopped_node_that_had_served_counts_as_a_loss(was_ready: bool, cause: Cause) -> None:  # noqa: FBT001  a parameter
    stopped = node(2, phase=Phase.STOPPED, odd_since=NOW - HOUR, was_ready=was_ready)
    made = plan_one(environment(), there(nodes=[node(1), stopped]))
    assert [action.cause for action in made.actions if isinstance(action, TerminateNode)] == [cause]


def test_a_lost_node_keeps_its_place_and_a_person_is_asked() -> None:
    made = plan_one(environment(), there(nodes=[node(1), node(2, phase=Phase.LOST, tag={tags.FLEET: None})]))
    assert made.actions == ()
    assert [stall.reason for stall in made.stalls] == ["NodeLost"]
    assert "hivequeen:fleet=demo" in made.stalls[0].remedy


# --- tags -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "repair"),
    [
        pytest.param({"team": None}, {"team": "shop"}, id="a declared tag went"),
        pytest.param({tags.NAME: "mine"}, {tags.NAME: "checkout-web"}, id="it was renamed"),
        pytest.param({tags.ENVIRONMENT: "other"}, {tags.ENVIRONMENT: "checkout"}, id="moved to another environment"),
        pytest.param({tags.ROLE: None}, {tags.ROLE: "web"}, id="its role went"),
        pytest.param({tags.READY: None}, {tags.READY: "2026-11-01T12:00:00+00:00"}, id="its readiness went"),
    ],
)
def test_tags_edited_by_hand_are_set_back(edit: dict[str, str | None], repair: dict[str, str]) -> None:
    made = plan_one(environment(), there(nodes=[node(1), node(2, tag=edit)]))
    assert said(made.actions) == ["tag_node 2"]
    assert isinstance(made.actions[0], TagNode) and made.actions[0].set == repair


@pytest.mark.parametrize("tag", [tags.SPEC, tags.INTENT, tags.REVISION])
def test_tags_of_the_launch_are_never_written_again(tag: str) -> None:
    assert plan_one(environment(), there(nodes=[node(1), node(2, tag={tag: None})])).actions == ()


def test_a_foreign_tag_on_our_node_is_left_there() -> None:
    assert plan_one(environment(), there(nodes=[node(1), node(2, tag={"cost-centre": "42"})])).actions == ()


def test_protection_follows_the_file_onto_the_nodes_and_off_them() -> None:
    home = environment(protected=True)
    on = plan_one(home, there(home, [node(1), node(2)]))
    assert [action.set for action in on.actions if isinstance(action, TagNode)] == [{tags.PROTECTED: "true"}] * 2
    off = plan_one(environment(), there(nodes=[node(1, of=home), node(2, of=home)]))
    assert [action.remove for action in off.actions if isinstance(action, TagNode)] == [(tags.PROTECTED,)] * 2


@pytest.mark.parametrize("blind", [{"phase": Phase.LOST}, {"phase": Phase.PENDING, "is_unseen": True}])
def test_tags_of_what_is_out_of_sight_are_not_touched(blind: dict[str, object]) -> None:
    nodes = [node(1), node(2, tag={tags.NAME: "mine"}, **blind)]  # type: ignore[arg-type]  # a parameter's fields
    assert plan_one(environment(), there(nodes=nodes)).actions == ()


def test_a_node_that_goes_is_not_tagged_first() -> None:
    made = plan_one(environment(), there(nodes=[node(1), node(2, phase=Phase.FAILED, tag={tags.NAME: "mine"})]))
    assert not any(isinstance(action, TagNode) for action in made.actions)


def test_roles_do_not_share_nodes() -> None:
    home = environment(roles=[role("web", 1), role("worker", 1)])
    nodes = [node(1, of=home), node(2, of=home)]
    made = plan_one(home, there(home, nodes), memory(settled=settled((CHECKOUT, WEB, 2))))
    assert said(made.actions) == ["terminate_node 1", "launch_nodes 1"]
    assert not any(isinstance(action, EnsureChefRole) for action in made.actions)
