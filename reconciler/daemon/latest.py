"""What the passes so far have shown: the last full one, brought up to date by every scoped one since."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from reconciler.model.names import EnvironmentName
from reconciler.model.observed import Observed
from reconciler.model.passes import Pass
from reconciler.model.plan import EnvironmentPlan, Plan

T = TypeVar("T")


class Latest:
    """Written by the loop, read by whoever asks."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._whole: Pass | None = None
        self._full: Pass | None = None

    @property
    def whole(self) -> Pass | None:
        """Every environment as its newest pass saw it. None: no full pass was made yet."""
        return self._whole

    @property
    def full(self) -> Pass | None:
        """The last full pass, as it was."""
        return self._full

    def keep(self, made: Pass) -> None:
        with self._changing:
            if made.scope.environments is None:
                self._full = made
                # A full pass that failed concluded nothing: what was known before still shows.
                self._whole = made if made.plan or self._whole is None else _overlaid(self._whole, made, None)
            elif self._whole is not None:
                self._whole = _overlaid(self._whole, made, made.scope.environments)


def _overlaid(whole: Pass, newer: Pass, scope: frozenset[EnvironmentName] | None) -> Pass:
    return replace(
        whole,
        ended_at=newer.ended_at,
        revision=newer.revision or whole.revision,
        commit=newer.commit if newer.revision else whole.commit,
        desired=newer.desired or whole.desired,
        memory=newer.memory or whole.memory,
        observed=_observed(whole.observed, newer.observed, scope or frozenset()),
        plan=_plan(whole.plan, newer.plan, scope or frozenset()),
        failures=(
            *(old for old in whole.failures if old.environment is not None and old.environment not in (scope or ())),
            *newer.failures,
        ),
    )


def _observed(whole: Observed | None, newer: Observed | None, scope: frozenset[EnvironmentName]) -> Observed | None:
    if whole is None or newer is None:
        return newer or whole
    return replace(whole, environments=_replaced(whole.environments, newer.environments, scope))


def _plan(whole: Plan | None, newer: Plan | None, scope: frozenset[EnvironmentName]) -> Plan | None:
    if whole is None or newer is None:
        return newer or whole
    mine: Mapping[EnvironmentName, EnvironmentPlan] = {plan.name: plan for plan in whole.environments}
    environments = _replaced(mine, {plan.name: plan for plan in newer.environments}, scope)
    return replace(newer, environments=tuple(environments[name] for name in sorted(environments)))


def _replaced(
    whole: Mapping[EnvironmentName, T], newer: Mapping[EnvironmentName, T], scope: frozenset[EnvironmentName]
) -> Mapping[EnvironmentName, T]:
    """An environment of the scope that the newer pass does not show is gone."""
    return {**{name: value for name, value in whole.items() if name not in scope}, **newer}
