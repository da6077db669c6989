"""Places: who fills one, and until when. Whoever lives counts, whatever a guard makes of his end."""

from collections.abc import Callable, Sequence
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.actions import LaunchNodes, ReplaceNode, TerminateNode
from reconciler.model.memory import Memory
from reconciler.model.names import RoleName
from reconciler.model.observed import Node, Phase
from reconciler.model.plan import Guard
from tests.plan.builders import (
    CHECKOUT,
    HOUR,
    NEW_IMAGE,
    NOW,
    WEB,
    environment,
    guarded,
    memory,
    node,
    role,
    settled,
    there,
)

KINDS: Final[Sequence[Callable[[int], Node]]] = (
    node,
    lambda number: node(number, image=NEW_IMAGE),  # outdated
    lambda number: node(number, phase=Phase.REGISTERED),
    lambda number: node(number, phase=Phase.RUNNING, image=NEW_IMAGE),
    lambda number: node(number, phase=Phase.FAILED),
    lambda number: node(number, phase=Phase.STOPPED, odd_since=NOW),
    lambda number: node(number, phase=Phase.STOPPED, odd_since=NOW - HOUR),
    lambda number: node(number, phase=Phase.STOPPED, odd_since=NOW - HOUR),
    lambda number: node(number, phase=Phase.LOST),
    lambda number: node(number, phase=Phase.TERMINATING),
)
FOUR = settled((CHECKOUT, WEB, 4))
MEMORIES: Final = (memory(), memory(settled=FOUR), memory(taken_over_at=NOW - HOUR, settled=FOUR))


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(0, 5),
    kinds=st.lists(st.sampled_from(KINDS), max_size=6),
    remembered=st.sampled_from(MEMORIES),
    protected=st.booleans(),
)
def test_whoever_is_to_go_keeps_his_place_while_a_guard_holds_his_end(
    count: int, kinds: Sequence[Callable[[int], Node]], remembered: Memory, *, protected: bool
) -> None:
    """Stopped and failed ones too: else as many more come up beside them."""
    home = environment(roles=[role(count=count)], protected=protected)
    nodes = [kind(number) for number, kind in enumerate(kinds, start=1)]
    made = guarded(home, there(home, nodes), remembered)
    going = {action.instance_id for action in made.actions if isinstance(action, TerminateNode)}
    staying = [one for one in nodes if one.phase != Phase.TERMINATING and one.instance_id not in going]
    new = sum(action.count for action in made.actions if isinstance(action, LaunchNodes))
    extra = sum(isinstance(action, ReplaceNode) for action in made.actions)
    assert not (new or extra) or len(staying) + new + extra <= count + min(extra, 1)


def test_what_the_limit_lets_go_is_replaced_once_it_is_seen_to_go() -> None:
    home = environment(roles=[role(count=4)])
    stopped = node(4, phase=Phase.STOPPED, odd_since=NOW - HOUR)
    serving = [node(number) for number in (1, 2, 3)]
    first = guarded(home, there(home, [*serving, stopped]))
    assert [type(action) for action in first.actions] == [TerminateNode]
    (launch,) = guarded(home, there(home, [*serving, node(4, phase=Phase.TERMINATING)])).actions
    assert isinstance(launch, LaunchNodes)
    assert (launch.role, launch.count) == (RoleName(WEB), 1)
    both = guarded(home, there(home, [*serving[:2], stopped, node(3, phase=Phase.STOPPED, odd_since=NOW - HOUR)]))
    assert (both.actions, [hold.guard for hold in both.blocked]) == ((), [Guard.PRUNE_NODES])
