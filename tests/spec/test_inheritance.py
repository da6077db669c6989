"""`extends` and `defaults`: what wins, what is removed, and where each value came from."""

from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.desired import Environment, ImageById, ImageByName, ImageByParameter, Json, Role, RootVolume
from reconciler.model.findings import Origin
from reconciler.model.names import EnvironmentName, ImageId, RoleName
from reconciler.spec.merge import Layer, complete, inherit
from tests.spec.revision import CHECKOUT, PRODUCTION, read

CHECKOUT_NAME = EnvironmentName("checkout")
WEB = RoleName("web")
WORKER = RoleName("worker")


def checkout(text: str, parent: str = PRODUCTION) -> Environment:
    desired = read({"production.yml": parent, "checkout.yml": text})
    assert desired.findings == ()
    return desired.environments[CHECKOUT_NAME]


def web(line: str, parent: str = PRODUCTION) -> Role:
    return checkout(f"extends: production\nowner: me\nroles:\n  web: {line}\n", parent).roles[WEB]


def in_parent(defaults: str = "", role: str = "") -> str:
    text = PRODUCTION.replace("defaults:", f"defaults:\n  {defaults}") if defaults else PRODUCTION
    return text.replace("    count: 4", f"    count: 4\n    {role}") if role else text


def test_the_whole_of_a_file() -> None:
    desired = read({"production.yml": PRODUCTION})
    environment = desired.environments[EnvironmentName("production")]
    assert environment == Environment(
        name=EnvironmentName("production"),
        origin=Origin(file="environments.d/production.yml", line=1),
        project="kickstarter",
        owner="ops@example.com",
        branch="main",
        protected=True,
        roles=MappingProxyType(
            {
                WEB: Role(
                    name=WEB,
                    count=4,
                    run_list=("recipe[kickstarter::web]",),
                    attributes={"unicorn": {"workers": 8, "timeout": 30}},
                    image=ImageById(image_id=ImageId("ami-0123456789abcdef0")),
                    instance_types=("m7i.large", "m6i.large"),
                    subnets=("subnet-a", "subnet-b"),
                    security_groups=frozenset({"sg-app"}),
                ),
                WORKER: Role(
                    name=WORKER,
                    count=2,
                    run_list=("recipe[kickstarter::worker]",),
                    attributes={},
                    image=ImageById(image_id=ImageId("ami-0123456789abcdef0")),
                    instance_types=("m7i.large", "m6i.large"),
                    subnets=("subnet-a", "subnet-b"),
                    security_groups=frozenset({"sg-app"}),
                ),
            }
        ),
    )


def test_six_lines_are_production_with_other_counts() -> None:
    environment = checkout(CHECKOUT)
    production = read({"production.yml": PRODUCTION}).environments[EnvironmentName("production")]
    assert (environment.project, environment.owner) == ("kickstarter", "jessica@example.com")
    assert environment.branch == "checkout-redesign"
    assert {name: role.count for name, role in environment.roles.items()} == {"web": 1, "worker": 1}
    for name, role in environment.roles.items():
        assert role.run_list == production.roles[name].run_list
        assert role.attributes == production.roles[name].attributes
        assert role.image == production.roles[name].image


def test_protection_suspension_and_owner_are_not_inherited() -> None:
    environment = checkout(
        CHECKOUT.replace("branch: checkout-redesign\n", ""),
        PRODUCTION + "suspend: true\ncommit: 0123abc\nchef_environment: legacy\n",
    )
    assert (environment.protected, environment.suspend) == (False, False)
    assert environment.commit == "0123abc"
    assert environment.chef_environment == "legacy"


def test_a_branch_of_its_own_leaves_the_parents_commit_behind() -> None:
    environment = checkout(CHECKOUT, PRODUCTION + "commit: 0123abc\n")
    assert (environment.branch, environment.commit) == ("checkout-redesign", None)


def test_maps_merge_deeply_and_lists_and_single_values_replace() -> None:
    role = web("{count: 1, attributes: {unicorn: {workers: 2}, x: [1]}, run_list: [nginx], instance_type: t3.micro}")
    assert role.attributes == {"unicorn": {"workers": 2, "timeout": 30}, "x": [1]}
    assert role.run_list == ("recipe[nginx]",)
    assert role.instance_types == ("t3.micro",)


def test_null_removes_what_is_inherited_wherever_it_was_declared() -> None:
    parent = in_parent(defaults="key_name: ops", role="tags: {a: x, b: y}")
    assert web("{count: 1}", parent).key_name == "ops"
    assert web("{key_name: null}", parent).key_name is None
    assert web("{tags: {a: null}}", parent).tags == {"b": "y"}
    assert web("{attributes: {unicorn: {workers: null}}}").attributes == {"unicorn": {"timeout": 30}}
    assert web("{attributes: null}").attributes == {}
    assert set(checkout(CHECKOUT.replace("worker: {count: 1}", "worker: null")).roles) == {"web"}


def test_null_in_a_role_removes_a_default_of_the_parent_but_not_of_other_roles() -> None:
    parent = in_parent(defaults="attributes: {shared: {a: 1, b: 2}}")
    environment = checkout("extends: production\nowner: me\nroles: {web: {attributes: {shared: {a: null}}}}\n", parent)
    assert environment.roles[WEB].attributes["shared"] == {"b": 2}
    assert environment.roles[WORKER].attributes["shared"] == {"a": 1, "b": 2}


def test_a_list_keeps_its_nulls() -> None:
    assert web("{attributes: {x: [1, null]}}").attributes["x"] == [1, None]


def test_defaults_of_both_lie_under_every_role() -> None:
    parent = in_parent(defaults="tags: {from: parent, a: x}", role="tags: {role: web}")
    environment = checkout("extends: production\nowner: me\ndefaults: {tags: {from: child}, count: 7}\n", parent)
    assert environment.roles[WEB].tags == {"from": "child", "a": "x", "role": "web"}
    assert environment.roles[WORKER].tags == {"from": "child", "a": "x"}
    assert environment.roles[WEB].count == 4, "a role's own value wins, though inherited"


def test_every_field_has_its_key() -> None:
    role = web(
        "{count: 2.0, image: 'ssm:/aws/x', instance_profile: web, key_name: ops, root_volume: {size: 20, type: gp2}, "
        "user_data: 'exit', tags: {a: b}}"
    )
    assert role.count == 2
    assert role.image == ImageByParameter(parameter="/aws/x")
    assert (role.instance_profile, role.key_name, role.user_data) == ("web", "ops", "exit")
    assert role.root_volume == RootVolume(size_gib=20, type="gp2")
    assert web("{root_volume: {size: 8}}").root_volume == RootVolume(size_gib=8, type="gp3")
    assert web("{image: {owner: self, name: 'app-*'}}").image == ImageByName(owner="self", name="app-*")


def test_every_value_knows_the_line_that_declared_it() -> None:
    environment = checkout(
        "extends: production\n"
        "owner: me\n"
        "defaults:\n"
        "  key_name: ops\n"
        "roles:\n"
        "  web:\n"
        "    count: 1\n"
        "    attributes:\n"
        "      unicorn: {workers: 2}\n"
    )
    origins = {
        key: str(origin).removeprefix("environments.d/") for key, origin in environment.roles[WEB].origins.items()
    }
    assert origins == {
        "": "checkout.yml:6",
        "count": "checkout.yml:7",
        "key_name": "checkout.yml:4",
        "attributes": "checkout.yml:8",
        "attributes.unicorn": "checkout.yml:9",
        "attributes.unicorn.workers": "checkout.yml:9",
        "attributes.unicorn.timeout": "production.yml:14",
        "run_list": "production.yml:13",
        "image": "production.yml:6",
        "instance_type": "production.yml:7",
        "subnets": "production.yml:8",
        "security_groups": "production.yml:9",
    }
    assert str(environment.roles[WORKER].origin("count")) == "environments.d/production.yml:16"
    assert {key: str(origin).removeprefix("environments.d/") for key, origin in environment.origins.items()} == {
        "extends": "checkout.yml:1",
        "owner": "checkout.yml:2",
        "project": "production.yml:1",
        "branch": "production.yml:3",
        "roles": "checkout.yml:5",
    }


# --- laws -----------------------------------------------------------------------------------------------------------

KEYS = st.sampled_from("abc")
TREES: st.SearchStrategy[dict[str, Json]] = st.dictionaries(
    KEYS,
    st.recursive(
        st.none() | st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2),
        lambda values: st.dictionaries(KEYS, values, max_size=3),
        max_leaves=8,
    ),
    max_size=3,
)


def layer(role: dict[str, Json], defaults: dict[str, Json] | None = None) -> Layer:
    return Layer(tree={"roles": {"web": role}, "defaults": defaults or {}}, origins={})


def merged(child: dict[str, Json], parent: dict[str, Json]) -> object:
    return complete(inherit(layer(child), layer(parent))).roles["web"].tree


def leaves(tree: object, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {where: leaf for key, value in tree.items() for where, leaf in leaves(value, (*path, key)).items()}


@given(TREES, TREES)
def test_what_a_child_says_holds(child: dict[str, Json], parent: dict[str, Json]) -> None:
    result = leaves(merged(child, parent))
    for path, value in leaves(child).items():
        if value is None:
            assert not any(where[: len(path)] == path for where in result)
        else:
            assert result[path] == value


@given(TREES, TREES)
def test_nothing_comes_from_nowhere(child: dict[str, Json], parent: dict[str, Json]) -> None:
    said = [*leaves(child).items(), *leaves(parent).items()]
    assert all(leaf in said for leaf in leaves(merged(child, parent)).items())


@given(TREES)
def test_extending_without_saying_anything_changes_nothing(parent: dict[str, Json]) -> None:
    alone = complete(layer(parent)).roles["web"].tree
    assert merged({}, parent) == alone
    assert merged(parent, {}) == alone
    assert merged(parent, parent) == alone


@given(TREES, TREES, TREES, TREES)
def test_merging_changes_none_of_its_parts(
    child: dict[str, Json], child_defaults: dict[str, Json], parent: dict[str, Json], parent_defaults: dict[str, Json]
) -> None:
    lower, upper = layer(parent, parent_defaults), layer(child, child_defaults)
    before = repr((lower, upper))
    first = complete(inherit(upper, lower)).roles["web"].tree
    assert repr((lower, upper)) == before
    assert complete(inherit(upper, lower)).roles["web"].tree == first


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_the_order_of_keys_in_a_file_does_not_matter(order: tuple[str, str]) -> None:
    roles = "".join(f"  {name}: {{count: 1, run_list: []}}\n" for name in order)
    desired = read({"x.yml": PRODUCTION.partition("roles:")[0] + "roles:\n" + roles})
    assert list(desired.environments[EnvironmentName("x")].roles) == ["a", "b"]
