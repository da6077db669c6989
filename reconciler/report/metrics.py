"""Metrics, in a registry of their own. Label values come from closed sets, or from the names of the fleet itself."""

import threading
from collections import Counter as Tally
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import product
from types import MappingProxyType
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector

from reconciler import __version__
from reconciler.model.actions import ActionName
from reconciler.model.conditions import Condition
from reconciler.model.desired import Desired
from reconciler.model.names import EnvironmentName, RevisionId, RoleName
from reconciler.model.observed import ObservedEnvironment, Phase
from reconciler.model.passes import Pass, Result
from reconciler.model.plan import Blocked, Guard
from reconciler.model.schedule import is_asleep
from reconciler.report import conditions
from reconciler.report.holds import held_since
from reconciler.report.reasons import OF_INSTALLATION

OTHER: Final = "other"
EVERYTHING: Final = ""  # in place of an environment: to Prometheus the same as no such label

_CHEF_OBJECTS: Final = ("nodes", "roles", "environments", "clients", "data")
OPERATIONS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "ec2": frozenset(
            {
                "DescribeInstances",
                "DescribeImages",
                "RunInstances",
                "TerminateInstances",
                "StopInstances",
                "StartInstances",
                "CreateTags",
                "DeleteTags",
            }
        ),
        "sts": frozenset({"GetCallerIdentity"}),
        "ssm": frozenset({"GetParameter"}),
        "chef": frozenset(
            [f"{method} {kind}" for method, kind in product(("GET", "POST", "PUT", "DELETE"), _CHEF_OBJECTS)]
            + [f"POST search/{index}" for index in ("node", "role", "environment", "client")]
        ),
        "git": frozenset({"fetch"}),
    }
)
REQUEST_RESULTS: Final = ("ok", "refused", "throttled", "unreachable")
# Registered, put off (503) or refused (403); `enroll.verdicts` names them.
REGISTRATION_RESULTS: Final = frozenset(
    {
        "accepted",
        "not_visible",
        "not_recorded",
        "suspended",
        "read_only",
        "cloud_unavailable",
        "chef_unavailable",
        "journal_unavailable",
        "malformed",
        "signature",
        "key",
        "proof",
        "account",
        "region",
        "foreign",
        "image",
        "address",
        "terminated",
        "late",
        "identity_reused",
        "client_exists",
        "report",
    }
)
STAGES: Final = ("source", "observe", "claim", "converge")

_PASS_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_LAUNCH_BUCKETS_S: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_READY_BUCKETS_S: Final = (5, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600)


class Notified(StrEnum):
    """What came of one try to notify a receiver."""

    DELIVERED = "delivered"
    FAILED = "failed"  # it is tried again
    GIVEN_UP = "given_up"


class Metrics:
    """May be called from any thread."""

    def __init__(self, *, version: str = __version__) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._changing = threading.Lock()
        # Label values shown per environment, so that those of vanished ones can be removed.
        self._shown: dict[Gauge, dict[str, frozenset[tuple[str, ...]]]] = {}
        self._nodes = self._gauge("nodes", "Nodes by phase of their life.", ("environment", "role", "phase"))
        self._desired = self._gauge(
            "desired_nodes",
            "Nodes that are to run now: none while a schedule lets them sleep, or after expiry.",
            ("environment", "role"),
        )
        self._conditions = self._gauge(
            "environment_condition", "1 where the condition is true.", ("environment", "condition")
        )
        self._installation = self._gauge(
            "installation_condition", "1 where the condition is true of the whole installation.", ("condition",)
        )
        hold = ("environment", "guard")
        self._holds = self._gauge(
            "holds", "1 while a guard holds something; without an environment, of the whole installation.", hold
        )
        self._hold_since = self._gauge("hold_since_timestamp_seconds", "Since when a guard holds something.", hold)
        self._hold_until = self._gauge(
            "hold_until_timestamp_seconds", "When a hold ends by itself; absent where a person must lift it.", hold
        )
        self._suspended_since = self._gauge(
            "suspended_since_timestamp_seconds",
            "Since when it is suspended; without an environment, everything.",
            ("environment",),
        )
        self._suspended_until = self._gauge(
            "suspended_until_timestamp_seconds",
            "When a suspension ends by itself; absent where somebody must resume.",
            ("environment",),
        )
        self._expires = self._gauge(
            "expires_timestamp_seconds",
            "When an environment's lifetime ends; absent where it never does.",
            ("environment",),
        )
        self._actions = self._counter("actions", "Actions carried out, by what came of them.", ("action", "result"))
        self._failures = self._counter("pass_failures", "Stages of a pass that failed as a whole.", ("stage",))
        self._blocked = self._counter("plans_blocked", "Times that a guard held something of a plan.", ("guard",))
        self._requests = self._counter(
            "api_requests", "Requests that left the process.", ("service", "operation", "result")
        )
        self._registrations = self._counter("registrations", "Registrations by nodes, by answer.", ("result",))
        self._notifications = self._counter(
            "notifications", "Tries to notify a receiver, by what came of them.", ("result",)
        )
        self._pass_duration = self._histogram("reconcile_duration_seconds", "Time that one pass took.", _PASS_BUCKETS_S)
        self._ready_duration = self._histogram(
            "node_ready_duration_seconds", "From launch to the first successful Chef run.", _READY_BUCKETS_S
        )
        self._launch_delay = self._histogram(
            "commit_to_launch_seconds",
            "From a revision's commit to the first launch that it caused.",
            _LAUNCH_BUCKETS_S,
        )
        self._git_success = self._gauge("git_last_success_timestamp_seconds", "When git was last fetched.", ())
        self._resync_success = self._gauge(
            "resync_last_success_timestamp_seconds", "When a full pass last ended without a failed stage.", ()
        )
        self._revision = self._gauge("revision_info", "The revision that desired state comes from.", ("revision",))
        self._build = self._gauge("build_info", "The version that runs.", ("version",))
        self._build.labels(version).set(1)
        self._start_at_zero()

    def observe(self, made: Pass, said: Iterable[Condition] | None = None) -> None:
        """Show what the pass saw, decided and did.

        Args:
            said: the pass's conditions with their moments, if they were made already.
        """
        if said is None:
            made_now = (condition for group in conditions.of_pass(made).values() for condition in group)
            said = conditions.dated(made_now, (), made.ended_at)
        known = tuple(said)
        with self._changing:
            self._show_world(made)
            self._show_conditions(made, known)
            self._show_holds(made, known)
            self._show_suspensions(made)
            self._show_expiries(made)
            self._count(made)

    def count_request(self, service: str, operation: str, result: str) -> None:
        """A `ports.RequestCounter`."""
        known = OPERATIONS.get(service)
        self._requests.labels(
            service if known is not None else OTHER,
            operation if known is not None and operation in known else OTHER,
            result if result in REQUEST_RESULTS else OTHER,
        ).inc()

    def registration(self, result: str) -> None:
        """`accepted`, or why not: see `REGISTRATION_RESULTS`."""
        self._registrations.labels(result if result in REGISTRATION_RESULTS else OTHER).inc()

    def notification(self, result: Notified) -> None:
        self._notifications.labels(result.value).inc()

    def git_success(self, at: datetime) -> None:
        self._git_success.set(at.timestamp())

    def node_ready(self, seconds: float) -> None:
        self._ready_duration.observe(seconds)

    def commit_to_launch(self, seconds: float) -> None:
        self._launch_delay.observe(seconds)

    def render(self) -> bytes:
        """In Prometheus text format 0.0.4."""
        return generate_latest(_WithoutCreated(self._registry))

    # --- parts of a pass --------------------------------------------------------------------------------------------

    def _show_world(self, made: Pass) -> None:
        if made.desired is not None:
            self._show_desired(made, made.desired)
        if made.observed is not None:
            if made.observed.is_full:
                self._keep_only(self._nodes, made.observed.environments)
            for name, seen in made.observed.environments.items():
                self._show(self._nodes, name, self._phases(name, seen))
        if made.revision is not None:
            self._show_revision(made.revision)

    def _show_desired(self, made: Pass, desired: Desired) -> None:
        """None where it sleeps or its lifetime is over: nobody is to be paged for nodes that ought not to run."""
        self._keep_only(self._desired, desired.names)  # a frozen environment's last known wish still stands
        plans = {plan.name: plan for plan in made.plan.environments} if made.plan is not None else {}
        for name, environment in desired.environments.items():
            if name not in plans and name in self._shown[self._desired]:
                continue  # not looked at: what was shown stays
            has_expired = name in plans and not plans[name].is_declared
            schedule = environment.lifetime.schedule
            is_wanted = not has_expired and (schedule is None or not is_asleep(schedule, made.started_at))
            counts: dict[tuple[str, ...], float] = {
                (name, role): declared.count if is_wanted else 0 for role, declared in environment.roles.items()
            }
            self._show(self._desired, name, counts)

    def _phases(self, name: EnvironmentName, seen: ObservedEnvironment) -> dict[tuple[str, ...], float]:
        declared = {RoleName(role) for _, role in self._shown.get(self._desired, {}).get(name, ())}
        roles = declared | {node.role for node in seen.nodes}
        tally = Tally((node.role, node.phase) for node in seen.nodes)
        return {(name, role, phase.value): tally[role, phase] for role, phase in product(sorted(roles), Phase)}

    def _show_conditions(self, made: Pass, said: Sequence[Condition]) -> None:
        by_environment: dict[EnvironmentName, dict[tuple[str, ...], float]] = {}
        for condition in said:
            value = 1.0 if condition.is_true else 0.0
            if condition.environment is None:
                self._installation.labels(condition.type.value).set(value)
            else:
                values = by_environment.setdefault(condition.environment, {})
                values[condition.environment, condition.type.value] = value
        if made.scope.is_full and made.plan is not None:
            self._keep_only(self._conditions, by_environment)
        elif made.scope.environments is not None and made.plan is not None:
            shown = self._shown.get(self._conditions, {})
            self._keep_only(self._conditions, (set(shown) - made.scope.environments) | set(by_environment))
        for name, values in by_environment.items():
            self._show(self._conditions, name, values)

    def _show_holds(self, made: Pass, said: Sequence[Condition]) -> None:
        """A failed pass could not find out, and a scoped one only of its environments: what was shown stays."""
        if made.plan is None:
            return
        held: dict[str, Sequence[Blocked]] = {EVERYTHING: made.plan.blocked}
        held.update((plan.name, plan.blocked) for plan in made.plan.environments)
        for name, blocked in held.items():
            of = EnvironmentName(name) or None
            self._show(self._holds, name, {(name, one.guard.value): 1.0 for one in blocked})
            since = (((name, one.guard.value), held_since(one.guard, of, said)) for one in blocked)
            self._show(self._hold_since, name, _moments(since))
            self._show(self._hold_until, name, _moments(((name, one.guard.value), one.until) for one in blocked))
        for gauge in (self._holds, self._hold_since, self._hold_until):
            looked_at = made.scope.environments
            outside = () if looked_at is None else set(self._shown.get(gauge, {})) - looked_at
            self._keep_only(gauge, {*outside, *held})

    def _show_expiries(self, made: Pass) -> None:
        """Like holds: what was not looked at stays as it was shown."""
        if made.plan is None:
            return
        seen = {plan.name: plan.expires_at for plan in made.plan.environments}
        for name, moment in seen.items():
            self._show(self._expires, name, _moments([((name,), moment)]))
        looked_at = made.scope.environments
        outside = () if looked_at is None else set(self._shown.get(self._expires, {})) - looked_at
        self._keep_only(self._expires, {*outside, *seen})

    def _show_suspensions(self, made: Pass) -> None:
        if made.memory is None:
            return
        in_force = {
            one.environment or EVERYTHING: one for one in made.memory.suspensions if one.is_in_force(made.started_at)
        }
        for name, one in in_force.items():
            self._show(self._suspended_since, name, _moments([((name,), one.since)]))
            self._show(self._suspended_until, name, _moments([((name,), one.until)]))
        for gauge in (self._suspended_since, self._suspended_until):
            self._keep_only(gauge, in_force)

    def _count(self, made: Pass) -> None:
        self._pass_duration.observe(max(0.0, (made.ended_at - made.started_at).total_seconds()))
        for outcome in made.outcomes:
            self._actions.labels(outcome.action.name.value, outcome.result.value).inc()
        for failure in made.failures:
            self._failures.labels(failure.stage if failure.stage in STAGES else OTHER).inc()
        if made.plan is not None:
            for blocked in (*made.plan.blocked, *(one for plan in made.plan.environments for one in plan.blocked)):
                self._blocked.labels(blocked.guard.value).inc()
        if made.scope.is_full and made.plan is not None and not made.failures:
            self._resync_success.set(made.ended_at.timestamp())

    def _show_revision(self, revision: RevisionId) -> None:
        self._revision.clear()
        self._revision.labels(revision).set(1)

    # --- series that come and go ------------------------------------------------------------------------------------

    def _show(self, gauge: Gauge, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        shown = self._shown.setdefault(gauge, {})
        for labels in shown.get(name, frozenset()) - set(values):
            gauge.remove(*labels)
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        shown[name] = frozenset(values)

    def _keep_only(self, gauge: Gauge, names: Iterable[str]) -> None:
        shown = self._shown.setdefault(gauge, {})
        for name in set(shown) - set(names):
            for labels in shown.pop(name):
                gauge.remove(*labels)

    # --- making them ------------------------------------------------------------------------------------------------

    def _gauge(self, name: str, text: str, labels: tuple[str, ...]) -> Gauge:
        return Gauge(f"hivequeen_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"hivequeen_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"hivequeen_{name}", text, buckets=buckets, registry=self._registry)

    def _start_at_zero(self) -> None:
        """A counter that first appears with 1 shows no increase: every known series is there from the start."""
        for action, result in product(ActionName, Result):
            self._actions.labels(action.value, result.value)
        for guard in Guard:
            self._blocked.labels(guard.value)
        for stage in (*STAGES, OTHER):
            self._failures.labels(stage)
        for answer in sorted(REGISTRATION_RESULTS):
            self._registrations.labels(answer)
        for notified in Notified:
            self._notifications.labels(notified.value)
        for service, operations in OPERATIONS.items():
            for operation, outcome in product(sorted(operations), REQUEST_RESULTS):
                self._requests.labels(service, operation, outcome)
        for condition in OF_INSTALLATION:
            self._installation.labels(condition.value).set(0)


def _moments(found: Iterable[tuple[tuple[str, ...], datetime | None]]) -> dict[tuple[str, ...], float]:
    """Where there is no moment there is no series."""
    return {labels: at.timestamp() for labels, at in found if at is not None}


class _WithoutCreated(Collector):
    """The registry without the `_created` gauges: they double the series, and nothing asks for them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
