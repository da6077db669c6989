"""What runs on the instances: they register with their own key, run Chef and report, as the first-boot script does."""

from functools import cache
from http import HTTPStatus

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from reconciler.enroll.register import Enrollment
from reconciler.enroll.report import FirstRuns
from reconciler.model.observed import Instance
from reconciler.sandbox.authority import new_key, sign
from reconciler.sandbox.ec2_account import Launched
from tests.enroll.world import Form, form_of
from tests.fakes.chef import FakeChefServer
from tests.fakes.clock import FakeClock

PLANTED = "hunter2-planted-secret"  # what a careless recipe prints; nobody may ever read it again
KEYS = 3  # making one takes longer than a whole simulated day


@cache
def _key(number: int) -> RSAPrivateKey:
    return new_key()


@cache
def _form(launched: Launched, number: int) -> Form:
    return form_of(launched, _key(number))


@cache
def _signature(content: bytes, number: int) -> bytes:
    return sign(_key(number), content)


def launched(instance: Instance, account: str) -> Launched:
    """As the machine's own metadata service knows it."""
    return Launched(
        instance_id=instance.instance_id,
        image_id=instance.image,
        instance_type=instance.instance_type,
        private_ip=instance.private_address or "",
        user_data="",
        account_id=account,
        region="us-east-1",
        launched_at=instance.launched_at,
    )


def key_number(instance: Instance) -> int:
    return int(instance.instance_id[-4:], 16) % KEYS


def register(instance: Instance, account: str, enrollment: Enrollment) -> dict[str, str] | None:
    """What the daemon answers; None: not now, or not at all."""
    form = _form(launched(instance, account), key_number(instance))
    answer = enrollment.register(
        document=form.document, signature=form.signature, public_key=form.public_key, proof=form.proof
    )
    if answer.status is not HTTPStatus.OK:
        return None
    return dict(line.partition("=")[::2] for line in answer.body.splitlines())


def run_chef(given: dict[str, str], chef: FakeChefServer, clock: FakeClock) -> None:
    """A successful run saves the node, with the key that only the node has: once its client is gone, it is refused."""
    if given["node_name"] not in chef.stored_clients:
        return
    chef.save_node(
        given["node_name"],
        chef_environment=given["chef_environment"],
        run_list=given["run_list"].split(","),
        ohai_time=clock.now().timestamp(),
    )


def report(instance: Instance, first_runs: FirstRuns, *, ok: bool) -> None:
    head = f"instance_id={instance.instance_id}\noutcome={'success' if ok else 'failure'}\nuser_data=0\n\n"
    log = "" if ok else f"db_password={PLANTED}\nFATAL: recipe[kickstarter] failed\n"
    content = (head + log).encode()
    first_runs.report(content=content, signature=_signature(content, key_number(instance)))
