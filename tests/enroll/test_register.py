"""Registrations: ours are admitted once and for one key; everything else leaves Chef untouched, counted and told."""

from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.enroll.answers import Answer
from reconciler.enroll.verdicts import Refusal
from reconciler.errors import Denied, SettingsError, Transient
from reconciler.model import tags
from reconciler.model.facts import NodeGone, NodeReady, SightedAgain, Suspended
from reconciler.model.memory import Suspension
from reconciler.model.names import ChefName, EnvironmentName, InstanceId
from reconciler.sandbox.authority import IdentityAuthority, public_pem
from reconciler.settings import Mode
from tests.enroll.world import AWS, ENVIRONMENT, SERVER_URL, Form, World, form_of, settings_for
from tests.fakes.clock import BEGAN

DEADLINE_S = 1800


def assert_refused(world: World, answer: Answer, reason: str) -> None:
    """No, said to the sender, counted, in the history, and nothing was created."""
    assert (answer.status, answer.body) == (HTTPStatus.FORBIDDEN, f"refused={reason}\n")
    assert world.refused == {reason: 1}
    assert [event.kind for event in world.events][-1] in ("RegistrationRefused", "IdentityReused")
    assert reason in world.events[-1].message


def assert_deferred(world: World, answer: Answer, reason: str) -> None:
    assert (answer.status, answer.body) == (HTTPStatus.SERVICE_UNAVAILABLE, f"deferred={reason}\n")
    assert answer.retry_after_s == 1
    assert world.deferred == {reason: 1}
    assert world.clients == {}


def test_a_node_of_ours_becomes_a_chef_client_with_its_own_key(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    answer = world.register(world.form(node, key))
    name = world.record(node).name
    assert answer.status is HTTPStatus.OK
    assert answer.body == (
        f"node_name={name}\nchef_server_url={SERVER_URL}\nchef_environment=checkout\nrun_list=role[checkout-web]\n"
    )
    assert world.clients == {name: public_pem(key)}
    assert world.record(node).public_key == public_pem(key)
    assert world.record(node).registered_at == world.clock.now()
    assert world.woken == [ENVIRONMENT]
    assert [event.kind for event in world.events] == ["NodeRegistered"]
    assert not world.refused


def test_the_chef_environment_is_the_one_that_the_file_names(world: World, key: RSAPrivateKey) -> None:
    world.chef_environments[ENVIRONMENT] = ChefName("legacy_Production")
    assert "chef_environment=legacy_Production\n" in world.register(world.form(world.launch(), key)).body


def test_the_same_key_gets_the_same_answer_again(world: World, key: RSAPrivateKey) -> None:
    form = world.form(world.launch(), key)
    first = world.register(form)
    world.clock.advance(60)
    assert world.register(form) == first
    assert [event.kind for event in world.events] == ["NodeRegistered"]


def test_a_ready_node_may_register_again_long_after_its_deadline(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    first = world.register(world.form(node, key))
    world.journal.record(world.clock.now(), NodeReady(instance_id=node))
    world.clock.advance(DEADLINE_S * 10)
    assert world.register(world.form(node, key)) == first


def test_the_ready_tag_alone_lifts_the_deadline(world: World, key: RSAPrivateKey) -> None:
    node = world.launch(tag_changes={tags.READY: "2026-11-01T12:00:00Z"})
    world.clock.advance(DEADLINE_S)
    assert world.register(world.form(node, key)).status is HTTPStatus.OK


def test_another_key_of_the_same_instance_is_refused(
    world: World, key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    node = world.launch()
    world.register(world.form(node, key))
    before = world.clients
    assert_refused(world, world.register(world.form(node, other_key)), "identity_reused")
    assert world.events[-1].kind == "IdentityReused"
    assert world.events[-1].node == world.record(node).name
    assert world.clients == before
    assert world.record(node).deferred_at is None


def test_of_two_keys_that_race_the_journals_first_wins(
    world: World, key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    """The other registers between this one's look at the journal and its own binding."""
    node = world.launch()

    def lose_the_race() -> None:
        world.journal.register(node, public_pem(other_key), world.clock.now())

    world.before_writing = lose_the_race
    assert_refused(world, world.register(world.form(node, key)), "identity_reused")
    assert world.clients == {}


def test_a_node_that_is_forgotten_meanwhile_is_put_off(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.before_writing = lambda: world.forget(node)
    assert_deferred(world, world.register(world.form(node, key)), "not_recorded")


def test_a_chef_client_with_another_key_is_left_alone(
    world: World, key: RSAPrivateKey, other_key: RSAPrivateKey
) -> None:
    node = world.launch()
    name = world.record(node).name
    world.chef.create_client(name, public_pem(other_key))
    assert_refused(world, world.register(world.form(node, key)), "client_exists")
    assert world.clients == {name: public_pem(other_key)}


def test_a_chef_client_with_the_same_key_is_success(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.chef.create_client(world.record(node).name, public_pem(key))
    assert world.register(world.form(node, key)).status is HTTPStatus.OK


# --- forged ----------------------------------------------------------------------------------------------------------


def test_a_document_that_another_authority_signed_is_refused(world: World, key: RSAPrivateKey) -> None:
    form = form_of(world.launched(world.launch()), key, authority=IdentityAuthority(BEGAN))
    assert_refused(world, world.register(form), "signature")
    assert world.clients == {}


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b"\xff", b'{"accountId": 1}', b"[" * 4000, b'{"a":1,"a":2}'])
def test_a_signed_document_that_is_none_is_refused(world: World, key: RSAPrivateKey, document: bytes) -> None:
    form = Form(document=document, signature=AWS.sign(document), public_key=public_pem(key).encode(), proof=b"")
    assert_refused(world, world.register(form), "malformed")


def test_an_instance_id_that_cannot_be_one_is_refused(world: World, key: RSAPrivateKey) -> None:
    form = form_of(replace(world.launched(world.launch()), instance_id="i-../../etc"), key)
    assert_refused(world, world.register(form), "malformed")


def test_a_weak_key_is_refused(world: World) -> None:
    weak = generate_private_key(public_exponent=65537, key_size=1024)
    assert_refused(world, world.register(world.form(world.launch(), weak)), "key")


def test_somebody_elses_public_key_is_refused(world: World, key: RSAPrivateKey, other_key: RSAPrivateKey) -> None:
    mine = world.form(world.launch(), key)
    form = Form(
        document=mine.document,
        signature=mine.signature,
        public_key=public_pem(other_key).encode(),
        proof=mine.proof,
    )
    assert_refused(world, world.register(form), "proof")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=st.data())
def test_any_single_changed_byte_is_refused(world: World, key: RSAPrivateKey, data: st.DataObject) -> None:
    if not world.cloud.everything():
        world.launch()
    node = world.cloud.everything()[0].instance_id
    form = world.form(node, key)
    name = data.draw(st.sampled_from(["document", "signature", "public_key", "proof"]))
    part: bytes = getattr(form, name)
    position = data.draw(st.integers(0, len(part) - 1))
    change = data.draw(st.integers(1, 255))
    changed = part[:position] + bytes([part[position] ^ change]) + part[position + 1 :]
    forged = Form(**{n: getattr(form, n) for n in ("document", "signature", "public_key", "proof")} | {name: changed})
    assert world.register(forged).status is HTTPStatus.FORBIDDEN
    assert world.clients == {}
    assert world.record(node).public_key is None


# --- foreign ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"account_id": "999999999999"}, "account"),
        ({"region": "eu-west-1"}, "region"),
        ({"image_id": "ami-0fffffffffffffff0"}, "image"),
        ({"private_ip": "10.99.99.99"}, "address"),
    ],
)
def test_a_document_that_does_not_fit_its_instance_is_refused(
    world: World, key: RSAPrivateKey, changes: dict[str, str], reason: str
) -> None:
    assert_refused(world, world.register(world.form(world.launch(), key, **changes)), reason)
    assert world.clients == {}


def test_an_instance_of_somebody_else_is_refused(world: World, key: RSAPrivateKey) -> None:
    intent = world.open_intent(tag_changes={tags.FLEET: "another"})
    (stranger,) = world.cloud.launch_by_hand(intent.parameters)
    assert_refused(world, world.register(world.form(stranger, key)), "foreign")


def test_an_instance_that_only_wears_our_tags_is_refused(world: World, key: RSAPrivateKey) -> None:
    """By hand, with the intent of a launch of ours that yielded another instance."""
    real = world.launch()
    (stranger,) = world.cloud.launch_by_hand(world.cloud.parameters_of(real))
    assert_refused(world, world.register(world.form(stranger, key)), "foreign")


def test_an_instance_with_an_invented_intent_is_refused(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.cloud.retag(node, {tags.INTENT: "invented"})
    assert_refused(world, world.register(world.form(node, key)), "foreign")


def test_another_fleets_tag_on_our_instance_is_refused(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.cloud.retag(node, {tags.FLEET: "another"})
    assert_refused(world, world.register(world.form(node, key)), "foreign")


def test_a_terminated_instance_is_refused(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    form = world.form(node, key)
    world.cloud.terminate([node])
    assert_refused(world, world.register(form), "terminated")
    assert world.clients == {}


def test_an_instance_that_was_seen_gone_is_refused(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.journal.record(world.clock.now(), NodeGone(instance_id=node))
    assert_refused(world, world.register(world.form(node, key)), "terminated")


# --- late ------------------------------------------------------------------------------------------------------------


def test_a_node_is_late_from_its_deadline_on(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.clock.advance(DEADLINE_S)
    assert_refused(world, world.register(world.form(node, key)), "late")
    assert world.clients == {}


def test_a_node_is_in_time_until_then(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.clock.advance(DEADLINE_S - 1)
    assert world.register(world.form(node, key)).status is HTTPStatus.OK


def test_being_put_off_pauses_the_deadline(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.chef.fail_next("create_client", Transient("chef is down"))
    world.clock.advance(DEADLINE_S - 1)
    assert_deferred(world, world.register(world.form(node, key)), "chef_unavailable")
    assert world.record(node).deferred_at == world.clock.now()
    world.clock.advance(DEADLINE_S - 1)
    assert world.register(world.form(node, key)).status is HTTPStatus.OK


def test_a_time_of_failed_reads_pauses_the_deadline(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.clock.advance(DEADLINE_S - 1)
    world.journal.record(world.clock.now(), SightedAgain())
    world.clock.advance(DEADLINE_S - 1)
    assert world.register(world.form(node, key)).status is HTTPStatus.OK


# --- not yet ---------------------------------------------------------------------------------------------------------


def test_an_instance_that_ec2_does_not_show_yet_is_put_off(world: World, key: RSAPrivateKey) -> None:
    world.cloud.visibility_lag_s = 10
    node = world.launch()
    form = world.form(node, key)
    assert_deferred(world, world.register(form), "not_visible")
    assert world.record(node).deferred_at == world.clock.now()
    world.clock.advance(10)
    assert world.register(form).status is HTTPStatus.OK


def test_an_instance_whose_launch_was_not_answered_is_put_off_until_a_pass_has_seen_it(
    world: World, key: RSAPrivateKey
) -> None:
    intent = world.open_intent()
    (node,) = world.cloud.run_instances(intent.token, intent.parameters)
    assert_deferred(world, world.register(world.form(node, key)), "not_recorded")


def test_our_instance_without_its_tags_is_put_off(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.cloud.retag(node, {tags.FLEET: None})
    assert_deferred(world, world.register(world.form(node, key)), "not_visible")


def test_an_instance_that_ec2_shows_as_stopped_is_put_off(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    form = world.form(node, key)
    world.cloud.stop_by_hand(node)
    assert_deferred(world, world.register(form), "not_visible")


@pytest.mark.parametrize("operation", ["DescribeInstances", "GetCallerIdentity"])
def test_while_ec2_is_unreachable_nodes_are_put_off(world: World, key: RSAPrivateKey, operation: str) -> None:
    node = world.launch()
    form = world.form(node, key)
    world.cloud.fail(operation, Transient("unreachable"))
    assert_deferred(world, world.register(form), "cloud_unavailable")


@pytest.mark.parametrize("error", [Transient("down"), Denied("no permission", code="403")])
def test_while_chef_will_not_make_clients_nodes_are_put_off(
    world: World, key: RSAPrivateKey, error: Transient | Denied
) -> None:
    node = world.launch()
    world.chef.fail_next("create_client", error)
    assert_deferred(world, world.register(world.form(node, key)), "chef_unavailable")
    assert world.register(world.form(node, key)).status is HTTPStatus.OK


@pytest.mark.parametrize("environment", [None, ENVIRONMENT])
def test_while_suspended_nodes_are_put_off(world: World, key: RSAPrivateKey, environment: str | None) -> None:
    node = world.launch()
    suspension = Suspension(
        environment=ENVIRONMENT if environment else None,
        reason="Friday",
        actor="ops",
        since=world.clock.now(),
        until=world.clock.now() + timedelta(minutes=10),
    )
    world.journal.record(world.clock.now(), Suspended(suspension=suspension))
    assert_deferred(world, world.register(world.form(node, key)), "suspended")
    assert world.record(node).public_key is None
    world.clock.advance(600)
    assert world.register(world.form(node, key)).status is HTTPStatus.OK


def test_another_environments_suspension_is_nothing_to_it(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    suspension = Suspension(
        environment=EnvironmentName("staging"), reason="Friday", actor="ops", since=world.clock.now(), until=None
    )
    world.journal.record(world.clock.now(), Suspended(suspension=suspension))
    assert world.register(world.form(node, key)).status is HTTPStatus.OK


def test_a_daemon_that_must_not_write_puts_nodes_off(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.why_not = "NotOwner"
    assert_deferred(world, world.register(world.form(node, key)), "read_only")
    assert world.record(node).public_key is None


def test_a_daemon_that_only_observes_puts_nodes_off(tmp_path: Path, key: RSAPrivateKey) -> None:
    world = World(tmp_path, settings=settings_for(tmp_path, mode=Mode.OBSERVE))
    node = world.launch()
    assert_deferred(world, world.register(world.form(node, key)), "read_only")
    world.close()


def test_before_the_first_pass_nodes_are_put_off(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.chef_environments.clear()
    assert_deferred(world, world.register(world.form(node, key)), "read_only")


def test_a_refused_machine_is_not_helped_by_a_suspension(world: World, key: RSAPrivateKey) -> None:
    """Else anybody could keep a deadline from passing."""
    world.why_not = "NotOwner"
    node = world.launch()
    assert_refused(world, world.register(world.form(node, key, region="eu-west-1")), "region")
    assert world.record(node).deferred_at is None


@pytest.mark.parametrize("operation", ["node", "intent", "recall", "register"])
def test_while_the_journal_cannot_be_used_nodes_are_put_off(world: World, key: RSAPrivateKey, operation: str) -> None:
    form = world.form(world.launch(), key)
    world.journal.fail_next(operation, Transient("database is locked"))
    assert_deferred(world, world.register(form), "journal_unavailable")


def test_an_event_or_a_deferral_that_cannot_be_kept_changes_no_answer(world: World, key: RSAPrivateKey) -> None:
    node = world.launch()
    world.why_not = "NotOwner"
    world.journal.fail_next("record", Transient("database is locked"))
    assert world.register(world.form(node, key)).status is HTTPStatus.SERVICE_UNAVAILABLE
    world.why_not = None
    world.journal.fail_next("append", Transient("database is locked"))
    assert world.register(world.form(node, key)).status is HTTPStatus.OK
    world.journal.fail_next("append", Transient("database is locked"))
    assert world.register(world.form(node, key, region="eu-west-1")).status is HTTPStatus.FORBIDDEN


# --- floods ----------------------------------------------------------------------------------------------------------


def test_a_flood_of_refusals_is_counted_but_told_once_a_minute(world: World, key: RSAPrivateKey) -> None:
    forged = form_of(world.launched(world.launch()), key, authority=IdentityAuthority(BEGAN))
    for _ in range(5):
        world.register(forged)
    assert world.refused == {"signature": 5}
    assert len(world.events) == 1
    world.clock.advance(60)
    world.register(forged)
    assert len(world.events) == 2


def test_the_memory_of_what_was_told_is_bounded(world: World) -> None:
    for number in range(1030):
        world.refusals.note(Refusal.LATE, "flood", at=world.clock.now(), instance_id=InstanceId(f"i-{number:017x}"))
    assert len(world.refusals._told_at) <= 1024


def test_a_server_address_that_could_mean_anything_to_a_shell_is_an_error_of_the_settings(
    tmp_path: Path, key: RSAPrivateKey
) -> None:
    world = World(tmp_path, settings=settings_for(tmp_path, server_url="https://chef/$(reboot)"))
    node = world.launch()
    with pytest.raises(SettingsError, match="chef_server_url"):
        world.register(world.form(node, key))
    world.close()
