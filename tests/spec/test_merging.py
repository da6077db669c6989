"""Chains of files against a model of what merging means, and null, which no grandchild undoes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import takewhile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.model.desired import Json, Role
from reconciler.model.findings import Origin
from reconciler.model.names import EnvironmentName, RoleName
from reconciler.spec.merge import Layer, Merged, complete, inherit
from tests.spec.revision import PRODUCTION, read, told

DEFAULTS = "attributes: {a: {x: 1, y: 2}, k: 0}\n  tags: {t: '1'}\n  root_volume: {size: 9, type: gp2}\n"


def files(*roles: str) -> dict[str, str | bytes]:
    """Production with defaults, and files that extend one another; each says this of its role web."""
    texts: dict[str, str | bytes] = {"production.yml": PRODUCTION.replace("defaults:\n", f"defaults:\n  {DEFAULTS}")}
    above = "production"
    for stem, role in zip("bcde", roles, strict=False):
        texts[f"{stem}.yml"] = f"extends: {above}\nowner: me\nroles: {{web: {role}}}\n"
        above = stem
    return texts


def web(*roles: str) -> Role:
    """What the last of such a chain comes to."""
    desired = read(files(*roles))
    assert desired.findings == ()
    return desired.environments[EnvironmentName("bcde"[len(roles) - 1])].roles[RoleName("web")]


# --- null, and what is declared anew after it -----------------------------------------------------------------------


@pytest.mark.parametrize("removed", ["null", "7", "[x]"])
def test_who_declares_a_map_anew_gets_nothing_of_the_defaults_that_were_removed(removed: str) -> None:
    anew = web(f"{{attributes: {{a: {removed}}}}}", "{attributes: {a: {x: 5}}}").attributes
    assert anew == {"a": {"x": 5}, "k": 0, "unicorn": {"workers": 8, "timeout": 30}}
    assert web(f"{{attributes: {{a: {removed}}}}}", "{}", "{attributes: {a: {x: 5}}}").attributes == anew


def test_what_was_removed_as_a_whole_stays_removed_as_a_whole() -> None:
    assert web("{attributes: null}", "{attributes: {b: 1}}").attributes == {"b": 1}
    assert web("{attributes: null}", "{attributes: {b: 1}}", "{attributes: {c: 2}}").attributes == {"b": 1, "c": 2}
    assert web("{tags: null}", "{tags: {}}").tags == {}
    volume = web("{root_volume: null}", "{root_volume: {size: 5}}").root_volume
    assert volume is not None
    assert volume.type == "gp3"


def test_null_after_a_map_declared_anew_removes_again() -> None:
    assert web("{attributes: null}", "{attributes: {b: 1}}", "{attributes: null}").attributes == {}
    assert web("{attributes: null}", "{attributes: {b: {c: 1}}}", "{attributes: {b: null}}").attributes == {}


def test_an_image_by_name_after_another_image_is_declared_whole() -> None:
    texts = files("{image: ami-0123456789abcdef1}", "{image: {name: y}}")
    content = texts["production.yml"]
    assert isinstance(content, str)
    texts["production.yml"] = content.replace("image: ami-0123456789abcdef0", "image: {owner: self, name: x}")
    assert told(read(texts)) == [
        "environments.d/c.yml:3: roles.web.image has no owner (add it under roles.web or defaults, here or in b)"
    ]


def test_a_role_that_was_removed_and_declared_anew_stands_on_the_defaults_alone() -> None:
    role = web("null", "{count: 1, run_list: [x], attributes: {a: {x: 5}}}")
    assert role.attributes == {"a": {"x": 5, "y": 2}, "k": 0}
    assert str(role.origin("attributes.k")) == "environments.d/production.yml:6"


# --- laws -----------------------------------------------------------------------------------------------------------
# The model looks at one place at a time: what each file says there, nearest first, all defaults below all roles.

# Few keys, and nulls at every depth, so that files often speak of the same places.
KEYS = st.sampled_from("ab")
LISTS: st.SearchStrategy[Json] = st.just([1])
VALUES: st.SearchStrategy[Json] = st.deferred(lambda: st.none() | st.integers(0, 1) | LISTS | MAPS)
MAPS: st.SearchStrategy[Json] = st.dictionaries(KEYS, VALUES, max_size=2)
ROLES: st.SearchStrategy[Json] = st.fixed_dictionaries({"web": MAPS | st.none()}, optional={"db": MAPS | st.none()})
FILES: st.SearchStrategy[dict[str, Json]] = st.fixed_dictionaries(
    {},
    optional={
        "defaults": MAPS | st.none(),
        "roles": ROLES | ROLES | st.none(),
        "schedule": MAPS | st.none(),
        "branch": st.integers(0, 1) | st.none(),
        "commit": st.integers(0, 1) | st.none(),
        "owner": st.integers(0, 1),
    },
)
CHAINS = st.lists(FILES, min_size=1, max_size=5)  # nearest first

Path = tuple[str, ...]


@dataclass(frozen=True)
class Said:
    value: Json
    file: str
    is_default: bool = False


def maps(stack: Sequence[Said]) -> list[Said]:
    """Those that merge: whatever lies below anything else is not seen."""
    return list(takewhile(lambda said: isinstance(said.value, dict), stack))


def at(stack: Sequence[Said], key: str, *, is_default: bool = False) -> list[Said]:
    return [
        Said(said.value[key], said.file, is_default)
        for said in maps(stack)
        if isinstance(said.value, dict) and key in said.value
    ]


def keys_of(stack: Sequence[Said]) -> list[str]:
    return sorted({key for said in maps(stack) if isinstance(said.value, dict) for key in said.value})


def meant(stack: Sequence[Said], path: Path) -> dict[Path, Said]:
    """The leaves at `path`, where the files say this."""
    if not stack or stack[0].value is None:
        return {}
    if not isinstance(stack[0].value, dict):
        return {path: stack[0]}
    found: dict[Path, Said] = {}
    for key in keys_of(stack):
        below = [Said(part.value, part.file, said.is_default) for said in maps(stack) for part in at([said], key)]
        found |= meant(below, (*path, key))
    return found or {path: Said({}, stack[0].file, stack[0].is_default)}


def model(chain: Sequence[dict[str, Json]]) -> dict[Path, Said]:
    """Every leaf of what a chain comes to."""
    files: list[Said] = []
    hidden: set[str] = set()
    for number, file in enumerate(chain):
        files.append(Said({key: value for key, value in file.items() if key not in hidden}, str(number)))
        hidden |= {"owner"} | ({"commit"} if "branch" in file else set())
    found: dict[Path, Said] = {}
    for key in ("schedule", "branch", "commit", "owner"):
        found |= meant(at(files, key), (key,))
    for name in keys_of(at(files, "roles")):
        if declared := maps(at(at(files, "roles"), name)):
            found |= meant([*declared, *maps(at(files, "defaults", is_default=True))], ("roles", name))
    return found


def layer(tree: dict[str, Json], file: str = "") -> Layer:
    return Layer(tree=tree, origins={path: Origin(file=file, line=1) for path in places(tree, ())})


def layers(chain: Sequence[dict[str, Json]]) -> list[Layer]:
    return [layer(tree, str(number)) for number, tree in enumerate(chain)]


def places(value: Json, path: tuple[str | int, ...]) -> list[tuple[str | int, ...]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, part in parts for place in places(part, (*path, key)))]


def over(*chain: Layer) -> Layer:
    """Nearest first, merged as files are: from the ground up."""
    return reduce(lambda parent, child: inherit(child, parent), reversed(chain))


def leaves(value: Json, path: Path = ()) -> list[tuple[Path, Json]]:
    if not isinstance(value, dict) or not value:
        return [(path, value)]
    return [leaf for key, part in value.items() for leaf in leaves(part, (*path, key))]


def seen(merged: Merged) -> dict[Path, tuple[Json, Origin | None, bool]]:
    return {
        path: (value, merged.origin(path), merged.is_default(path))
        for path, value in leaves(merged.tree())
        if path != ("roles",)  # no role at all
    }


@given(CHAINS)
@example([{"roles": {"web": {"a": {"b": 1}}}}, {"roles": {"web": {"a": None}}}, {"defaults": {"a": {"c": 2}}}])
@example([{"roles": {"web": {"a": {"b": 1}}}}, {"roles": {"web": {"a": 7}}}, {"defaults": {"a": {"c": 2}}}])
@example([{"roles": {"web": {"a": {}}}}] * 2 + [{"roles": {"web": {"a": None}}}, {"defaults": {"a": {"c": 2}}}])
@example([{"roles": {"web": {"b": 1}}}, {"roles": {"web": None}}, {"defaults": {"a": 2}, "roles": {"web": {"a": 1}}}])
def test_a_chain_comes_to_what_the_model_says_with_the_file_of_each_value(chain: list[dict[str, Json]]) -> None:
    merged = complete(over(*layers(chain)))
    assert seen(merged) == {
        path: (said.value, Origin(file=said.file, line=1), said.is_default) for path, said in model(chain).items()
    }
    assert set(merged.roles) == {path[1] for path in model(chain) if path[0] == "roles"}


@given(CHAINS, st.integers(0, 4))
def test_a_file_that_says_nothing_changes_nothing_wherever_it_stands(chain: list[dict[str, Json]], at: int) -> None:
    at = min(at, len(chain))
    chain = [*chain[:at], *({key: file[key] for key in file if key != "owner"} for file in chain[at:])]
    plain = layers(chain)
    assert seen(complete(over(*plain[:at], layer({}), *plain[at:]))) == seen(complete(over(*plain)))


@given(FILES, FILES, FILES)
@example({"roles": {"web": {}}}, {"roles": {"web": None}}, {"roles": {"web": {"a": 1}}, "defaults": {"a": 2}})
def test_which_two_of_three_are_merged_first_does_not_matter(
    child: dict[str, Json], parent: dict[str, Json], ground: dict[str, Json]
) -> None:
    upper, middle, lower = layers([child, parent, ground])
    assert seen(complete(inherit(inherit(upper, middle), lower))) == seen(complete(over(upper, middle, lower)))
