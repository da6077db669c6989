"""Tells what a pass came to: conditions and events into the journal and the log, figures into the metrics."""

import logging
from collections.abc import Iterable
from typing import Final

from reconciler.model.actions import LaunchNodes, ReplaceNode
from reconciler.model.conditions import Condition, ConditionType, Event
from reconciler.model.event_kinds import EventKind
from reconciler.model.facts import NodeReady
from reconciler.model.passes import Pass, Result
from reconciler.ports import Journal
from reconciler.report import conditions, events
from reconciler.report.metrics import Metrics

EVENTS_SEARCHED: Final = 200  # for who ended a suspension

log = logging.getLogger(__name__)


class Teller:
    def __init__(self, *, journal: Journal, metrics: Metrics) -> None:
        self._journal = journal
        self._metrics = metrics
        self._is_first = True  # pass of this process

    def tell(self, made: Pass) -> None:
        """
        Raises:
            HivequeenError: the journal cannot be written.
        """
        before = self._journal.conditions()
        said = conditions.of_pass(made, before)
        after = tuple(condition for group in said.values() for condition in group)
        # The metrics first: they must show a journal that cannot be written.
        self._metrics.observe(made, conditions.dated(after, before, made.ended_at))
        self._measure(made)
        for environment, group in said.items():
            # Nothing new is no write: a fleet at rest costs no transaction.
            if _content(group) != _content(one for one in before if one.environment == environment):
                self._journal.set_conditions(environment, group, made.ended_at)
        told = tuple(event for event in events.of_pass(made, before, after) if not self._was_resumed(event, before))
        self._journal.append(*told)
        for event in told:
            _log(event, is_trouble=event.kind in events.TROUBLES)
        if self._is_first:
            # A daemon that starts into an outage has no news of it, and its log would look healthy.
            known = {(event.kind, event.environment) for event in told}
            for event in events.of_conditions((), after, made.ended_at):
                if event.kind in events.TROUBLES and (event.kind, event.environment) not in known:
                    _log(event, is_trouble=True)
        self._is_first = False
        log.debug("pass done", extra={"because": made.scope.because, "outcomes": len(made.outcomes)})

    def _was_resumed(self, event: Event, before: Iterable[Condition]) -> bool:
        """Whether it tells the end of a suspension that somebody ended, which was told with their name then."""
        if event.kind != EventKind.SUSPENSION_ENDED:
            return False
        kinds = (EventKind.SUSPENDED, EventKind.RESUMED)
        told = self._journal.events(event.environment, limit=EVENTS_SEARCHED)
        newest = [one for one in told if one.kind in kinds and one.environment == event.environment][-1:]
        was_by_file = any(
            one.environment == event.environment and one.type is ConditionType.SUSPENDED and one.reason == "ByFile"
            for one in before
        )
        return not was_by_file and any(one.kind == EventKind.RESUMED for one in newest)

    def _measure(self, made: Pass) -> None:
        known = made.memory.nodes if made.memory is not None else {}
        for fact in made.facts:
            if isinstance(fact, NodeReady) and fact.instance_id in known:
                launched_at = known[fact.instance_id].launched_at
                self._metrics.node_ready(max(0.0, (made.ended_at - launched_at).total_seconds()))
        has_launched = any(
            isinstance(outcome.action, LaunchNodes | ReplaceNode) and outcome.result is Result.DONE
            for outcome in made.outcomes
        )
        if has_launched and made.committed_at is not None:
            self._metrics.commit_to_launch(max(0.0, (made.ended_at - made.committed_at).total_seconds()))


def _log(event: Event, *, is_trouble: bool) -> None:
    log.log(
        logging.WARNING if is_trouble else logging.INFO,
        "event",
        extra={
            "kind": event.kind,
            "environment": event.environment or "",
            "told": event.message,
            "revision": event.revision or "",
        },
    )


def _content(group: Iterable[Condition]) -> frozenset[tuple[object, ...]]:
    """All but `since`, which the journal keeps itself."""
    return frozenset((one.type, one.is_true, one.reason, one.message, one.remedy, one.revision) for one in group)
