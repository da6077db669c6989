"""What must hold whatever happens: each rule looks at one deed and at the truth, never at what the daemon believes.

A rule yields its evidence, one line for each breach. `judge` asks all of them about everything that any daemon does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from tests.simulation.deeds import Deed
from tests.simulation.rules import chef, holds, intents, limits, nodes
from tests.simulation.scene import Scene
from tests.simulation.wire import Call

Rule: TypeAlias = Callable[[Deed, Scene], Iterator[str]]

RULES: Final[dict[str, Rule]] = {
    "an intent precedes every creation": intents.intent_first,
    "at most one effective launch per intent": intents.one_launch_per_intent,
    "an unknown outcome is never treated as failed": intents.unknown_is_not_failed,
    "only what is declared is launched": nodes.launch_is_declared,
    "live nodes per role": nodes.live_nodes_per_role,
    "what is against the policy does not grow": nodes.policy_bounds_growth,
    "nodes sleep and wake by their schedule": nodes.power_follows_schedule,
    "never touch what lacks our tag": nodes.only_our_tag,
    "never terminate merely unseen nodes": nodes.never_the_unseen,
    "never terminate in-spec nodes": nodes.never_in_spec,
    "enough nodes keep serving": nodes.enough_serve,
    "a living node is never called gone": nodes.gone_is_gone,
    "a termination's cause is durable and true": limits.cause_is_true,
    "sweeps wait for an age": limits.sweeps_have_age,
    "terminations per hour": limits.nodes_per_hour,
    "teardowns per hour": limits.environments_per_hour,
    "history only moves forward": holds.history_moves_forward,
    "the owner alone writes": holds.owner_writes,
    "what is suspended or frozen is left alone": holds.left_alone,
    "what is protected stays": holds.protected_stays,
    "grace is waited for": holds.grace_is_waited_for,
    "nothing ends before its time": holds.nothing_ends_early,
    "the daemon removes only files whose time is over": holds.files_are_kept,
    "Chef objects of a node go only after it was seen terminated": chef.after_termination,
    "generated Chef objects go last, and only ours": chef.generated_go_last,
    "orphans in Chef go only with age": chef.orphans_have_age,
    "foreign Chef objects are never overwritten": chef.foreign_is_kept,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    rule: str
    evidence: str
    call: str = ""  # at which it happened

    def __str__(self) -> str:
        return f"{self.rule}: {self.evidence}" + (f" (at call {self.call})" if self.call else "")


def judge(deed: Deed, scene: Scene, call: Call) -> list[Violation]:
    found = [
        Violation(rule=name, evidence=evidence, call=str(call))
        for name, rule in RULES.items()
        for evidence in rule(deed, scene)
    ]
    scene.note(deed)
    return found
