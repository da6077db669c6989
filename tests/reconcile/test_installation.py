"""What concerns the installation as a whole: its account, its claim, and environments side by side."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from reconciler.model.memory import LaunchParameters
from reconciler.model.names import InstanceId, IntentToken
from reconciler.model.observed import ChefRole
from reconciler.model.plan import Guard
from reconciler.settings import AwsSettings
from tests.fakes.chef import FakeChefServer
from tests.fakes.cloud import FakeCloud
from tests.reconcile.test_holds import blocked
from tests.reconcile.world import PRODUCTION, World


def test_another_account_than_the_settings_name_is_refused_before_anything_is_read(world: World) -> None:
    world.change_settings(aws=AwsSettings(region="us-east-1", account_id="999999999999"))
    world.commit(production=PRODUCTION)
    done = world.reconcile()
    (failure,) = done.failures
    assert failure.needs_person
    assert "123456789012" in failure.message
    assert "aws.account_id" in failure.remedy
    assert world.cloud.calls == {"GetCallerIdentity": 1}
    assert world.chef.writes == 0


@pytest.mark.parametrize(
    "difference",
    [
        {"installation": "other"},
        {"account": "999999999999"},
        {"region": "eu-west-1"},
        {"repository": "/srv/other.git"},
        {"branch": "other"},
        {"path": "elsewhere"},
    ],
    ids=lambda difference: next(iter(difference)),
)
def test_a_claim_that_differs_in_anything_is_somebody_elses(world: World, difference: dict[str, str]) -> None:
    world.commit(production=PRODUCTION)
    world.settle()
    world.claim_elsewhere(**difference)
    world.forget_calls()
    world.commit(staging=PRODUCTION)
    done = world.reconcile()
    assert blocked(done, Guard.NOT_OWNER)
    assert (world.cloud.writes, world.chef.writes) == (0, 0)


def test_a_password_in_the_repositorys_address_does_not_reach_the_claim(world: World) -> None:
    url = "https://bot:secret@git.example.com/envs.git"
    world.change_settings(repository=replace(world.settings.repository, url=url))
    world.commit(production=PRODUCTION)
    world.settle()
    claim = world.chef.claim()
    assert claim is not None
    assert claim.repository == "https://git.example.com/envs.git"


class BrokenChefServer(FakeChefServer):
    """Meets a defect of ours in one environment."""

    def put_role(self, role: ChefRole) -> bool:
        if role.name.startswith("bad-"):
            raise RuntimeError("a defect")
        return super().put_role(role)


def test_a_defect_met_in_one_environment_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.chef = BrokenChefServer()
    world.restart()
    world.commit(bad=PRODUCTION, good=PRODUCTION)
    done = world.reconcile()
    assert world.counts() == {"good/web": 4, "good/worker": 2}
    (failure,) = done.failures
    assert (failure.environment, failure.message) == ("bad", "a defect: RuntimeError: a defect")
    assert "Traceback" in caplog.text
    assert world.journal.recall(world.clock.now()).backoffs.keys() == {"bad"}


class MeetingCloud(FakeCloud):
    """Launches of several environments must be under way at once, or none ends."""

    met: threading.Barrier

    def run_instances(self, token: IntentToken, parameters: LaunchParameters) -> Sequence[InstanceId]:
        self.met.wait()
        return super().run_instances(token, parameters)


def test_environments_converge_side_by_side(world: World) -> None:
    cloud = world.cloud = MeetingCloud(clock=world.clock)
    cloud.met = threading.Barrier(3, timeout=10)  # breaks, and raises, if fewer come
    world.change_settings(concurrency=3)
    single = PRODUCTION.replace("count: 4", "count: 1").replace("count: 2", "count: 0")
    world.commit(one=single, two=single, three=single)
    done = world.reconcile()
    assert done.failures == ()
    assert world.counts() == {"one/web": 1, "three/web": 1, "two/web": 1}
