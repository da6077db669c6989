"""The schema in an editor and the reader say the same of variables, in every text that a file can hold."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.document import schema_text
from reconciler.model.names import EnvironmentName
from reconciler.spec.check import check_file
from reconciler.spec.variables import variable_faults
from tests.spec.revision import USER_DATA_LIMIT_BYTES, read

SCHEMA: Final[dict[str, Any]] = json.loads(schema_text("environment"))
EDITOR: Final = jsonschema.Draft202012Validator(SCHEMA)
NAME: Final = "abcdef0"  # a commit, too
Place = tuple[str | int, ...]


def texts(definition: dict[str, Any], place: Place = ()) -> Iterator[Place]:
    """Where a text may stand."""
    if "$ref" in definition:
        definition = {**SCHEMA["$defs"][definition["$ref"].removeprefix("#/$defs/")], **definition}
    if "string" in definition.get("type", ()) or "enum" in definition.get("else", definition):
        yield place
    for key, part in definition.get("properties", {}).items():
        yield from texts(part, (*place, key))
    if "items" in definition:
        yield from texts(definition["items"], (*place, 0))
    if isinstance(other := definition.get("additionalProperties"), dict):
        yield from texts(other, (*place, "web" if place == ("roles",) else "x"))


PLACES: Final = sorted(texts(SCHEMA), key=str)
REPLACED: Final = [place for place in PLACES if place != ("extends",)]

# What is right once a branch stands in it.
OF_ROLES: Final[dict[Place, tuple[str, str]]] = {
    ("run_list", 0): ("role[${branch}]", "base"),
    ("image",): ("ssm:/${branch}", "app"),
    ("image", "owner"): ("${branch}", "self"),
    ("image", "name"): ("${branch}-*", "app"),
    ("instance_type",): ("${branch}.large", "m7i"),
    ("instance_type", 0): ("m7i.${branch}", "large"),
    ("subnets", 0): ("subnet-${branch}", "a"),
    ("security_groups", 0): ("sg-${branch}", "a"),
    ("instance_profile",): ("${branch}", "app"),
    ("key_name",): ("${branch}", "app"),
    ("root_volume", "type"): ("${branch}", "gp3"),
    ("user_data",): ("echo ${branch}", "app"),
    ("tags", "x"): ("${branch}", "app"),
}
RIGHT: Final[dict[Place, tuple[str, str]]] = {
    ("project",): ("${environment}", "main"),
    ("owner",): ("${environment}@example.com", "main"),
    ("branch",): ("feature/${environment}", "main"),
    ("commit",): ("${environment}", "main"),
    ("chef_environment",): ("${branch}", "legacy"),
    ("ttl",): ("${branch}", "7d"),
    ("expires",): ("${branch}", "2030-12-24"),
    ("schedule", "stop"): ("0 ${branch} * * 1-5", "20"),
    ("schedule", "start"): ("0 ${branch} * * 1-5", "7"),
    ("schedule", "timezone"): ("${branch}", "UTC"),
    **{("defaults", *place): value for place, value in OF_ROLES.items()},
    **{("roles", "web", *place): value for place, value in OF_ROLES.items()},
}


def tree(place: Place, text: str, branch: str = "main") -> dict[str, Any]:
    """A file with nothing wrong but, perhaps, this text."""
    content: dict[str, Any] = {
        "project": "kickstarter",
        "owner": "me",
        "branch": branch,
        "defaults": {},
        "roles": {"web": {"count": 1}},
        "schedule": {"stop": "0 20 * * *", "start": "0 7 * * *", "timezone": "UTC"},
    }
    role = {
        "image": {"owner": "self", "name": "app"},
        "instance_type": ["t3.small"],
        "subnets": ["subnet-a"],
        "security_groups": ["sg-a"],
        "run_list": ["nginx"],
        "root_volume": {"size": 8, "type": "gp3"},
        "tags": {},
    }
    content["defaults" if place[0] == "defaults" else "roles"].update(
        role if place[0] == "defaults" else {"web": {"count": 1, **role}}
    )
    content = deepcopy(content)
    here: Any = content
    for part in place[:-1]:
        here = here[part]
    here[place[-1]] = text
    return content


def editor_takes(content: dict[str, Any]) -> bool:
    return EDITOR.is_valid(content)


def file_is_right(content: dict[str, Any]) -> bool:
    """By itself, as a template's would be."""
    file = check_file(json.dumps(content).encode(), file="x.yml", user_data_limit_bytes=USER_DATA_LIMIT_BYTES)
    return not file.findings


def environment_is_right(content: dict[str, Any]) -> bool:
    desired = read({f"{NAME}.yml": json.dumps(content)})
    assert bool(desired.findings) == (EnvironmentName(NAME) not in desired.environments)
    return not desired.findings


def test_every_text_of_the_schema_is_looked_at() -> None:
    assert set(RIGHT) == set(REPLACED)


@pytest.mark.parametrize("place", REPLACED, ids=lambda place: ".".join(map(str, place)))
def test_what_is_right_once_its_variables_are_replaced_is_right_in_the_editor(place: Place) -> None:
    content = tree(place, *RIGHT[place])
    assert environment_is_right(content)
    assert editor_takes(content)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize(
    "text",
    [
        *("${environment}", "${branch}", "${owner}", "${project}", "${commit}", "x ${environment} y"),
        *("${brnch}", "${environment}${x}", "${}", "${ branch }", "${branch-x}"),
        "${environment}" + "x" * 300,
    ],
)
def test_of_a_variable_in_a_file_both_say_the_same(place: Place, text: str) -> None:
    content = tree(place, text)
    assert editor_takes(content) == file_is_right(content)


@pytest.mark.parametrize("place", REPLACED, ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize("text", ["$${branch}", "x$${environment}", "$$${x}", "${branch", "$branch"])
def test_what_is_no_variable_is_judged_as_text_by_both(place: Place, text: str) -> None:
    content = tree(place, text)
    if place in {("schedule", "stop"), ("schedule", "start"), ("schedule", "timezone")} or place[-2:] == (
        "run_list",
        0,
    ):
        assert editor_takes(content), "cron lines, time zones and run-list items are beyond a schema"
        assert not environment_is_right(content)
    else:
        assert editor_takes(content) == environment_is_right(content)


def test_a_long_text_counts_as_what_it_comes_to() -> None:
    for place in (("defaults", "key_name"), ("defaults", "tags", "x"), ("defaults", "image", "name"), ("owner",)):
        fits = tree(place, "${environment}" * 19 if place[-1] != "name" else "${environment}" * 18)
        assert environment_is_right(fits)
        assert editor_takes(fits)
        too_long = tree(place, "${environment}" * 40)
        assert not environment_is_right(too_long)


# --- laws -----------------------------------------------------------------------------------------------------------

PARTS = st.sampled_from(
    ["$", "{", "}", "${", "$${", "a", " ", "\n", "branch", "environment", "${x}", *("${environment}", "${owner}")]
)


@given(st.lists(PARTS, min_size=1, max_size=8).map("".join))
def test_what_the_reader_says_of_the_variables_in_any_text_the_editor_says(text: str) -> None:
    faults = list(variable_faults("tags.x", text, is_source=False))
    assert editor_takes(tree(("defaults", "tags", "x"), text)) == (not faults)


@given(st.lists(PARTS, min_size=1, max_size=8).map("".join).map("a{}a".format).filter(lambda text: "\n" not in text))
def test_what_the_reader_says_of_the_sources_of_variables_the_editor_says(text: str) -> None:
    faults = list(variable_faults("owner", text, is_source=True))
    assert editor_takes(tree(("owner",), text)) == (not faults)
