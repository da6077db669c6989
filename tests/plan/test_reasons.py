"""Every action says why: the rule, the field old → new, the file's line and the commit."""

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.model.actions import Action, ActionName
from reconciler.model.desired import ImageById
from reconciler.model.findings import Origin
from reconciler.model.names import ChefName
from reconciler.model.observed import ChefNode, Phase
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    NEW_IMAGE,
    NOW,
    REVISION,
    WEB,
    bare,
    departed,
    ending_since,
    environment,
    generated,
    intent,
    intents,
    known,
    memory,
    node,
    plan_one,
    role,
    settled,
    there,
)

FULL = [node(1), node(2)]
MOVED = environment(roles=[role(image=ImageById(image_id=NEW_IMAGE))])
MOVED_CHEF = generated(MOVED, image=NEW_IMAGE)
BRANCHED = environment(branch="redesign", origins={"branch": Origin(file="environments.d/checkout.yml", line=4)})
EDITED = ChefNode(name=node(2).name, chef_environment=ChefName("_default"), run_list=("recipe[x]",), ohai_time=1.0)


def of(name: ActionName, home: Any, world: Any, remembered: Any = None) -> str:
    made = plan_one(home, world, remembered)
    return str(next(action for action in made.actions if action.name == name).reason)


@pytest.mark.parametrize(
    ("name", "home", "world", "remembered", "says"),
    [
        pytest.param(
            ActionName.LAUNCH_NODES,
            environment(),
            there(nodes=[node(1)]),
            None,
            "count: web.count 1 → 2 (environments.d/checkout.yml:11 at 55555555)",
            id="launch",
        ),
        pytest.param(
            ActionName.TERMINATE_NODE,
            environment(),
            there(nodes=[*FULL, node(3)]),
            memory(settled=settled((CHECKOUT, WEB, 3))),
            "count: web.count 3 → 2 (environments.d/checkout.yml:11 at 55555555)",
            id="scale-down",
        ),
        pytest.param(
            ActionName.TERMINATE_NODE,
            environment(),
            there(nodes=[*FULL, node(3)]),
            None,
            "surplus: web.count is 2, 3 there, and no commit lowered it (environments.d/checkout.yml:11 at 55555555)",
            id="surplus",
        ),
        pytest.param(
            ActionName.TERMINATE_NODE,
            environment(),
            there(nodes=[node(1), node(2, phase=Phase.FAILED)]),
            None,
            "never ready: not ready within 30 min: it never registered (environments.d/checkout.yml:10 at 55555555)",
            id="never ready",
        ),
        pytest.param(
            ActionName.REPLACE_NODE,
            MOVED,
            there(MOVED, FULL, **MOVED_CHEF),
            None,
            "drift: image: ami-0123456789abcdef0 → ami-0fedcba9876543210 (environments.d/checkout.yml:12 at 55555555)",
            id="replace",
        ),
        pytest.param(
            ActionName.TERMINATE_NODE,
            MOVED,
            there(MOVED, [node(1), node(2, phase=Phase.RUNNING)], **MOVED_CHEF),
            None,
            "drift: image: ami-0123456789abcdef0 → ami-0fedcba9876543210; it never served "
            "(environments.d/checkout.yml:12 at 55555555)",
            id="drifted before it served",
        ),
        pytest.param(
            ActionName.TERMINATE_NODE,
            environment(),
            there(nodes=[node(1), node(2, phase=Phase.STOPPED, odd_since=NOW - HOUR)]),
            None,
            "stopped: i-00000000000000002 was stopped by hand and not started again "
            "(environments.d/checkout.yml:10 at 55555555)",
            id="stopped",
        ),
        pytest.param(
            ActionName.TAG_NODE,
            environment(),
            there(nodes=[node(1), node(2, tag={"team": "mine", "hivequeen:protected": "true"})]),
            None,
            "tags: team: mine → shop; hivequeen:protected: true → none (environments.d/checkout.yml:15 at 55555555)",
            id="tags",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_ROLE,
            environment(roles=[role(run_list=("recipe[b]",))]),
            there(environment(), FULL),
            None,
            "chef role: run_list: recipe[app] → recipe[b] (environments.d/checkout.yml:13 at 55555555)",
            id="run list",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_ROLE,
            environment(roles=[role(attributes={"unicorn": {"workers": 4}, "new": 1})]),
            there(environment(), FULL),
            None,
            'chef role: new: none → 1; unicorn: {"workers":8} → {"workers":4} '
            "(environments.d/checkout.yml:14 at 55555555)",
            id="attributes",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_ROLE,
            environment(roles=[role(attributes={}, run_list=())]),
            there(environment(), FULL),
            None,
            'chef role: run_list: recipe[app] → ; unicorn: {"workers":8} → none '
            "(environments.d/checkout.yml:13 at 55555555)",
            id="both",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_ROLE,
            BRANCHED,
            there(environment(), FULL),
            None,
            'chef role: hivequeen.branch: "main" → "redesign" (environments.d/checkout.yml:4 at 55555555)',
            id="branch",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_ROLE,
            MOVED,
            there(environment(), FULL),
            None,
            'chef role: hivequeen.image: "ami-0123456789abcdef0" → "ami-0fedcba9876543210"; hivequeen.image_source: '
            '"ami-0123456789abcdef0" → "ami-0fedcba9876543210" (environments.d/checkout.yml:12 at 55555555)',
            id="image",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_ROLE,
            environment(),
            bare(CHECKOUT, FULL),
            None,
            "chef role: checkout-web does not exist (environments.d/checkout.yml:10 at 55555555)",
            id="no role",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_ENVIRONMENT,
            environment(protected=True),
            there(environment(), FULL),
            None,
            "chef environment: hivequeen.protected: false → true (environments.d/checkout.yml:1 at 55555555)",
            id="environment",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_ENVIRONMENT,
            environment(),
            bare(CHECKOUT, FULL),
            None,
            "chef environment: checkout does not exist (environments.d/checkout.yml:1 at 55555555)",
            id="no environment",
        ),
        pytest.param(
            ActionName.ENSURE_CHEF_NODE,
            environment(),
            there(nodes=[node(1), node(2, chef=EDITED)]),
            None,
            "chef node: _default recipe[x] → checkout role[checkout-web] (environments.d/checkout.yml:10 at 55555555)",
            id="node in Chef",
        ),
        pytest.param(
            ActionName.REPLAY_LAUNCH,
            environment(),
            there(),
            memory(intents=intents(intent())),
            "intent: the launch hq-open has an unknown outcome (environments.d/checkout.yml:11 at 55555555)",
            id="replay",
        ),
        pytest.param(
            ActionName.DELETE_CHEF_NODE,
            environment(),
            there(nodes=FULL, departed=(departed(3),)),
            None,
            "gone: i-00000000000000003 was seen terminated (environments.d/checkout.yml:1 at 55555555)",
            id="gone",
        ),
        pytest.param(
            ActionName.TERMINATE_NODE,
            None,
            there(nodes=[node(1)]),
            memory(environments=known(CHECKOUT, ending=ending_since(NOW))),
            "teardown: Jessica <jessica@example.com> removed environments.d/checkout.yml (at 55555555)",
            id="teardown",
        ),
        pytest.param(
            ActionName.DELETE_CHEF_ROLE,
            environment(),
            there(environment(roles=[role(), role("worker", 1)]), FULL),
            memory(settled=settled((CHECKOUT, "worker", 1))),
            "role removed: environments.d/checkout.yml declares no role worker "
            "(environments.d/checkout.yml:1 at 55555555)",
            id="role removed",
        ),
    ],
)
def test_the_reason(name: ActionName, home: Any, world: Any, remembered: Any, says: str) -> None:
    assert of(name, home, world, remembered) == says


def test_a_long_value_is_cut_short() -> None:
    home = environment(roles=[role(attributes={"motd": "x" * 500})])
    said = of(ActionName.ENSURE_CHEF_ROLE, home, there(environment(), FULL))
    assert 'motd: none → "' + "x" * 78 + "…" in said


def test_a_mark_that_is_not_a_generated_one_is_told_whole() -> None:
    """Ours, but somebody broke it: the attributes are repaired all the same."""
    chef = generated(environment())
    ours = chef["chef_roles"][ChefName("checkout-web")]
    mark = {**ours.default_attributes["hivequeen"], "role": 7}
    broken = {ours.name: type(ours)(name=ours.name, run_list=ours.run_list, default_attributes={"hivequeen": mark})}
    said = of(ActionName.ENSURE_CHEF_ROLE, environment(), there(nodes=FULL, chef_roles=broken))
    assert said.startswith('chef role: hivequeen.role: 7 → "web"; unicorn: none → {"workers":8}')


def every_action() -> Iterator[Action]:
    worlds: list[tuple[Any, Any, Any]] = [
        (environment(), bare(CHECKOUT), None),
        (environment(), there(nodes=[*FULL, node(3), node(4, phase=Phase.FAILED)], departed=(departed(5),)), None),
        (MOVED, there(environment(), FULL), None),
        (environment(), there(nodes=[node(1), node(2, tag={"team": None}, chef=EDITED)]), None),
        (environment(), there(), memory(intents=intents(intent()))),
        (None, there(nodes=FULL), memory(environments=known(CHECKOUT))),
        (None, there(), memory(environments=known(CHECKOUT))),
    ]
    for home, world, remembered in worlds:
        yield from plan_one(home, world, remembered).actions


def test_every_kind_of_action_names_rule_detail_and_commit_and_the_file_where_there_is_one() -> None:
    found = list(every_action())
    assert {action.name for action in found} == set(ActionName) - {ActionName.STOP_NODE, ActionName.START_NODE}
    for action in found:
        assert action.reason.rule and action.reason.detail
        assert action.reason.revision == REVISION
        is_teardown = action.reason.rule == "teardown"
        assert (action.reason.origin is None) == is_teardown
