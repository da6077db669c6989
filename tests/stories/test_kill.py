"""kill -9 at random moments, fifty times, of a real daemon against EC2 and Chef over HTTP."""

import gc
import random
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from reconciler.adapters.chef import PyChefServer
from reconciler.adapters.clock import SystemClock
from reconciler.model.names import split_node_name
from reconciler.settings import load
from tests.reconcile.world import CHECKOUT, PRODUCTION
from tests.stories.installation import Installation

KILLS: Final = 25  # of each of the two
MOMENT_S_MAX: Final = 1.2  # after a push: by then the daemon has done what it can do at once
QUICK: Final = {"pending_s": 0.1, "boot_s": 0.1, "run_s": 0.05}

SMALL: Final = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 0")
WIDE: Final = CHECKOUT.replace("web: {count: 1}", "web: {count: 3}")
OLD: Final = "ami-0123456789abcdef0"
NEW: Final = "ami-0fedcba9876543210"
REBUILT: Final = WIDE.replace("worker: {count: 1}", f"worker: {{count: 1, image: {NEW}}}")
NARROW: Final = REBUILT.replace("web: {count: 3}", "web: {count: 1}")

# One life of an environment: the file, its nodes in the end by role and image, and how many launches that takes.
LIFE: Final[tuple[tuple[str | None, Mapping[tuple[str, str], int], int], ...]] = (
    (CHECKOUT, {("checkout-web", OLD): 1, ("checkout-worker", OLD): 1}, 2),
    (WIDE, {("checkout-web", OLD): 3, ("checkout-worker", OLD): 1}, 2),
    (REBUILT, {("checkout-web", OLD): 3, ("checkout-worker", NEW): 1}, 1),  # one extra, then the old one goes
    (NARROW, {("checkout-web", OLD): 1, ("checkout-worker", NEW): 1}, 0),
    (None, {}, 0),
)
ALWAYS: Final = {("production-web", OLD): 1}


@pytest.mark.slow
# Python before 3.13 leaves a socket open that was reset between its connecting and its handshake, as those of booting
# nodes are when the daemon is killed.
@pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.xdist_group(f"kills-{seed}")) for seed in (20261123, 4711)]
)
def test_killed_at_any_moment_it_ends_in_the_right_state_with_no_launch_too_many(tmp_path: Path, seed: int) -> None:
    moments = random.Random(seed)
    with Installation(tmp_path, **QUICK) as installation:
        installation.source.push({"production.yml": SMALL})
        installation.start()
        installation.until(lambda: _is_tidy(installation, ALWAYS), "production runs")
        launches = 1
        for number in range(KILLS):
            file, nodes, more = LIFE[number % len(LIFE)]
            wanted = {**ALWAYS, **nodes}
            launches += more
            files = {"production.yml": SMALL} | ({"checkout.yml": file} if file else {})
            installation.source.push(files)
            threading.Event().wait(moments.uniform(0, MOMENT_S_MAX))  # the moment is what is tried here
            installation.kill()
            installation.start()
            installation.until(
                partial(_is_tidy, installation, wanted), f"kill {number} of seed {seed}: {wanted} and nothing else"
            )
            assert len(installation.launched()) == launches, f"kill {number} of seed {seed}"
    gc.collect()  # here, where such sockets are expected


def _is_tidy(installation: Installation, wanted: Mapping[tuple[str, str], int]) -> bool:
    """Exactly these nodes run, and Chef holds what belongs to them and nothing of those that are gone."""
    running = [one for one in installation.launched() if one["state"] in ("pending", "running")]
    if Counter((one["tags"]["Name"], one["image_id"]) for one in running) != wanted:
        return False
    names = sorted(f"{one['tags']['Name']}-{one['instance_id'].removeprefix('i-')}" for one in running)
    environments = {name.split("-")[0] for name, _ in wanted}
    settings = load(installation.sandbox.settings)
    server = PyChefServer(
        settings=settings.chef, fleet=settings.fleet, clock=SystemClock(), count=lambda _service, _call, _result: None
    )
    with closing(server) as chef:
        return (
            sorted(name for name in chef.clients() if split_node_name(name) is not None) == names
            and sorted(name for name, node in chef.nodes().items() if node.ohai_time) == names
            and set(chef.roles()) == {f"{name}-{role}" for name in environments for role in ("web", "worker")}
            and set(chef.environments()) - {"_default"} == environments
        )
