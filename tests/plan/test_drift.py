"""What of a live instance differs from what its role declares, and whose doing that is."""

from typing import Any

import pytest

from reconciler.model import tags
from reconciler.model.actions import EnsureChefRole, ReplaceNode
from reconciler.model.desired import ImageById, RootVolume
from reconciler.model.digest import spec_digest
from reconciler.model.memory import Cause
from reconciler.plan.drift import Drift, drift
from tests.plan.builders import IMAGE, NEW_IMAGE, environment, node, plan_one, role, said, there


def fields(found: tuple[Drift, ...]) -> list[str]:
    return [one.field for one in found]


def test_a_node_that_is_as_declared_has_no_drift() -> None:
    assert drift(role(), IMAGE, node(1)) == ()


@pytest.mark.parametrize(
    ("declared", "said_as"),
    [
        pytest.param({"security_groups": frozenset({"sg-app", "sg-db"})}, "security_groups: sg-app → sg-app sg-db"),
        pytest.param({"instance_profile": "app"}, "instance_profile: none → app"),
        pytest.param({"instance_types": ("c7i.large",)}, "instance_type: m7i.large → c7i.large"),
        pytest.param({"subnets": ("subnet-c", "subnet-d")}, "subnets: subnet-b → subnet-c, subnet-d"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_declaration_that_moved_is_drift_by_commit(declared: dict[str, Any], said_as: str) -> None:
    (found,) = drift(role(**declared), IMAGE, node(1))
    assert (str(found), found.by_commit) == (said_as, True)


@pytest.mark.parametrize(
    "declared",
    [{"user_data": "swapon"}, {"key_name": "ops"}, {"root_volume": RootVolume(size_gib=20)}],
    ids=lambda value: next(iter(value)),
)
def test_what_describing_does_not_show_is_told_by_the_digest(declared: dict[str, Any]) -> None:
    (found,) = drift(role(**declared), IMAGE, node(1))
    assert (found.field, found.old, found.by_commit) == ("user_data", spec_digest(role()), True)
    assert found.new == spec_digest(role(**declared))


@pytest.mark.parametrize(
    ("live", "field"),
    [
        ({"security_groups": frozenset({"sg-app", "sg-mine"})}, "security_groups"),
        ({"instance_profile": "admin"}, "instance_profile"),
        ({"instance_type": "t3.nano"}, "instance_type"),
    ],
)
def test_an_instance_that_was_changed_by_hand_is_drift_that_no_commit_caused(live: dict[str, Any], field: str) -> None:
    was = {"security_groups": "sg-app", "instance_profile": "", "instance_type": "m7i.large"}
    (found,) = drift(role(), IMAGE, node(1, instance=live, was_launched_as={field: was[field]}))
    assert (found.field, found.by_commit) == (field, False)


def test_nobody_knows_whose_doing_it_is_where_the_launch_is_not_known() -> None:
    (found,) = drift(role(), NEW_IMAGE, node(1, is_known=False))
    assert not found.by_commit


@pytest.mark.parametrize("instance_type", ["m7i.large", "m6i.large"])
@pytest.mark.parametrize("subnet", ["subnet-a", "subnet-b"])
def test_any_declared_type_and_subnet_will_do(instance_type: str, subnet: str) -> None:
    assert drift(role(), IMAGE, node(1, instance={"instance_type": instance_type, "subnet": subnet})) == ()


@pytest.mark.parametrize("digest", [None, "", "v2:0000000000000000", "v10:0000000000000000", "nonsense"])
def test_a_digest_that_we_cannot_read_is_not_drift(digest: str | None) -> None:
    """Else a daemon of another version would roll the fleet."""
    assert drift(role(user_data="swapon"), IMAGE, node(1, tag={tags.SPEC: digest})) == ()


def test_all_that_differs_is_told_in_a_fixed_order() -> None:
    other = role(
        security_groups=frozenset({"sg-db"}),
        instance_profile="app",
        instance_types=("c7i.large",),
        subnets=("subnet-c",),
        user_data="swapon",
    )
    assert fields(drift(other, NEW_IMAGE, node(1))) == [
        "image",
        "security_groups",
        "instance_profile",
        "instance_type",
        "subnets",
        "user_data",
    ]


@pytest.mark.parametrize(
    "declared",
    [
        {"run_list": ("recipe[other]",)},
        {"attributes": {"unicorn": {"workers": 2}}},
        {"tags": {"team": "platform"}},
        {"count": 2},
    ],
    ids=lambda value: next(iter(value)),
)
def test_what_is_changed_in_place_replaces_no_node(declared: dict[str, Any]) -> None:
    home = environment(roles=[role(**declared)])
    made = plan_one(home, there(environment(), [node(1), node(2)]))
    assert not any(name.startswith(("replace", "launch", "terminate")) for name in said(made.actions))


def test_an_instance_type_moved_back_into_the_list_is_no_drift() -> None:
    assert drift(role(instance_types=("c7i.large", "m7i.large")), IMAGE, node(1)) == ()


@pytest.mark.parametrize(
    ("nodes_were", "cause"),
    [
        pytest.param({}, Cause.REPLACED, id="a commit moved it"),
        pytest.param({"image": NEW_IMAGE}, Cause.DRIFTED, id="somebody changed it"),
    ],
)
def test_the_cause_of_a_replacement_says_whether_a_commit_asked_for_it(
    nodes_were: dict[str, str], cause: Cause
) -> None:
    home = environment(roles=[role(image=ImageById(image_id=NEW_IMAGE))])
    made = plan_one(home, there(home, [node(number, was_launched_as=nodes_were) for number in (1, 2)]))
    replacing = [action for action in made.actions if isinstance(action, ReplaceNode)]
    assert [(action.cause, action.change) for action in replacing] == [(cause, f"image: {IMAGE} → {NEW_IMAGE}")]


def test_one_field_that_no_commit_moved_makes_the_whole_replacement_count() -> None:
    home = environment(roles=[role(image=ImageById(image_id=NEW_IMAGE))])
    edited = [node(n, instance={"instance_profile": "admin"}, was_launched_as={"instance_profile": ""}) for n in (1, 2)]
    (action,) = [a for a in plan_one(home, there(home, edited)).actions if not isinstance(a, EnsureChefRole)]
    assert isinstance(action, ReplaceNode) and action.cause == Cause.DRIFTED
