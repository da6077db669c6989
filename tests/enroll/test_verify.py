"""The verdict as a decision table and as a law: only what agrees in everything is accepted."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.enroll.identity import IdentityDocument
from reconciler.enroll.verdicts import Accepted, NotYet, Rejected, Verdict
from reconciler.enroll.verify import Home, Patience, verify
from reconciler.model import tags
from reconciler.model.deadlines import deadline
from reconciler.model.memory import Intent, IntentState, LaunchParameters, NodeRecord
from reconciler.model.names import (
    EnvironmentName,
    FleetId,
    ImageId,
    InstanceId,
    IntentToken,
    RoleName,
    node_name,
)
from reconciler.model.observed import Instance, InstanceState
from tests.fakes.clock import BEGAN

ENVIRONMENT, ROLE, TOKEN = EnvironmentName("checkout"), RoleName("web"), IntentToken("intent-1")
ID, IMAGE = InstanceId("i-0123456789abcdef0"), ImageId("ami-1")
BOOTSTRAP_S = 1800


@dataclass(frozen=True, kw_only=True)
class Case:
    """Everything that is looked at."""

    document: IdentityDocument
    public_key: str
    home: Home
    record: NodeRecord | None
    intent: Intent | None
    instance: Instance | None
    patience: Patience
    now: datetime

    def judge(self) -> Verdict:
        return verify(
            self.document,
            public_key=self.public_key,
            home=self.home,
            record=self.record,
            intent=self.intent,
            instance=self.instance,
            patience=self.patience,
            now=self.now,
        )


GOOD = Case(  # all is well
    document=IdentityDocument(
        account_id="123456789012",
        region="us-east-1",
        instance_id=ID,
        image_id=IMAGE,
        private_ip="10.0.0.7",
        pending_time="2026-11-01T12:00:00Z",
    ),
    public_key="its key",
    home=Home(fleet=FleetId("demo"), account="123456789012", region="us-east-1"),
    record=NodeRecord(
        instance_id=ID,
        environment=ENVIRONMENT,
        role=ROLE,
        name=node_name(ENVIRONMENT, ROLE, ID),
        intent=TOKEN,
        launched_at=BEGAN,
        seen_at=BEGAN,
    ),
    intent=Intent(
        token=TOKEN,
        environment=ENVIRONMENT,
        role=ROLE,
        parameters=LaunchParameters(
            image=IMAGE,
            instance_type="m7i.large",
            subnet="subnet-a",
            count=1,
            security_groups=(),
            instance_profile=None,
            key_name=None,
            root_volume_size_gib=None,
            root_volume_type=None,
            user_data="",
            tags=(),
        ),
        opened_at=BEGAN,
        state=IntentState.LAUNCHED,
        instance_ids=(ID,),
    ),
    instance=Instance(
        instance_id=ID,
        state=InstanceState.RUNNING,
        image=IMAGE,
        instance_type="m7i.large",
        subnet="subnet-a",
        security_groups=frozenset(),
        instance_profile=None,
        private_address="10.0.0.7",
        launched_at=BEGAN,
        tags={tags.FLEET: "demo", tags.INTENT: TOKEN},
    ),
    patience=Patience(bootstrap_s=BOOTSTRAP_S, sighted_again_at=None),
    now=BEGAN,
)


def document(**changes: str) -> Callable[[Case], Case]:
    return lambda case: replace(case, document=replace(case.document, **changes))  # type: ignore[arg-type]  # texts only


def record(**changes: object) -> Callable[[Case], Case]:
    return lambda case: (
        replace(case, record=replace(case.record, **changes)) if case.record else case  # type: ignore[arg-type]  # by name
    )


def intent(**changes: object) -> Callable[[Case], Case]:
    return lambda case: (
        replace(case, intent=replace(case.intent, **changes)) if case.intent else case  # type: ignore[arg-type]  # by name
    )


def instance(**changes: object) -> Callable[[Case], Case]:
    return lambda case: (
        replace(case, instance=replace(case.instance, **changes)) if case.instance else case  # type: ignore[arg-type]  # by name
    )


def retagged(**changes: str | None) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        if case.instance is None:
            return case
        merged = dict(case.instance.tags) | {f"hivequeen:{key}": value for key, value in changes.items()}
        kept = {key: value for key, value in merged.items() if value is not None}
        return replace(case, instance=replace(case.instance, tags=kept))

    return change


def late(case: Case) -> Case:
    return replace(case, now=case.now + timedelta(seconds=BOOTSTRAP_S))


REFUSED: dict[str, tuple[Callable[[Case], Case], str]] = {
    "another account": (document(account_id="999999999999"), "account"),
    "another region": (document(region="eu-west-1"), "region"),
    "another key": (record(public_key="another key"), "identity_reused"),
    "seen gone": (record(gone_at=BEGAN), "terminated"),
    "shutting down": (instance(state=InstanceState.SHUTTING_DOWN), "terminated"),
    "terminated": (instance(state=InstanceState.TERMINATED), "terminated"),
    "another fleet": (retagged(fleet="another"), "foreign"),
    "no intent known": (lambda case: replace(case, intent=None), "foreign"),
    "no intent tag": (retagged(intent=None), "foreign"),
    "another's intent tag": (retagged(intent="intent-2"), "foreign"),
    "not of its intent": (intent(instance_ids=(InstanceId("i-0fffffffffffffff0"),)), "foreign"),
    "intent refused": (intent(state=IntentState.REFUSED, instance_ids=()), "foreign"),
    "intent closed": (intent(state=IntentState.CLOSED, instance_ids=()), "foreign"),
    "record of another intent": (record(intent=IntentToken("intent-2")), "foreign"),
    "record of another environment": (record(environment=EnvironmentName("staging")), "foreign"),
    "record of another role": (record(role=RoleName("worker")), "foreign"),
    "launched as another image": (instance(image=ImageId("ami-2")), "image"),
    "document of another image": (document(image_id="ami-2"), "image"),
    "another address": (document(private_ip="10.9.9.9"), "address"),
    "late": (late, "late"),
}
PUT_OFF: dict[str, tuple[Callable[[Case], Case], str]] = {
    "not described": (lambda case: replace(case, instance=None), "not_visible"),
    "no fleet tag": (retagged(fleet=None), "not_visible"),
    "no address": (instance(private_address=None), "not_visible"),
    "stopped": (instance(state=InstanceState.STOPPED), "not_visible"),
    "no record": (lambda case: replace(case, record=None), "not_recorded"),
}
FINE: dict[str, Callable[[Case], Case]] = {
    "nothing": lambda case: case,
    "registered before": record(public_key="its key"),
    "still pending": instance(state=InstanceState.PENDING),
    "outcome of its launch unknown": intent(state=IntentState.OPEN, instance_ids=()),
    "one of a batch that is not wholly known": lambda case: (
        intent(parameters=replace(case.intent.parameters, count=2), instance_ids=(InstanceId("i-0fffffffffffffff0"),))(
            case
        )
        if case.intent
        else case
    ),
    "late but put off": lambda case: record(deferred_at=late(case).now)(late(case)),
    "late but nobody could see": lambda case: replace(
        late(case), patience=replace(case.patience, sighted_again_at=late(case).now)
    ),
    "late but ready before": lambda case: record(ready_at=case.now)(late(case)),
    "late but tagged as ready": lambda case: retagged(ready="2026-11-01T12:00:00Z")(late(case)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_agree_is_refused(name: str) -> None:
    change, reason = REFUSED[name]
    verdict = change(GOOD).judge()
    assert isinstance(verdict, Rejected)
    assert verdict.reason == reason


@pytest.mark.parametrize("name", PUT_OFF)
def test_what_may_still_come_is_put_off(name: str) -> None:
    change, reason = PUT_OFF[name]
    verdict = change(GOOD).judge()
    assert isinstance(verdict, NotYet)
    assert verdict.reason == reason


@pytest.mark.parametrize("name", FINE)
def test_a_node_of_ours_is_accepted(name: str) -> None:
    case = FINE[name](GOOD)
    assert case.judge() == Accepted(record=case.record) if case.record else False


def test_an_untagged_instance_without_record_is_foreign() -> None:
    verdict = replace(retagged(fleet=None)(GOOD), record=None).judge()
    assert isinstance(verdict, Rejected)
    assert verdict.reason == "foreign"


@given(
    fine=st.lists(st.sampled_from(sorted(FINE)), max_size=3),
    refused=st.lists(st.sampled_from(sorted(REFUSED)), min_size=1, max_size=3),
    put_off=st.lists(st.sampled_from(sorted(PUT_OFF)), max_size=2),
)
def test_no_company_makes_a_wrong_thing_right(fine: list[str], refused: list[str], put_off: list[str]) -> None:
    """Whatever else is so: one thing that does not agree, and it is not accepted."""
    case = GOOD
    for name in fine:
        if not name.startswith(("late", "one of a batch")):
            case = FINE[name](case)
    for name in refused:
        case = REFUSED[name][0](case)
    for name in put_off:
        case = PUT_OFF[name][0](case)
    assert not isinstance(case.judge(), Accepted)


times = st.integers(0, 10**8).map(lambda seconds: BEGAN + timedelta(seconds=seconds))


@given(launched_at=times, deferred_at=st.none() | times, sighted_again_at=st.none() | times, s=st.floats(0, 1e6))
def test_the_deadline_counts_from_the_latest_of_its_beginnings(
    launched_at: datetime, deferred_at: datetime | None, sighted_again_at: datetime | None, s: float
) -> None:
    ends_at = deadline(
        launched_at=launched_at, deferred_at=deferred_at, sighted_again_at=sighted_again_at, bootstrap_s=s
    )
    beginnings = [at for at in (launched_at, deferred_at, sighted_again_at) if at is not None]
    assert all(ends_at >= at + timedelta(seconds=s) for at in beginnings)
    assert any(ends_at == at + timedelta(seconds=s) for at in beginnings)
