"""Sees every call of one daemon, turns those that change something into deeds, and has the invariants judge them."""

from collections.abc import Collection
from typing import Any

from reconciler.errors import Denied, HivequeenError, Refused
from reconciler.model.memory import LaunchParameters
from reconciler.model.names import InstanceId
from reconciler.model.observed import InstanceState
from tests.simulation.deeds import (
    ChefRemoval,
    ChefWrite,
    ClientMade,
    Deed,
    FileRemoved,
    Launch,
    Recorded,
    Termination,
    Touch,
)
from tests.simulation.invariants import Violation, judge
from tests.simulation.scene import Scene
from tests.simulation.wire import Call

_REMOVALS = {
    "delete_node": "stored_nodes",
    "delete_client": "stored_clients",
    "delete_role": "stored_roles",
    "delete_environment": "stored_environments",
}
_TOUCHES = ("set_tags", "remove_tags", "stop", "start")


class Witness:
    def __init__(self, scene: Scene, violations: list[Violation]) -> None:
        self._scene = scene
        self._violations = violations

    def knows_better(self, call: Call, arguments: tuple[Any, ...], error: HivequeenError) -> bool:
        """A token that launched is answered with its instances, whatever is out of room by now; permissions come first."""
        is_about_room = isinstance(error, Refused) and not isinstance(error, Denied)
        return call.operation == "run_instances" and is_about_room and bool(self._scene.ledger.tokens.get(arguments[0]))

    def before(self, call: Call, arguments: tuple[Any, ...]) -> Any:
        """What must be known of the world before it changes; most deeds are judged here."""
        deed = self._deed_before(call, arguments)
        if deed is not None:
            self._judge(call, deed)
        if call.operation in ("run_instances", "terminate"):
            return {one.instance_id for one in self._scene.cloud.alive()}
        return None

    def after(self, call: Call, arguments: tuple[Any, ...], before: Any) -> None:
        if call.operation == "run_instances":
            token, parameters = arguments
            made = tuple(sorted({one.instance_id for one in self._scene.cloud.alive()} - before))
            self._judge(call, self._launch(token, parameters, made))
        elif call.operation == "terminate":
            left = {one.instance_id for one in self._scene.cloud.alive()}
            asked = tuple(sorted(arguments[0]))
            ended = tuple(one for one in asked if one in before - left)
            for instance_id in ended:
                self._scene.ledger.machines[instance_id].ended_at = self._scene.now
        elif call.service == "cloud" and call.operation in ("stop", "start"):
            self._note_power(arguments[0])
        elif call.service == "repository" and call.operation == "remove":
            tip = self._scene.repository.tip
            if tip is not None and tip not in self._scene.ledger.revisions:
                self._judge(call, FileRemoved(path=arguments[0], revision=tip))
        elif call.service == "journal" and call.operation == "record":
            self._judge(call, Recorded(facts=arguments[1:]))

    def _note_power(self, asked: Collection[InstanceId]) -> None:
        for instance_id in asked:
            live, machine = self._scene.instance(instance_id), self._scene.ledger.machines[instance_id]
            is_off = live is not None and live.state in (InstanceState.STOPPING, InstanceState.STOPPED)
            machine.stopped_at = (machine.stopped_at or self._scene.now) if is_off else None

    def _launch(self, token: str, parameters: LaunchParameters, made: tuple[InstanceId, ...]) -> Launch:
        self._scene.note_machines(made, parameters, token=token)
        return Launch(token=token, parameters=parameters, made=made)  # type: ignore[arg-type]  # a token as the port has it

    def _deed_before(  # noqa: PLR0911  one case for each kind of deed
        self, call: Call, arguments: tuple[Any, ...]
    ) -> Deed | None:
        chef = self._scene.chef
        match call.operation:
            case "terminate":
                asked = tuple(sorted(arguments[0]))
                living = {one.instance_id for one in self._scene.cloud.alive()}
                return Termination(asked=asked, ended=tuple(one for one in asked if one in living))
            case operation if call.service == "cloud" and operation in _TOUCHES:
                return Touch(operation=operation, asked=tuple(sorted(arguments[0])))
            case "put_role":
                return ChefWrite(wanted=arguments[0], is_new=arguments[0].name not in chef.stored_roles)
            case "put_environment":
                return ChefWrite(wanted=arguments[0], is_new=arguments[0].name not in chef.stored_environments)
            case "create_client":
                name, key = arguments
                return ClientMade(name=name, public_key=key, is_new=name not in chef.stored_clients)
            case operation if operation in _REMOVALS:
                stored = getattr(chef, _REMOVALS[operation])
                kind = operation.removeprefix("delete_")
                return ChefRemoval(kind=kind, name=arguments[0], existed=arguments[0] in stored)
        return None

    def _judge(self, call: Call, deed: Deed) -> None:
        self._violations.extend(judge(deed, self._scene, call))
