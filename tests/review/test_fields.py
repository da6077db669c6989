"""The fields of a review are those in which the merged declarations differ, whatever the files look like."""

import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from reconciler.model.desired import Environment, ImageByName, ImageByParameter, Json, RootVolume
from reconciler.model.names import EnvironmentName
from reconciler.model.run_list import normalise
from reconciler.review.fields import differing, leaves
from reconciler.spec.explain import Explained, explain
from reconciler.spec.files import Files
from tests.plan.builders import environment, role
from tests.review.scene import FILES, declared
from tests.spec.revision import CHECKOUT, FOLDER, PRODUCTION, USER_DATA_LIMIT_BYTES, Revision

ATTRIBUTES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", "y", "x.y"]), inner, max_size=2),
    max_leaves=4,
)
CHANGES = st.fixed_dictionaries(
    {
        "count": st.integers(1, 3),
        "attributes": st.dictionaries(st.sampled_from(["unicorn", "x", "x.y"]), ATTRIBUTES, max_size=2),
        "run_list": st.lists(st.sampled_from(["recipe[a]", "b", "role[c]"]), max_size=2, unique=True),
        "tags": st.dictionaries(st.sampled_from(["team", "cost"]), st.sampled_from(["a", "b"]), max_size=2),
        "image": st.sampled_from(["ami-0123456789abcdef0", "ssm:/aws/x", {"owner": "self", "name": "app-*"}]),
    }
)


def written(defaults: dict[str, Any], own: dict[str, Any]) -> dict[str, str]:
    """A parent and its child, whose values are drawn."""
    parent = PRODUCTION.replace(
        "roles:\n", f"  attributes: {_yaml(defaults['attributes'])}\n  tags: {_yaml(defaults['tags'])}\nroles:\n"
    )
    return {
        "production.yml": parent,
        "checkout.yml": f"{CHECKOUT.partition('roles:')[0]}roles: {_yaml({'web': own})}\n",
    }


def _yaml(value: Any) -> str:
    return json.dumps(value)


def explained(files: dict[str, str]) -> Explained:
    entries, read_blobs = Revision(files).listed()
    read = Files(
        folder=FOLDER,
        entries=entries,
        read_blobs=read_blobs,
        user_data_limit_bytes=USER_DATA_LIMIT_BYTES,
        known={},
    )
    return explain(read, "checkout")


def merged(files: dict[str, str]) -> dict[tuple[str, ...], Json]:
    """By the merging that `hivequeen explain` shows, leaf by leaf."""
    return dict(_leaves((), dict(explained(files).tree)))


def _leaves(path: tuple[str, ...], value: Json) -> Iterator[tuple[tuple[str, ...], Json]]:
    if isinstance(value, dict) and value:
        for key, part in value.items():
            yield from _leaves((*path, key), part)
    elif path[-1] == "run_list" and len(path) == 3:
        yield path, list(normalise([str(item) for item in value])) if isinstance(value, list) else value
    elif path != ("extends",) and (value != {} or len(path) > 3):  # no attributes at all is not to declare any
        yield path, value


@given(CHANGES, CHANGES, CHANGES)
def test_they_are_those_in_which_explain_differs(defaults: Any, first: Any, second: Any) -> None:
    files = written(defaults, first), written(defaults, second)
    before, after = (declared(one).environments[EnvironmentName("checkout")] for one in files)
    old, new = (merged(one) for one in files)
    expected = {path for path in old.keys() | new.keys() if _text(old, path) != _text(new, path)}
    assert {path for path, _, _ in differing(leaves(before), leaves(after))} == expected


def _text(tree: dict[tuple[str, ...], Json], path: tuple[str, ...]) -> str:
    return _yaml(tree[path]) if path in tree else "nothing"


@given(CHANGES, CHANGES)
def test_each_has_the_line_that_explain_tells(defaults: Any, own: Any) -> None:
    files = written(defaults, own)
    assume('"x.y"' not in "".join(files.values()))  # origins are known by dotted key, which two paths may share then
    told = {tuple(str(part) for part in value.path): value.origin for value in explained(files).values}
    for path, leaf in leaves(declared(files).environments[EnvironmentName("checkout")]).items():
        if path in told:
            assert leaf.origin == told[path], path


def values(made: Environment) -> dict[str, Json]:
    return {".".join(path): leaf.value for path, leaf in leaves(made).items()}


def test_every_kind_of_value_has_its_key() -> None:
    made = environment(
        roles=[
            role(
                image=ImageByName(owner="self", name="app-*"),
                root_volume=RootVolume(size_gib=40, type="io2"),
                user_data="#!/bin/sh\n",
                key_name="ops",
                instance_profile="app",
            )
        ],
        commit="abc",
        suspend=True,
        chef_environment="shared",
    )
    assert values(made) == {
        "project": "kickstarter",
        "owner": "ops@example.com",
        "branch": "main",
        "commit": "abc",
        "suspend": True,
        "chef_environment": "shared",
        "roles.web.count": 2,
        "roles.web.run_list": ["recipe[app]"],
        "roles.web.attributes.unicorn.workers": 8,
        "roles.web.image.owner": "self",
        "roles.web.image.name": "app-*",
        "roles.web.instance_type": ["m7i.large", "m6i.large"],
        "roles.web.subnets": ["subnet-a", "subnet-b"],
        "roles.web.security_groups": ["sg-app"],
        "roles.web.instance_profile": "app",
        "roles.web.key_name": "ops",
        "roles.web.root_volume.size": 40,
        "roles.web.root_volume.type": "io2",
        "roles.web.user_data": "#!/bin/sh\n",
        "roles.web.tags.team": "shop",
    }
    moving = environment(roles=[role(image=ImageByParameter(parameter="/aws/x"))])
    assert values(moving)["roles.web.image"] == "ssm:/aws/x"


def test_lifetimes_read_as_they_are_written() -> None:
    lived = (
        CHECKOUT
        + 'ttl: 14d\nexpires: 2026-12-24T18:00Z\nschedule: {stop: "0 20 * * *", start: "0 7 * * *", timezone: UTC}\n'
    )
    made = values(declared({**FILES, "checkout.yml": lived}).environments[EnvironmentName("checkout")])
    assert made["ttl"] == "14d"
    assert made["expires"] == "2026-12-24T18:00:00+00:00"
    assert made["schedule.stop"] == "0 20 * * *"
    for written_as, told in (("90m", "90m"), ("36h", "36h"), ("61s", "61s")):
        one = declared({**FILES, "checkout.yml": f"{CHECKOUT}ttl: {written_as}\n"})
        if EnvironmentName("checkout") in one.environments:
            assert values(one.environments[EnvironmentName("checkout")])["ttl"] == told


def test_numbers_and_truths_that_look_alike_are_three_values() -> None:
    def with_attribute(value: Json) -> Environment:
        return environment(roles=[role(attributes=MappingProxyType({"a": value}))])

    pairs: list[tuple[Json, Json]] = [(1, 1.0), (1, True), ([1], [True]), ([{"b": 0}], [{"b": False}]), ({}, None)]
    for old, new in pairs:
        assert list(differing(leaves(with_attribute(old)), leaves(with_attribute(new)))), (old, new)


def test_dots_in_keys_make_no_two_values_one() -> None:
    old = environment(roles=[role(attributes={"a.b": 1})])
    new = environment(roles=[role(attributes={"a": {"b": 1}})])
    assert len(list(differing(leaves(old), leaves(new)))) == 2
