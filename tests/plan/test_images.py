"""Moving images: resolved once, pinned in the Chef role, resolved again only when asked for."""

from typing import Any

from reconciler.model.actions import Action, EnsureChefRole, LaunchNodes, ReplaceNode
from reconciler.model.desired import Environment, Image, ImageByName, ImageByParameter
from reconciler.model.names import ImageId
from reconciler.model.observed import ObservedEnvironment
from reconciler.model.plan import EnvironmentPlan
from tests.plan.builders import (
    CHECKOUT,
    IMAGE,
    NEW_IMAGE,
    WEB,
    bare,
    environment,
    generated,
    node,
    plan_one,
    role,
    there,
)

MOVING = ImageByParameter(parameter="/aws/service/debian/12")
HOME = environment(roles=[role(image=MOVING)])
PINNED = generated(HOME)  # to IMAGE


def plan_with(
    home: Environment, world: ObservedEnvironment, resolved: ImageId | None = None, **changes: Any
) -> EnvironmentPlan:
    images = {(CHECKOUT, WEB): resolved} if resolved else {}
    return plan_one(home, world, images=images, **changes)


def images_of(actions: tuple[Action, ...]) -> set[str]:
    return {
        action.image if isinstance(action, LaunchNodes) else action.launch.image
        for action in actions
        if isinstance(action, LaunchNodes | ReplaceNode)
    }


def test_what_was_resolved_is_launched_and_pinned() -> None:
    made = plan_with(HOME, bare(CHECKOUT), resolved=NEW_IMAGE)
    assert images_of(made.actions) == {NEW_IMAGE}
    (mark,) = [
        action.wanted.default_attributes["hivequeen"] for action in made.actions if isinstance(action, EnsureChefRole)
    ]
    assert isinstance(mark, dict)
    assert (mark["image"], mark["image_source"]) == (NEW_IMAGE, "ssm:/aws/service/debian/12")


def test_new_nodes_take_the_pin() -> None:
    made = plan_with(HOME, there(HOME, [node(1)], **PINNED))
    assert images_of(made.actions) == {IMAGE}


def test_a_pinned_image_is_no_drift_wherever_its_name_points_by_now() -> None:
    assert plan_with(HOME, there(HOME, [node(1), node(2)], **PINNED)).actions == ()


def test_a_refresh_moves_the_pin_and_replaces_the_nodes() -> None:
    made = plan_with(HOME, there(HOME, [node(1), node(2)], **PINNED), resolved=NEW_IMAGE)
    assert [type(action) for action in made.actions] == [EnsureChefRole, ReplaceNode]
    assert images_of(made.actions) == {NEW_IMAGE}


def test_a_refresh_that_finds_the_same_image_changes_nothing() -> None:
    assert plan_with(HOME, there(HOME, [node(1), node(2)], **PINNED), resolved=IMAGE).actions == ()


def test_the_pin_of_another_declaration_does_not_hold() -> None:
    other: Image = ImageByName(owner="amazon", name="debian-13-*")
    home = environment(roles=[role(image=other)])
    made = plan_with(home, there(home, [node(1), node(2)], **PINNED))
    assert [stall.reason for stall in made.stalls] == ["ImageUnresolved"]


def test_an_image_that_names_nothing_stalls_its_role_alone() -> None:
    home = environment(roles=[role("web", image=MOVING), role("worker", 1)])
    why = {(CHECKOUT, WEB): ("ParameterNotFound", "name one that exists")}
    made = plan_one(home, bare(CHECKOUT), unresolved=why)
    assert images_of(made.actions) == {IMAGE}
    assert [action.role for action in made.actions if isinstance(action, LaunchNodes)] == ["worker"]
    (stall,) = made.stalls
    assert stall.message == "web: image ssm:/aws/service/debian/12 names nothing: ParameterNotFound"
    assert stall.remedy == "name one that exists"


def test_a_refresh_that_fails_leaves_the_pin_in_force() -> None:
    why = {(CHECKOUT, WEB): ("AccessDenied", "allow ssm:GetParameter")}
    made = plan_one(HOME, there(HOME, [node(1), node(2)], **PINNED), unresolved=why)
    assert (made.actions, made.stalls) == ((), ())


def test_where_the_pin_was_deleted_with_its_role_the_image_that_serves_takes_its_place() -> None:
    world = there(HOME, [node(1), node(2)], **PINNED | {"chef_roles": {}})
    made = plan_with(HOME, world, resolved=NEW_IMAGE)
    assert [type(action) for action in made.actions] == [EnsureChefRole]
