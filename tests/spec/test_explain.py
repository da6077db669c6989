"""`explain`: the merged spec, and a source for every value of it that really holds it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.document import read_document
from reconciler.errors import Stalled
from reconciler.model.desired import Environment, Json
from reconciler.model.names import EnvironmentName
from reconciler.spec import Explained, SpecReader, explain_folder, part_of
from reconciler.spec.explain import explain
from reconciler.spec.files import Files
from reconciler.spec.rendering import lines_of
from reconciler.spec.variables import expand
from tests.spec.revision import CHECKOUT, FOLDER, PRODUCTION, USER_DATA_LIMIT_BYTES, Revision

TEMPLATE = """\
project: kickstarter
branch: main
defaults:
  image: ami-0123456789abcdef0
  instance_type: m7i.large
  subnets: [subnet-a]
  security_groups: [sg-app]
  tags: {url: "https://${environment}.example.com"}
roles:
  web: {count: 4, run_list: [nginx], attributes: {a.b: {c: [1, {d: x}, []]}, empty: {}}}
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def explained(folder: Path, stem: str) -> Explained:
    return explain_folder(folder, stem, user_data_limit_bytes=USER_DATA_LIMIT_BYTES)


def drawn(one: Explained, key: str = "") -> str:
    path, part = part_of(one, key) if key else ((), dict(one.tree))
    return "".join(f"{line}\n" for line in lines_of(one, path, part))


def test_every_value_is_shown_with_its_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, {"_base.yml": TEMPLATE, "checkout.yml": "extends: _base\nowner: me\nroles:\n  web: {count: 1}\n"})
    assert (
        drawn(explained(tmp_path, "checkout")).replace(f"{tmp_path}/", "")
        == """\
project: kickstarter                     # _base.yml:1
branch: main                             # _base.yml:2
extends: _base                           # checkout.yml:1
owner: me                                # checkout.yml:2
roles:
  web:
    image: ami-0123456789abcdef0         # _base.yml:4, defaults
    instance_type: m7i.large             # _base.yml:5, defaults
    subnets:
      - subnet-a                         # _base.yml:6, defaults
    security_groups:
      - sg-app                           # _base.yml:7, defaults
    tags:
      url: https://checkout.example.com  # _base.yml:8, defaults, from "https://${environment}.example.com"
    count: 1                             # checkout.yml:4
    run_list:
      - nginx                            # _base.yml:10
    attributes:
      a.b:
        c:
          - 1                            # _base.yml:10
          - d: x                         # _base.yml:10
          - []                           # _base.yml:10
      empty: {}                          # _base.yml:10
"""
    )


def test_a_part_is_asked_for_by_its_dotted_key(tmp_path: Path) -> None:
    write(tmp_path, {"_base.yml": TEMPLATE, "checkout.yml": "extends: _base\nowner: me\n"})
    one = explained(tmp_path, "checkout")
    assert part_of(one, "roles.web.attributes.a.b.c.1.d") == (("roles", "web", "attributes", "a.b", "c", 1, "d"), "x")
    assert drawn(one, "roles.web.count") == f"count: 4  # {tmp_path}/_base.yml:10\n"


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("roles.wep", 'did you mean "web"?'),
        ("ownr", 'did you mean "owner"?'),
        ("roles.web.subnets.7", "known in roles.web.subnets: 0"),
        ("project.x", ""),
    ],
)
def test_a_key_that_is_not_there_is_told_what_is(tmp_path: Path, key: str, remedy: str) -> None:
    write(tmp_path, {"production.yml": PRODUCTION})
    one = explained(tmp_path, "production")
    expected = "known in roles.web.subnets: 0, 1" if "subnets" in key else remedy
    with pytest.raises(Stalled, match=f"production has no {key}") as caught:
        part_of(one, key)
    assert caught.value.remedy == expected


def test_an_environment_that_is_not_there_is_told_which_are(tmp_path: Path) -> None:
    write(tmp_path, {"production.yml": PRODUCTION})
    with pytest.raises(Stalled, match="declares no prodution") as caught:
        explained(tmp_path, "prodution")
    assert caught.value.remedy == 'did you mean "production"?'
    with pytest.raises(Stalled) as caught:
        explained(tmp_path, "x")
    assert caught.value.remedy == "known: production"
    (tmp_path / "production.yml").unlink()
    with pytest.raises(Stalled) as caught:
        explained(tmp_path, "x")
    assert caught.value.remedy == "name another folder"


def test_a_template_is_explained_though_it_is_not_complete(tmp_path: Path) -> None:
    one = explained(write(tmp_path, {"_base.yml": TEMPLATE}), "_base")
    assert one.findings == ()
    assert "${environment}" in drawn(one)


def test_what_is_wrong_is_told_beside_what_can_be_merged(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"production.yml": PRODUCTION, "checkout.yml": CHECKOUT + "dns: x\n", "other.yml": "extends: checkout"},
    )
    one = explained(tmp_path, "checkout")
    assert [finding.message for finding in one.findings] == ["dns is not supported yet"]
    assert one.tree["branch"] == "checkout-redesign"
    other = explained(tmp_path, "other")
    assert (other.tree, other.findings) == ({}, one.findings)


@pytest.mark.parametrize("text", ["extends: [\n", "- x\n"])
def test_of_a_file_that_cannot_be_read_only_that_is_told(tmp_path: Path, text: str) -> None:
    one = explained(write(tmp_path, {"checkout.yml": text}), "checkout")
    assert (one.tree, len(one.findings)) == ({}, 1)


def test_a_link_and_what_is_too_large_are_only_told(tmp_path: Path) -> None:
    write(tmp_path, {"production.yml": PRODUCTION})
    (tmp_path / "checkout.yml").symlink_to(tmp_path / "production.yml")
    assert [finding.message for finding in explained(tmp_path, "checkout").findings] == ["a symbolic link is not read"]
    big = f"attributes: {{x: {'x' * 60_000}}}"
    roles = "".join(f"  r{number}: {{count: 0}}\n" for number in range(20))
    write(tmp_path, {"big.yml": PRODUCTION.replace("defaults:", f"defaults:\n  {big}") + roles})
    assert "bytes are declared or inherited" in explained(tmp_path, "big").findings[0].message


# --- laws -----------------------------------------------------------------------------------------------------------

# Of the line breaks of Unicode two are no control characters, and few texts would hold them by chance.
UNICODE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from("\u2028\u2029\ufeff#:"), max_size=8
)
TEXTS = UNICODE | st.sampled_from(
    [
        "yes",
        "1e3",
        "0x1f",
        "null",
        "~",
        "a: b",
        "a #b",
        "- x",
        "x:",
        "",
        " x",
        "012",
        "${branch}",
        "$${x}",
        "12:30",
        "[a]",
    ]
)
ATTRIBUTES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-4, 4, allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c.d"]), inner, max_size=3),
    max_leaves=6,
)
ROLE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers(0, 9) | st.none(),
        "attributes": st.dictionaries(
            st.sampled_from(["a", "b", "yes", "x y", "\u2028", "é: #"]), ATTRIBUTES, max_size=3
        )
        | st.none(),
        "tags": st.dictionaries(
            st.sampled_from(["t", "u"]),
            st.sampled_from(["x", "${owner}", "${branch}-1", "$${x}"]) | UNICODE.map("${{branch}}{}".format),
        ),
        "run_list": st.lists(st.sampled_from(["nginx", "role[${project}]", "base"]), max_size=3),
        "user_data": st.sampled_from(["echo ${HOME} ${branch}", "exit\nfi", "x"]),
    },
)
FILE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"owner": st.sampled_from(["me", "${environment}@example.com"])},
    optional={
        "branch": st.sampled_from(["main", "feature/${environment}"]),
        "schedule": st.just({"stop": "0 20 * * *", "start": "0 7 * * *", "timezone": "UTC"}) | st.none(),
        "ttl": st.sampled_from(["1d", "2h"]),
        "defaults": ROLE | st.none(),
        "roles": st.fixed_dictionaries({}, optional={"web": ROLE, "worker": ROLE | st.none()}),
    },
)
CHAINS = st.lists(FILE, min_size=1, max_size=4)
BASE: dict[str, Json] = {
    "project": "kickstarter",
    "branch": "main",
    "defaults": {
        "count": 1,
        "image": "ami-0123456789abcdef0",
        "instance_type": "m7i.large",
        "subnets": ["subnet-a"],
        "security_groups": ["sg-app"],
        "run_list": ["nginx"],
    },
    "roles": {"web": {}, "worker": {"count": 2}},
}


class Quoting(yaml.SafeDumper):
    """PyYAML leaves 08 without quotes, for to it that is no number; the reader asks for them, for to others it is one."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if re.match(r"[-+.0-9]", text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Quoting.add_representer(str, _quoted)


def files_of(chain: list[dict[str, Json]]) -> dict[str, str]:
    files = {"_base.yml": yaml.safe_dump(BASE, sort_keys=False)}
    above = "_base"
    for index, content in enumerate(chain):
        stem = "checkout" if index == len(chain) - 1 else f"e{index}"
        files[f"{stem}.yml"] = yaml.dump(
            {"extends": above, **content}, Dumper=Quoting, sort_keys=False, allow_unicode=True
        )
        above = stem
    return files


def taken(files: Mapping[str, str]) -> tuple[Explained, Environment | None]:
    revision = Revision(dict(files))
    spec = SpecReader(user_data_limit_bytes=USER_DATA_LIMIT_BYTES)
    environment = revision.read_with(spec).environments.get(EnvironmentName("checkout"))
    entries, read_blobs = revision.listed()
    read = Files(
        folder=FOLDER, entries=entries, read_blobs=read_blobs, user_data_limit_bytes=USER_DATA_LIMIT_BYTES, known={}
    )
    return explain(read, "checkout"), environment


@given(CHAINS)
def test_what_is_explained_is_what_is_desired(chain: list[dict[str, Json]]) -> None:
    one, environment = taken(files_of(chain))
    assert (environment is None) == bool(one.findings)
    if environment is None:
        return
    tree = one.tree
    assert (tree["branch"], tree["owner"]) == (environment.branch, environment.owner)
    roles = tree["roles"]
    assert isinstance(roles, dict)
    assert set(roles) == set(environment.roles)
    for name, role in environment.roles.items():
        merged = roles[name]
        assert isinstance(merged, dict)
        assert merged.get("count") == role.count
        assert merged.get("attributes", {}) == role.attributes
        assert merged.get("tags", {}) == role.tags
        assert merged.get("user_data") == role.user_data
        assert role.origins.get("count") == next(
            value.origin for value in one.values if value.path == ("roles", name, "count")
        )


@given(CHAINS)
def test_every_leaf_has_a_source_that_holds_it(chain: list[dict[str, Json]]) -> None:
    files = files_of(chain)
    one, _ = taken(files)
    values = {value.path: value for value in one.values}
    assert set(values) == set(leaves(dict(one.tree)))
    variables = {"environment": "checkout", "project": "kickstarter", "commit": None} | {
        key: str(one.tree.get(key)) for key in ("branch", "owner")
    }
    for path, value in values.items():
        file = value.origin.file.removeprefix(f"{FOLDER}/")
        document = read_document(files[file].encode(), file=file)
        there = ("defaults", *path[2:]) if value.is_default else path
        held: Json = document.tree
        for key in there:
            held = held[key]  # type: ignore[index] # fails the test where it is not there
        assert document.lines[there] == value.origin.line
        if value.value == {}:
            assert isinstance(held, dict), "nulls may have emptied it"
        else:
            assert held == (value.value if value.written is None else value.written)
        if value.written is not None:
            assert expand(value.written, variables, is_shell="user_data" in path) == value.value


@given(CHAINS)
@example([{"owner": "me", "defaults": {"tags": {"t": "${branch}\u2028evil: 1"}}}])
def test_what_is_drawn_reads_back_as_what_is_merged(chain: list[dict[str, Json]]) -> None:
    one, _ = taken(files_of(chain))
    document = read_document(drawn(one).encode(), file="drawn.yml")
    assert document.findings == ()
    assert document.tree == one.tree


def leaves(value: Json, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    parts = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [leaf for key, part in parts for leaf in leaves(part, (*path, key))] if parts else [path]
