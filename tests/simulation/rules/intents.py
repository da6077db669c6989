"""What is created was written down before, and what may have been created is not written off."""

from collections.abc import Iterator

from reconciler.model.facts import IntentEnded
from reconciler.model.memory import IntentState
from reconciler.model.names import EnvironmentName, IntentToken, split_node_name
from tests.simulation.deeds import ChefWrite, ClientMade, Deed, Launch, Recorded
from tests.simulation.scene import Scene


def intent_first(deed: Deed, scene: Scene) -> Iterator[str]:
    """Of instances the journal holds token and parameters; of Chef roles and environments that they are declared; of
    clients whose key it is."""
    memory = scene.journal.memory
    match deed:
        case Launch(token=token, parameters=parameters):
            intent = memory.intents.get(IntentToken(token))
            if intent is None or intent.state is not IntentState.OPEN:
                yield f"RunInstances with {token}, of which the journal says {intent.state if intent else 'nothing'}"
            elif intent.parameters != parameters:
                yield f"RunInstances with {token} and other parameters than the journal holds"
        case ChefWrite(wanted=wanted, is_new=True):
            owner = scene.owner_of(wanted.default_attributes)
            if EnvironmentName(owner) not in memory.environments:
                yield f"{wanted.name} is created, and the journal knows no environment {owner!r}"
        case ClientMade(name=name, public_key=key, is_new=True):
            parts = split_node_name(name)
            record = memory.nodes.get(parts[2]) if parts is not None else None
            if record is None or record.public_key != key:
                yield f"client {name} is created, and the journal has no such node with this key"
        case _:
            return


def one_launch_per_intent(deed: Deed, scene: Scene) -> Iterator[str]:
    if isinstance(deed, Launch) and deed.made:
        before = scene.ledger.tokens.get(deed.token, set())
        if before or len(deed.made) > deed.parameters.count:
            yield f"{deed.token} asked for {deed.parameters.count}, made {sorted(before)} before and {deed.made} now"


def unknown_is_not_failed(deed: Deed, scene: Scene) -> Iterator[str]:
    """An intent ends as refused only if it made nothing, and as closed only if nothing of it lives that shows."""
    if not isinstance(deed, Recorded):
        return
    for fact in deed.facts:
        if not isinstance(fact, IntentEnded):
            continue
        made = [scene.ledger.machines[one] for one in scene.ledger.tokens.get(fact.token, ())]
        if fact.state is IntentState.REFUSED and made:
            yield f"{fact.token} is called refused, and made {[one.instance_id for one in made]}"
        living = [one.instance_id for one in made if one.ended_at is None and not one.was_retagged]
        if fact.state is IntentState.CLOSED and living:
            yield f"{fact.token} is closed, and {living} of it live"
