"""A snapshot is read by other releases and on other machines, and holds nothing that should not lie there."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import Stalled
from reconciler.model.findings import Origin
from reconciler.model.memory import Intent, NodeRecord
from reconciler.model.names import EnvironmentName, IntentToken, RoleName
from reconciler.model.plan import Guard
from reconciler.model.policy import Policy
from reconciler.review import Snapshot, Stop
from reconciler.review.codec import dump, parse
from tests.fakes.clock import BEGAN
from tests.plan.builders import WEB, environment, instance_id, parameters, role
from tests.plan.worlds import IMAGES
from tests.review.scene import FILES, declared, runs_as

GOLDEN = Path(__file__).parent / "world-1.json"


def full() -> Snapshot:
    """With something of everything that is not text."""
    world = runs_as(
        declared(FILES),
        policy=Policy(
            nodes_in_total=9,
            maximum_ttl=timedelta(days=14),
            schema={"type": "object", "properties": {"a": {"enum": [1, None, "x"]}}},
            origins={"nodes.total": Origin(file="hivequeen.yml", line=3)},
        ),
        stops=(Stop(guard=Guard.NOT_OWNER, message="somebody else's", remedy="take over"),),
        sources={(EnvironmentName("production"), WEB): "ssm:/aws/x"},
    )
    images = {(EnvironmentName("production"), WEB): IMAGES[0]}
    return replace(world, observed=replace(world.observed, images=images))


def test_what_is_written_is_read() -> None:
    assert parse(dump(full()), file="world.json") == full()


def test_what_an_earlier_release_wrote_is_read() -> None:
    """Should this fail, the document has changed: raise VERSION, and say in the changelog that old ones are refused."""
    assert parse(GOLDEN.read_bytes(), file="world.json") == full()


def test_keys_logs_and_user_data_stay_where_they_are() -> None:
    home = environment("checkout")
    record = NodeRecord(
        instance_id=instance_id(1),
        environment=home.name,
        role=RoleName("web"),
        name=next(iter(full().observed.environments[home.name].nodes)).name,
        intent=None,
        launched_at=BEGAN,
        seen_at=BEGAN,
        public_key="PUBLIC",
        first_run_log="PASSWORD=hunter2",
    )
    token = IntentToken("hq-1")
    launch = replace(parameters(role(), 1, token=token), user_data="SECRET")
    intent = Intent(token=token, environment=home.name, role=WEB, parameters=launch, opened_at=BEGAN)
    memory = replace(full().memory, nodes={record.instance_id: record}, intents={token: intent})
    text = dump(replace(full(), memory=memory)).decode()
    for secret in ("PUBLIC", "hunter2", "SECRET"):
        assert secret not in text
    assert record.instance_id in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no snapshot"),
        (b"[1]", "is no snapshot"),
        (b"{}", "is no snapshot"),
        (b'{"version": 2}', "version 2, this release reads version 1"),
        (b'{"version": 1}', "no whole snapshot"),
        (b'{"version": 1, "revision": 5, "more": 1}', "no whole snapshot"),
    ],
)
def test_what_is_no_snapshot_of_this_version_is_refused_with_a_way_out(content: bytes, message: str) -> None:
    with pytest.raises(Stalled, match=message) as trouble:
        parse(content, file="world.json")
    assert trouble.value.remedy


def test_a_snapshot_that_somebody_cut_or_added_to_is_refused() -> None:
    document = json.loads(dump(full()))
    for key in document.keys() - {"version"}:
        lacking = {name: value for name, value in document.items() if name != key}
        if key in ("sources", "stops"):
            continue  # these may be left out
        with pytest.raises(Stalled):
            parse(json.dumps(lacking).encode(), file="world.json")
    for broken in (
        {**document, "extra": 1},
        {**document, "observed": 5},
        {**document, "rules": {"fleet": "x", "y": 1}},
    ):
        with pytest.raises(Stalled):
            parse(json.dumps(broken).encode(), file="world.json")
