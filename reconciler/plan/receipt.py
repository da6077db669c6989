"""The receipt of a teardown: everything that was there, and when each thing was seen gone."""

from collections.abc import Iterator
from typing import assert_never

from reconciler.model.facts import TeardownItems
from reconciler.model.memory import Ending, Item, ItemKind
from reconciler.model.names import FleetId
from reconciler.model.observed import ObservedEnvironment
from reconciler.plan.chef import generated_environment, generated_roles
from reconciler.plan.context import Context


def receipt(here: ObservedEnvironment, ending: Ending, context: Context) -> Iterator[TeardownItems]:
    """What the journal does not know yet of this teardown."""
    present = items(here, context.rules.fleet)
    found = present.difference(ending.items)
    gone = {
        item
        for item, gone_at in ending.items.items()
        if gone_at is None and item not in present and _is_seen_gone(item, here, context)
    }
    if found or gone:
        yield TeardownItems(environment=here.name, found=found, gone=frozenset(gone))


def items(here: ObservedEnvironment, fleet: FleetId) -> frozenset[Item]:
    """All that we own of the environment and that is there."""
    return frozenset({*_of_nodes(here), *orphanable(here, fleet)})


def orphanable(here: ObservedEnvironment, fleet: FleetId) -> frozenset[Item]:
    """Its generated Chef objects: what may be there without an instance."""
    found = {Item(kind=ItemKind.CHEF_ROLE, name=role.name) for role in generated_roles(fleet, here).values()}
    environment = generated_environment(fleet, here)
    if environment is not None:
        found.add(Item(kind=ItemKind.CHEF_ENVIRONMENT, name=environment.name))
    return frozenset(found)


def _of_nodes(here: ObservedEnvironment) -> Iterator[Item]:
    for node in here.nodes:
        yield Item(kind=ItemKind.INSTANCE, name=node.instance_id)
        if node.chef is not None:
            yield Item(kind=ItemKind.CHEF_NODE, name=node.name)
        if node.has_client:
            yield Item(kind=ItemKind.CHEF_CLIENT, name=node.name)
    for departed in here.departed:
        if departed.has_chef_node:
            yield Item(kind=ItemKind.CHEF_NODE, name=departed.name)
        if departed.has_client:
            yield Item(kind=ItemKind.CHEF_CLIENT, name=departed.name)


def _is_seen_gone(item: Item, here: ObservedEnvironment, context: Context) -> bool:
    """Whether its absence proves anything.

    Of an instance the proof is that it departed, or that the journal has forgotten it, which comes after. What it left
    in Chef is read by name only from then on; while it lives, a search may lag.
    """
    living = [record for record in context.memory.nodes.values() if record.gone_at is None]
    match item.kind:
        case ItemKind.INSTANCE:
            departed = {str(one.instance_id) for one in here.departed}
            return item.name in departed or item.name not in {record.instance_id for record in living}
        case ItemKind.CHEF_NODE | ItemKind.CHEF_CLIENT:
            return item.name not in {record.name for record in living}
        case ItemKind.CHEF_ROLE | ItemKind.CHEF_ENVIRONMENT:
            return True
        case _ as unreachable:
            assert_never(unreachable)
