"""Where new nodes go: spread across subnets, instance types in order of preference, offerings without capacity skipped."""

from collections import Counter
from collections.abc import Iterable, Sequence

from reconciler.model.actions import Batch
from reconciler.model.desired import Role
from reconciler.model.memory import Exhausted
from reconciler.model.observed import Node
from reconciler.model.rules import BATCH_SIZE_MAX


def place(role: Role, count: int, nodes: Iterable[Node], exhausted: Sequence[Exhausted]) -> tuple[Batch, ...]:
    """As few batches as an even spread allows, in the order of the declared subnets.

    Returns fewer than `count` nodes (none) only if every offering is exhausted now.
    """
    without_room = {(offering.instance_type, offering.subnet) for offering in exhausted}
    for instance_type in role.instance_types:
        subnets = [subnet for subnet in role.subnets if (instance_type, subnet) not in without_room]
        if subnets:
            break
    else:
        return ()
    load = Counter(dict.fromkeys(subnets, 0))
    load.update(subnet for node in nodes if (subnet := node.instance.subnet) is not None and subnet in load)
    new: Counter[str] = Counter()
    for _ in range(count):
        subnet = min(subnets, key=lambda name: (load[name], subnets.index(name)))
        load[subnet] += 1
        new[subnet] += 1
    return tuple(
        Batch(subnet=subnet, instance_type=instance_type, count=size)
        for subnet in subnets
        for size in _portions(new[subnet])
    )


def _portions(count: int) -> Iterable[int]:
    while count > 0:
        yield min(count, BATCH_SIZE_MAX)
        count -= BATCH_SIZE_MAX
