"""Moving images: resolved once, pinned in the Chef role, resolved again only when asked for."""

from typing import Any

from reconciler.model.actions import Action, EnsureChefRole, LaunchNodes, ReplaceNode
from reconciler.model.desired import Environment, Image, ImageByName, ImageByParameter
from reconciler.model.facts import ImagePinned
from reconciler.model.memory import Memory, Pin
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
    memory,
    node,
    plan_one,
    role,
    said,
    there,
)

MOVING = ImageByParameter(parameter="/aws/service/debian/12")
HOME = environment(roles=[role(image=MOVING)])
PINNED = generated(HOME)  # to IMAGE


def plan_with(
    home: Environment,
    world: ObservedEnvironment,
    resolved: ImageId | None = None,
    remembered: Memory | None = None,
    **changes: Any,
) -> EnvironmentPlan:
    images = {(CHECKOUT, WEB): resolved} if resolved else {}
    return plan_one(home, world, remembered, images=images, **changes)


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


# --- what the journal knows is pinned -------------------------------------------------------------------------------

KEY = (CHECKOUT, WEB)
KNOWN = memory(pins={KEY: Pin(source=str(MOVING), image=IMAGE)})
EDITED = generated(HOME, image=NEW_IMAGE)  # what somebody made of the pin in Chef


def pins_noted(made: EnvironmentPlan) -> list[Pin]:
    return [fact.pin for fact in made.facts if isinstance(fact, ImagePinned)]


def test_what_is_pinned_is_noted_once() -> None:
    world = there(HOME, [node(1), node(2)], **PINNED)
    assert pins_noted(plan_with(HOME, world)) == [Pin(source=str(MOVING), image=IMAGE)]
    assert pins_noted(plan_with(HOME, world, remembered=KNOWN)) == []
    assert pins_noted(plan_one(environment(), there(nodes=[node(1), node(2)]))) == []  # of a fixed image nothing


def test_a_pin_that_was_edited_in_chef_is_put_right_and_replaces_nobody() -> None:
    made = plan_with(HOME, there(HOME, [node(1), node(2)], **EDITED), remembered=KNOWN)
    assert said(made.actions) == ["ensure_chef_role checkout-web"]
    (action,) = made.actions
    assert isinstance(action, EnsureChefRole)
    assert action.wanted.pin(str(MOVING)) == IMAGE


def test_a_pin_that_was_edited_before_anything_came_of_a_refresh_is_put_right_too() -> None:
    refreshed = memory(pins={KEY: Pin(source=str(MOVING), image=ImageId("ami-of-the-refresh"))})
    made = plan_with(HOME, there(HOME, [node(1), node(2)], **EDITED), remembered=refreshed)
    assert images_of(made.actions) == {"ami-of-the-refresh"}


def test_of_a_journal_that_is_older_than_the_fleet_the_pin_gives_way_to_the_one_that_serves() -> None:
    """It was restored from a copy: nobody asked to go back to the image before."""
    outdated = memory(pins={KEY: Pin(source=str(MOVING), image=NEW_IMAGE)})
    made = plan_with(HOME, there(HOME, [node(1), node(2)], **PINNED), remembered=outdated)
    assert (made.actions, pins_noted(made)) == ((), [Pin(source=str(MOVING), image=IMAGE)])


def test_a_commit_that_names_another_image_moves_the_pin() -> None:
    other = environment(roles=[role(image=ImageByParameter(parameter="/debian/13"))])
    made = plan_with(other, there(HOME, [node(1), node(2)], **PINNED), resolved=NEW_IMAGE, remembered=KNOWN)
    assert images_of(made.actions) == {NEW_IMAGE}
    assert pins_noted(made) == [Pin(source="ssm:/debian/13", image=NEW_IMAGE)]


def test_a_refresh_moves_what_is_known_to_be_pinned() -> None:
    world = there(HOME, [node(1), node(2)], **PINNED)
    made = plan_with(HOME, world, resolved=NEW_IMAGE, refreshing=frozenset({CHECKOUT}), remembered=KNOWN)
    assert pins_noted(made) == [Pin(source=str(MOVING), image=NEW_IMAGE)]


def test_a_role_of_which_nothing_is_left_begins_with_the_image_of_the_day() -> None:
    made = plan_with(HOME, bare(CHECKOUT), resolved=NEW_IMAGE, remembered=KNOWN)
    assert images_of(made.actions) == {NEW_IMAGE}


def test_where_the_role_was_deleted_in_chef_what_is_known_comes_before_what_serves() -> None:
    made = plan_with(HOME, bare(CHECKOUT, [node(1, image=NEW_IMAGE), node(2)]), resolved=NEW_IMAGE, remembered=KNOWN)
    assert pins_noted(made) == []
    assert images_of(made.actions) == {IMAGE}
