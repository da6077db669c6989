"""One environment's plan, carried out. Its trouble stays its own: it is returned as outcomes, never raised."""

from collections.abc import Callable, Sequence
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
        next pass looks first. A failure also ends what depends on it: a role's launches wait for its Chef role.
        """
        outcomes: list[Outcome] = []
        without_chef: set[RoleName | None] = set()  # roles that must not launch; None: the whole environment
        in_trouble: set[str] = set()  # "ec2", "chef"
        for group in _groups(plan.actions):
            service = _service(group[0])
            if service in in_trouble:
                done = [_skipped(action, f"{service} is in trouble; see what came before") for action in group]
                outcomes.extend(done)
                without_chef.update(_failed_chef(outcome) for outcome in done if _is_failed_chef(outcome))
            elif self.is_stopping():
                outcomes.extend(_skipped(action, "the pass ended before it") for action in group)
            elif (waits_for := _dependency(group[0], without_chef)) is not None:
                outcomes.extend(_skipped(action, waits_for) for action in group)
            else:
                done = self._attempt(group, declared)
                outcomes.extend(done)
                if any(outcome.result == Result.UNKNOWN for outcome in done):
                    in_trouble.add(service)
                without_chef.update(_failed_chef(outcome) for outcome in done if _is_failed_chef(outcome))
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


def _dependency(action: Action, without_chef: set[RoleName | None]) -> str | None:
    if isinstance(action, LaunchNodes | ReplaceNode | ReplayLaunch) and ({None, action.role} & without_chef):
        return "its Chef role or environment could not be made"
    return None


def _is_failed_chef(outcome: Outcome) -> bool:
    is_chef = isinstance(outcome.action, EnsureChefEnvironment | EnsureChefRole)
    return is_chef and outcome.result not in (Result.DONE, Result.UNCHANGED)


def _failed_chef(outcome: Outcome) -> RoleName | None:
    return outcome.action.role if isinstance(outcome.action, EnsureChefRole) else None


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
