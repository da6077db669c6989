"""A law: what holds of every plan, and was put to the test often enough to mean something."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from hypothesis import given, seed, settings
from hypothesis.strategies import SearchStrategy

from reconciler.model.actions import Action
from reconciler.model.plan import Plan
from reconciler.plan import Context, guard, plan

Law: TypeAlias = Callable[[Context], Iterator[object]]

# After ten examples Hypothesis makes five of six by copying parts of one into itself: worlds in which all environments
# are alike. So it begins anew after ten.
_BEGINNINGS: Final = 15
_EXAMPLES: Final = 10


def law(worlds: SearchStrategy[Context], *, least: int) -> Callable[[Law], Callable[[], None]]:
    """Judge many worlds, the same ones in every run.

    The law yields once for each case that it judged. Where hardly any world has a case, it would pass whatever the code
    does: so at least so many must have come up.
    """

    def of(judge: Law) -> Callable[[], None]:
        def test() -> None:
            cases = 0

            @settings(max_examples=_EXAMPLES, deadline=None, database=None)
            @given(world=worlds)
            def holds(world: Context) -> None:
                nonlocal cases
                cases += sum(1 for _ in judge(world))

            for number in range(_BEGINNINGS):
                seed(number)(holds)()
            assert cases >= least, f"only {cases} cases came up: the worlds put this law to no test"

        test.__doc__ = judge.__doc__
        return test

    return of


def both(context: Context) -> tuple[Plan, Plan]:
    made = plan(context)
    return made, guard(made, context)


def actions_of(made: Plan) -> list[Action]:
    return [action for one in made.environments for action in one.actions]
