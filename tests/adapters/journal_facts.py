"""Facts about a very small world, so that random ones meet each other often."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from reconciler.model.facts import (
    Approved,
    EndingCancelled,
    EnvironmentEnding,
    EnvironmentFailed,
    EnvironmentRecovered,
    ExpiryNoticed,
    Fact,
    FirstRunReported,
    ImagePinned,
    IntentEnded,
    IntentLaunched,
    IntentOpened,
    Looked,
    NodeFailed,
    NodeForgotten,
    NodeGone,
    NodeMissing,
    NodeOdd,
    NodeReady,
    NodeSeen,
    OfferingExhausted,
    OrphanCleared,
    OrphanSighted,
    RegistrationDeferred,
    Resumed,
    RevisionApplied,
    RoleRecovered,
    RoleSettled,
    RoleTroubled,
    SightedAgain,
    Suspended,
    TeardownBegan,
    TeardownEnded,
    TeardownItems,
    TerminationAsked,
    TookOver,
)
from reconciler.model.memory import (
    Approval,
    Backoff,
    Cause,
    EndingCause,
    Exhausted,
    ExpiryNotice,
    Intent,
    IntentState,
    Item,
    ItemKind,
    LaunchParameters,
    NodeRecord,
    Pin,
    Removal,
    Suspension,
    Trouble,
)
from reconciler.model.names import (
    EnvironmentName,
    ImageId,
    InstanceId,
    IntentToken,
    NodeName,
    RevisionId,
    RoleName,
    node_name,
)

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CHECKOUT = EnvironmentName("checkout")
WEB = RoleName("web")
FIRST = InstanceId("i-00000000000000001")

environments = st.sampled_from([CHECKOUT, EnvironmentName("checkout-two")])
roles = st.sampled_from([WEB, RoleName("worker")])
instance_ids = st.sampled_from([InstanceId(f"i-{n:017x}") for n in range(1, 5)])
tokens = st.sampled_from([IntentToken(f"token-{n}") for n in range(3)])
revisions = st.sampled_from([RevisionId(digit * 40) for digit in "abc"])
texts = st.sampled_from(["", "no room", "naïve ✓ 'quoted' \\ text\nin lines"])
moments = st.integers(0, 72 * 60).map(lambda minutes: NOON + timedelta(minutes=minutes))


def parameters(*, user_data: str = "#!/bin/sh\n") -> LaunchParameters:
    return LaunchParameters(
        image=ImageId("ami-1"),
        instance_type="m7i.large",
        subnet="subnet-a",
        count=2,
        security_groups=("sg-app", "sg-web"),
        instance_profile=None,
        key_name="ops",
        root_volume_size_gib=20,
        root_volume_type="gp3",
        user_data=user_data,
        tags=(("Name", "checkout-web"), ("note", "naïve ✓")),
    )


def intent(token: str = "token-0", *, opened_at: datetime = NOON) -> Intent:
    return Intent(
        token=IntentToken(token), environment=CHECKOUT, role=WEB, parameters=parameters(), opened_at=opened_at
    )


def node(instance_id: InstanceId = FIRST, *, at: datetime = NOON, intent: str | None = None) -> NodeRecord:
    return NodeRecord(
        instance_id=instance_id,
        environment=CHECKOUT,
        role=WEB,
        name=node_name(CHECKOUT, WEB, instance_id),
        intent=None if intent is None else IntentToken(intent),
        launched_at=at,
        seen_at=at,
    )


intents = st.builds(
    Intent,
    token=tokens,
    environment=environments,
    role=roles,
    parameters=texts.map(lambda text: parameters(user_data=text)),
    opened_at=moments,
    attempted_at=st.none() | moments,
    state=st.just(IntentState.OPEN),
    instance_ids=st.just(()),
    settled_at=st.none(),
)
nodes = st.builds(
    NodeRecord,
    instance_id=instance_ids,
    environment=environments,
    role=roles,
    name=st.just(NodeName("checkout-web-1")),
    intent=st.none() | tokens,
    launched_at=moments,
    seen_at=moments,
    public_key=st.none() | texts,
    registered_at=st.none() | moments,
    deferred_at=st.none() | moments,
    ready_at=st.none() | moments,
    first_run_ok=st.none() | st.booleans(),
    first_run_log=texts,
    missing_since=st.none() | moments,
    odd_since=st.none() | moments,
    failed_at=st.none() | moments,
    gone_at=st.none() | moments,
)
removals = st.builds(
    Removal,
    environment=environments,
    action=st.just("terminate_node"),
    role=st.sampled_from(["", "web"]),
    target=instance_ids,
    change=st.sampled_from(["", "image: ami-1 → ami-2"]),
)
approvals = st.builds(
    Approval,
    digest=st.sampled_from(["3f2a", "77aa"]) | revisions,
    removals=st.frozensets(removals, max_size=3),
    actor=texts,
    at=moments,
    expires_at=moments,
)
suspensions = st.builds(
    Suspension,
    environment=st.none() | environments,
    reason=texts,
    actor=texts,
    since=moments,
    until=st.none() | moments,
)
troubles = st.builds(
    Trouble,
    environment=environments,
    role=roles,
    content=st.just("c0ffee"),
    failed=st.frozensets(instance_ids, max_size=3),
    is_halted=st.booleans(),
    message=texts,
    remedy=texts,
    since=moments,
    retry_at=st.none() | moments,
)
notices = st.builds(
    ExpiryNotice, expires_at=moments, ahead=st.integers(0, 10**12).map(lambda n: timedelta(microseconds=n))
)
items = st.builds(Item, kind=st.sampled_from(ItemKind), name=st.sampled_from(["checkout", "checkout-web", "i-1"]))
backoffs = st.builds(Backoff, environment=environments, failures=st.integers(1, 9), until=moments, message=texts)
offerings = st.builds(
    Exhausted,
    instance_type=st.sampled_from(["m7i.large", "m6i.large"]),
    subnet=st.sampled_from(["subnet-a", "subnet-b"]),
    until=moments,
)

facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(
        RevisionApplied,
        revision=revisions,
        declared=st.frozensets(environments),
        protection=st.dictionaries(environments, st.booleans()),
    ),
    st.builds(IntentOpened, intent=intents),
    st.builds(IntentLaunched, token=tokens, instance_ids=st.lists(instance_ids, max_size=3, unique=True).map(tuple)),
    st.builds(
        IntentEnded,
        token=tokens,
        state=st.sampled_from([IntentState.REFUSED, IntentState.CLOSED, IntentState.OPEN]),
        message=texts,
    ),
    st.builds(NodeSeen, record=nodes),
    st.builds(NodeMissing, instance_id=instance_ids),
    st.builds(NodeOdd, instance_id=instance_ids),
    st.builds(NodeFailed, instance_id=instance_ids),
    st.builds(NodeReady, instance_id=instance_ids),
    st.builds(NodeGone, instance_id=instance_ids),
    st.builds(NodeForgotten, instance_id=instance_ids),
    st.builds(RegistrationDeferred, instance_id=instance_ids),
    st.builds(FirstRunReported, instance_id=instance_ids, ok=st.booleans(), log=texts),
    st.builds(TerminationAsked, instance_id=instance_ids, environment=environments, cause=st.sampled_from(Cause)),
    st.builds(TeardownBegan, environment=environments, revision=revisions),
    st.builds(
        EnvironmentEnding,
        environment=environments,
        cause=st.sampled_from(EndingCause),
        revision=revisions,
        author=texts,
        file=st.just("environments.d/checkout.yml"),
    ),
    st.builds(EndingCancelled, environment=environments),
    st.builds(
        TeardownItems,
        environment=environments,
        found=st.frozensets(items, max_size=3),
        gone=st.frozensets(items, max_size=2),
    ),
    st.builds(TeardownEnded, environment=environments),
    st.builds(ExpiryNoticed, environment=environments, notice=notices),
    st.builds(OrphanSighted, item=items),
    st.builds(OrphanCleared, item=items),
    st.builds(RoleSettled, environment=environments, role=roles, count=st.integers(0, 9)),
    st.builds(
        ImagePinned,
        environment=environments,
        role=roles,
        pin=st.builds(Pin, source=st.sampled_from(["ssm:/golden", "self/web-*"]), image=st.just(ImageId("ami-1"))),
    ),
    st.builds(RoleTroubled, trouble=troubles),
    st.builds(RoleRecovered, environment=environments, role=roles),
    st.builds(OfferingExhausted, exhausted=offerings),
    st.builds(EnvironmentFailed, backoff=backoffs),
    st.builds(EnvironmentRecovered, environment=environments),
    st.builds(Suspended, suspension=suspensions),
    st.builds(Resumed, environment=st.none() | environments),
    st.builds(Approved, approval=approvals),
    st.builds(TookOver, actor=texts),
    st.builds(Looked),
    st.builds(SightedAgain, since=st.none() | moments),
)
