"""What is told or sent must not hold a secret: everything that leaves the daemon is searched for the planted ones."""

import logging
from collections.abc import Iterator

from reconciler.report.logs import JsonLines
from tests.simulation.daemon import PASSWORD
from tests.simulation.invariants import Violation
from tests.simulation.machines import PLANTED
from tests.simulation.world import SimulatedWorld

SECRETS = (PASSWORD, PLANTED, "PRIVATE KEY")


class Listener(logging.Handler):
    """Keeps the lines that the daemon logs, as they are written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def leaks(world: SimulatedWorld, logged: list[str]) -> Iterator[Violation]:
    told = {
        "log": logged,
        "event": [str(event) for event in world.daemon.journal.told],
        "condition": [str(condition) for condition in world.daemon.journal.conditions()],
        "metric": [world.daemon.metrics.render().decode()] if world.daemon.metrics is not None else [],
        "tag": [str(dict(one.tags)) for one in world.living()],
        "claim": [str(world.chef._claim)],
        "user-data": sorted({machine.parameters.user_data for machine in world.ledger.machines.values()}),
        "Chef object": [str(one.default_attributes) for one in world.chef.stored_roles.values()],
    }
    for kind, texts in told.items():
        for text in texts:
            for secret in SECRETS:
                if secret in text:
                    yield Violation(rule="no secret is told", evidence=f"{kind}: …{secret}… in {text[:300]}")
