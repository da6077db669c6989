"""One environment's plan, carried out. Its trouble stays its own: it is returned as outcomes, never raised."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, assert_never

from reconciler.converge.launch import Launcher
from reconciler.errors import (
    Denied,
    HivequeenError,
    NoCapacity,
    QuotaReached,
    Refused,
    Stalled,
    Throttled,
    TokenSpent,
    Transient,
)
from reconciler.model.actions import (
    Action,
    DeleteChefClient,
    DeleteChefEnvironment,
    DeleteChefNode,
    DeleteChefRole,
    EnsureChefEnvironment,
    EnsureChefNode,
    EnsureChefRole,
    LaunchNodes,
    ReplaceNode,
    ReplayLaunch,
    StartNode,
    StopNode,
    TagNode,
    TerminateNode,
)
from reconciler.model.desired import Environment, Role
from reconciler.model.facts import TerminationAsked
from reconciler.model.names import RoleName
from reconciler.model.passes import Outcome, Result
from reconciler.model.plan import EnvironmentPlan
from reconciler.ports import ChefServer, Clock, Cloud, Journal

# Denials that stand until somebody permits it. All others are about the credentials, which may be renewed at any time.
FORBIDDEN: Final = frozenset({"AccessDenied", "AccessDeniedException", "OptInRequired", "UnauthorizedOperation"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Converger:
    """Carries plans out; one call at a time for each environment, several environments at once."""

    clock: Clock
    cloud: Cloud
    chef: ChefServer
    journal: Journal
    launcher: Launcher
    first_boot: Callable[[Environment, Role], str]  # renders a role's user-data
    is_stopping: Callable[[], bool]

    def converge(self, plan: EnvironmentPlan, declared: Environment | None) -> tuple[Outcome, ...]:
        """Every action of the plan, each with its outcome, in the plan's order.

        An unknown outcome ends what the environment has left to ask of the same service: that is in trouble, and the
        next pass looks first. A failure also ends what depends on it: a role's launches wait for its Chef role, and for
        the ends of those whose places they take.
        """
        outcomes: list[Outcome] = []
        hindrances: dict[RoleName | None, str] = {}  # what a role's launches wait for; None: those of all roles
        in_trouble: set[str] = set()  # "ec2", "chef"
        for group in _groups(plan.actions):
            service = _service(group[0])
            if service in in_trouble:
                done = [_skipped(action, f"{service} is in trouble; see what came before") for action in group]
            elif self.is_stopping():
                done = [_skipped(action, "the pass ended before it") for action in group]
            elif (waits_for := _hindrance(group[0], hindrances)) is not None:
                done = [_skipped(action, waits_for) for action in group]
            else:
                done = self._attempt(group, declared)
                if any(outcome.result == Result.UNKNOWN for outcome in done):
                    in_trouble.add(service)
            outcomes.extend(done)
            for outcome in done:
                hindrances.update(_hinders(outcome))
        return tuple(outcomes)

    def _attempt(self, group: Sequence[Action], declared: Environment | None) -> list[Outcome]:
        try:
            result, message = self._carry_out(group, declared)
        except (Refused, Stalled) as refusal:
            if len(group) > 1:  # one of them is the cause, and must not hold up the others
                return [outcome for action in group for outcome in self._attempt([action], declared)]
            # The next pass takes the next offering, or a new intent.
            needs_person = not isinstance(refusal, NoCapacity | TokenSpent)
            return [_failed(action, Result.REFUSED, refusal, needs_person=needs_person) for action in group]
        except Throttled as held:  # certainly not done, and no fault of the environment's: the next pass asks again
            return [_skipped(action, held.message) for action in group]
        except Transient as trouble:
            return [_failed(action, Result.UNKNOWN, trouble, needs_person=False) for action in group]
        return [Outcome(action=action, result=result, message=message) for action in group]

    def _carry_out(  # noqa: C901, PLR0911, PLR0912  one case for each action: the closed set, in one place
        self, group: Sequence[Action], declared: Environment | None
    ) -> tuple[Result, str]:
        """Do it. A group has several members only where one call does them all."""
        action = group[0]
        match action:
            case EnsureChefEnvironment():
                return _changed(self.chef.put_environment(action.wanted))
            case EnsureChefRole():
                return _changed(self.chef.put_role(action.wanted))
            case EnsureChefNode():
                return _changed(self.chef.put_node(action.node, action.chef_environment, action.run_list))
            case LaunchNodes():
                return self._launch(action, declared)
            case ReplaceNode():
                return self._launch(action.launch, declared)
            case ReplayLaunch():
                return Result.DONE, ", ".join(self.launcher.replay(action))
            case TagNode():
                ids = [one.instance_id for one in group if isinstance(one, TagNode)]
                if action.set:
                    self.cloud.set_tags(ids, action.set)
                if action.remove:
                    self.cloud.remove_tags(ids, action.remove)
            case StopNode():
                self.cloud.stop([one.instance_id for one in group if isinstance(one, StopNode)])
            case StartNode():
                self.cloud.start([one.instance_id for one in group if isinstance(one, StartNode)])
            case TerminateNode():
                self._terminate([one for one in group if isinstance(one, TerminateNode)])
            case DeleteChefNode():
                self.chef.delete_node(action.node)
            case DeleteChefClient():
                self.chef.delete_client(action.node)
            case DeleteChefRole():
                self.chef.delete_role(action.chef_role)
            case DeleteChefEnvironment():
                self.chef.delete_environment(action.chef_environment)
            case _ as unreachable:
                assert_never(unreachable)
        return Result.DONE, ""

    def _launch(self, action: LaunchNodes, declared: Environment | None) -> tuple[Result, str]:
        if declared is None:
            raise Stalled(f"{action.environment} is not declared", remedy="this is a defect: please report it")
        return Result.DONE, ", ".join(self.launcher.launch(action, self.first_boot(declared, action.declared)))

    def _terminate(self, actions: Sequence[TerminateNode]) -> None:
        asked = [
            TerminationAsked(instance_id=one.instance_id, environment=one.environment, cause=one.cause)
            for one in actions
        ]
        self.journal.record(self.clock.now(), *asked)  # first: a crash must not make the prune limit forget it
        self.cloud.terminate([one.instance_id for one in actions])


def _groups(actions: Sequence[Action]) -> list[list[Action]]:
    """Neighbours that one call can carry out together: terminations, stops, starts, and equal tag changes."""

    def key(numbered: tuple[int, Action]) -> tuple[str, object]:
        number, action = numbered
        match action:
            case TerminateNode() | StopNode() | StartNode():
                return action.name, ""
            case TagNode():
                return action.name, (tuple(sorted(action.set.items())), action.remove)
            case _:
                return "alone", number

    return [[action for _, action in group] for _, group in groupby(enumerate(actions), key=key)]


def _service(action: Action) -> str:
    in_place = TagNode | TerminateNode | StopNode | StartNode
    return "ec2" if isinstance(action, LaunchNodes | ReplayLaunch | ReplaceNode | in_place) else "chef"


def _hindrance(action: Action, hindrances: Mapping[RoleName | None, str]) -> str | None:
    if not isinstance(action, LaunchNodes | ReplaceNode | ReplayLaunch):
        return None
    return hindrances.get(None) or hindrances.get(action.role)


def _hinders(outcome: Outcome) -> Mapping[RoleName | None, str]:
    """Whose launches this keeps waiting, and why."""
    if outcome.result in (Result.DONE, Result.UNCHANGED):
        return {}
    match outcome.action:
        case EnsureChefEnvironment():
            return {None: "its Chef environment could not be made"}
        case EnsureChefRole(role=role):
            return {role: "its Chef role could not be made"}
        case TerminateNode(role=role, node=node):
            return {role: f"{node} could not be ended, and keeps its place"}
    return {}


def _changed(changed: bool) -> tuple[Result, str]:  # noqa: FBT001  the answer of a port, passed straight on
    return (Result.DONE, "") if changed else (Result.UNCHANGED, "")


def _failed(action: Action, result: Result, error: HivequeenError, *, needs_person: bool) -> Outcome:
    return Outcome(
        action=action,
        result=result,
        message=error.message,
        remedy=error.remedy,
        needs_person=needs_person,
        is_denied=isinstance(error, Denied),
        is_permanent=_is_permanent(action, error),
    )


def _is_permanent(action: Action, error: HivequeenError) -> bool:
    """A launch that EC2 refused for what it is, not for what is free, bought or known about us just now."""
    if not isinstance(action, LaunchNodes | ReplaceNode | ReplayLaunch) or not isinstance(error, Refused):
        return False
    if isinstance(error, Denied):
        return error.code in FORBIDDEN
    return not isinstance(error, NoCapacity | TokenSpent | QuotaReached)


def _skipped(action: Action, why: str) -> Outcome:
    return Outcome(action=action, result=Result.SKIPPED, message=why)
