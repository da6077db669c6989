"""Which launches of unknown outcome a listing answers."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from reconciler.model.facts import IntentLaunched
from reconciler.model.memory import Intent, IntentState
from reconciler.model.names import InstanceId, IntentToken
from reconciler.model.rules import UNSEEN_GRACE
from reconciler.observe.reading import Reading


def settle_intents(reading: Reading) -> tuple[Mapping[IntentToken, Intent], tuple[IntentLaunched, ...]]:
    """An open intent whose instances are listed has launched: all of them, or, after a while, those that are left.

    "Launch more like this" copies the tag of the intent too: what bears another environment or role answers nothing.
    """
    seen: dict[IntentToken, list[InstanceId]] = defaultdict(list)
    for instance in reading.listed.values():
        known = reading.memory.intents.get(instance.intent) if instance.intent is not None else None
        if known is not None and (instance.environment, instance.role) == (known.environment, known.role):
            seen[known.token].append(instance.instance_id)
    intents, launched = dict(reading.memory.intents), []
    for token, intent in sorted(intents.items()):
        ids = tuple(sorted(seen.get(token, ())))
        last_attempt = intent.attempted_at or intent.opened_at
        is_whole = len(ids) >= intent.parameters.count or reading.at - last_attempt >= UNSEEN_GRACE
        was_closed = intent.state == IntentState.CLOSED  # too early, as it turns out
        if ids and (was_closed or (intent.state == IntentState.OPEN and is_whole)):
            launched.append(IntentLaunched(token=token, instance_ids=ids))
            intents[token] = replace(
                intent, state=IntentState.LAUNCHED, instance_ids=ids, settled_at=intent.settled_at or reading.at
            )
    return intents, tuple(launched)
