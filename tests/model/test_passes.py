"""Scopes: what wakes the loop names environments, or everything."""

import pytest

from reconciler.model.names import EnvironmentName
from reconciler.model.passes import Scope


def scope(*names: str, because: str = "commit") -> Scope:
    return Scope(environments=frozenset(EnvironmentName(name) for name in names), because=because)


EVERYTHING = Scope(environments=None, because="resync")


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (scope("a"), scope("b", because="requested"), scope("a", "b")),
        (scope("a"), scope("a"), scope("a")),
        (scope("a"), EVERYTHING, EVERYTHING),
        (EVERYTHING, scope("a"), EVERYTHING),
        (EVERYTHING, Scope(environments=None, because="start"), EVERYTHING),
    ],
)
def test_two_wakes_are_one_pass_over_both(one: Scope, other: Scope, both: Scope) -> None:
    assert one.merge(other) == both
    assert both.is_full == (both.environments is None)
