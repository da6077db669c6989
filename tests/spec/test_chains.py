"""`extends` from file to file: what a chain comes to, and what freezes when a link of it is broken."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.names import EnvironmentName, RoleName
from tests.spec.revision import CHECKOUT, PRODUCTION, Revision, read, reader, told

WEB = RoleName("web")
TEMPLATE = PRODUCTION.replace("owner: ops@example.com\n", "").replace("protected: true\n", "")


def extending(parent: str, rest: str = "") -> str:
    return f"extends: {parent}\nowner: me\n{rest}"


def short(lines: list[str]) -> list[str]:
    return [line.removeprefix("environments.d/") for line in lines]


def test_the_nearest_file_wins_and_all_of_them_are_in() -> None:
    desired = read(
        {
            "_base.yml": TEMPLATE,
            "_large.yml": "extends: _base\ndefaults: {key_name: ops}\nroles: {web: {count: 9, tags: {size: large}}}\n",
            "staging.yml": extending("_large", "branch: staging\nroles: {worker: null}\n"),
            "checkout.yml": extending("staging", "roles: {web: {count: 1}}\n"),
        }
    )
    assert desired.findings == ()
    checkout = desired.environments[EnvironmentName("checkout")]
    assert checkout.branch == "staging"
    assert set(checkout.roles) == {"web"}
    web = checkout.roles[WEB]
    assert (web.count, web.key_name, web.tags) == (1, "ops", {"size": "large"})
    assert {key: str(web.origin(key)).removeprefix("environments.d/") for key in ("count", "tags.size", "image")} == {
        "count": "checkout.yml:3",
        "tags.size": "_large.yml:3",
        "image": "_base.yml:4",
    }


def test_what_is_about_one_environments_life_comes_from_no_ancestor() -> None:
    desired = read(
        {
            "a.yml": PRODUCTION + "suspend: true\nttl: 3d\nexpires: 2026-12-24\n",
            "b.yml": extending("a"),
            "c.yml": extending("b"),
        }
    )
    assert desired.findings == ()
    for name in ("b", "c"):
        environment = desired.environments[EnvironmentName(name)]
        assert (environment.protected, environment.suspend, environment.owner) == (False, False, "me")
        assert (environment.lifetime.ttl, environment.lifetime.expires_at) == (None, None)


def test_a_commit_stays_behind_with_its_branch_anywhere_in_the_chain() -> None:
    desired = read(
        {
            "a.yml": PRODUCTION + "commit: 0123abc\n",
            "b.yml": extending("a", "branch: b\n"),
            "c.yml": extending("b"),
            "d.yml": extending("a"),
        }
    )
    commits = {name: environment.commit for name, environment in desired.environments.items()}
    assert commits == {"a": "0123abc", "b": None, "c": None, "d": "0123abc"}


def test_what_null_removed_does_not_come_back_with_the_map_it_was_in() -> None:
    desired = read(
        {
            "a.yml": PRODUCTION,
            "b.yml": extending("a", "roles: {web: {attributes: {unicorn: null}}}\n"),
            "c.yml": extending("b", "roles: {web: {attributes: {unicorn: {timeout: 5}}}}\n"),
        }
    )
    web = desired.environments[EnvironmentName("c")].roles[WEB]
    assert web.attributes == {"unicorn": {"timeout": 5}}
    assert str(web.origins["attributes.unicorn.timeout"]) == "environments.d/c.yml:3"
    assert "attributes.unicorn.workers" not in web.origins


def test_a_chain_may_be_five_links_long_and_no_longer() -> None:
    files: dict[str, str | bytes] = {"e0.yml": PRODUCTION}
    files |= {f"e{number}.yml": extending(f"e{number - 1}") for number in range(1, 8)}
    desired = read(files)
    assert set(desired.environments) == {"e0", "e1", "e2", "e3", "e4", "e5"}
    assert short(told(desired)) == [
        (
            "e6.yml:1: extends more than 5 files, one over the other: e6 → e5 → e4 → e3 → e2 → e1 → e0 "
            "(extend e4, or one further on)"
        )
    ]
    assert set(desired.frozen) == {"e6", "e7"}
    assert desired.frozen[EnvironmentName("e7")].findings == desired.findings


def test_a_very_long_chain_is_no_trouble() -> None:
    files: dict[str, str | bytes] = {"e0.yml": PRODUCTION}
    files |= {f"e{number}.yml": extending(f"e{number - 1}") for number in range(1, 3000)}
    assert len(told(read(files))) == 1


def test_a_circle_is_told_at_each_of_its_lines_and_freezes_what_leads_into_it() -> None:
    desired = read({"a.yml": extending("b"), "b.yml": extending("c"), "c.yml": extending("a"), "d.yml": extending("a")})
    assert short(told(desired)) == [
        "a.yml:1: a extends itself: a → b → c → a (name another environment or template)",
        "b.yml:1: b extends itself: b → c → a → b (name another environment or template)",
        "c.yml:1: c extends itself: c → a → b → c (name another environment or template)",
    ]
    assert set(desired.frozen) == {"a", "b", "c", "d"}


def test_a_missing_grandparent_is_told_once_where_it_is_named() -> None:
    desired = read(
        {"_t.yml": "extends: nothing\n", "a.yml": extending("_t"), "b.yml": extending("a"), "c.yml": PRODUCTION}
    )
    [line] = short(told(desired))
    assert line.startswith('_t.yml:1: extends "nothing", which does not exist')
    assert desired.declared - set(desired.environments) == {"a", "b"}
    assert set(desired.environments) == {"c"}


def test_a_template_that_nobody_extends_is_still_told_what_is_wrong_with_it() -> None:
    assert len(told(read({"_t.yml": "extends: nothing\n"}))) == 1


@pytest.mark.parametrize("broken", ["extends: [\n", PRODUCTION + "dns: 1d\n", PRODUCTION.replace("count", "cuont")])
def test_a_broken_file_freezes_all_that_stand_on_it(broken: str) -> None:
    desired = read({"a.yml": broken, "b.yml": extending("a"), "c.yml": extending("b"), "d.yml": PRODUCTION})
    assert set(desired.frozen) == {"a", "b", "c"}
    assert set(desired.environments) == {"d"}
    assert {finding.origin.file for finding in desired.findings} == {"environments.d/a.yml"}


def test_a_file_that_may_not_be_read_freezes_all_that_stand_on_it() -> None:
    files = {"a.yml": PRODUCTION, "b.yml": extending("a"), "c.yml": extending("b")}
    desired = read(files, {"a.yml": "120000"})
    assert set(desired.frozen) == {"a", "b", "c"}
    assert len(desired.findings) == 1


def test_an_incomplete_ancestor_serves_those_that_complete_it() -> None:
    desired = read(
        {
            "a.yml": TEMPLATE,  # nobody owns it
            "b.yml": extending("a"),
        }
    )
    assert set(desired.frozen) == {"a"}
    assert set(desired.environments) == {"b"}


def test_a_change_above_reaches_all_below_and_nobody_else() -> None:
    files: dict[str, str | bytes] = {
        "_base.yml": TEMPLATE,
        "b.yml": extending("_base"),
        "c.yml": extending("b"),
        "d.yml": PRODUCTION,
    }
    spec = reader()
    before = Revision(files).read_with(spec).environments
    after = Revision({**files, "_base.yml": TEMPLATE.replace("count: 4", "count: 5")}).read_with(spec).environments
    assert [after[EnvironmentName(name)].roles[WEB].count for name in "bcd"] == [5, 5, 4]
    assert after[EnvironmentName("d")] is before[EnvironmentName("d")]


def test_what_a_chain_comes_to_is_bounded() -> None:
    large = f"attributes: {{text: {'x' * 60_000}}}"
    roles = "".join(f"  r{number}: {{count: 0, run_list: []}}\n" for number in range(20))
    desired = read(
        {"_base.yml": TEMPLATE.replace("defaults:", f"defaults:\n  {large}") + roles, "a.yml": extending("_base")}
    )
    [line] = short(told(desired))
    assert line.startswith("a.yml:1: 1")
    assert line.endswith(
        "bytes are declared or inherited, at most 1000000 are allowed "
        "(shorten attributes or user_data; each role has the defaults, too)"
    )


# --- laws -----------------------------------------------------------------------------------------------------------

NAMES = ["a", "b", "c", "d", "_t"]
PARENTS = st.fixed_dictionaries({}, optional={name: st.sampled_from([*NAMES, "production"]) for name in NAMES})


@given(PARENTS, st.randoms(use_true_random=False))
def test_whatever_extends_whatever_every_name_is_kept_and_the_answer_is_one(
    parents: dict[str, str], random: Random
) -> None:
    files: dict[str, str | bytes] = {"production.yml": PRODUCTION}
    files |= {f"{name}.yml": extending(parent) for name, parent in parents.items()}
    desired = read(files)
    assert desired.declared == {"production", *(name for name in parents if name != "_t")}
    shuffled = list(files.items())
    random.shuffle(shuffled)
    assert read(dict(shuffled)) == desired
    for name in parents:
        seen, stem = set(), name
        while stem in parents and stem not in seen:
            seen.add(stem)
            stem = parents[stem]
        is_sound = stem == "production" and len(seen) <= 5
        assert name == "_t" or (EnvironmentName(name) in desired.environments) == is_sound


def test_a_reader_that_remembers_a_chain_sees_each_link_change() -> None:
    spec = reader()
    files: dict[str, str | bytes] = {"production.yml": PRODUCTION, "b.yml": CHECKOUT, "c.yml": extending("b")}
    for path, text in (
        ("b.yml", "extends: ["),
        ("b.yml", CHECKOUT.replace("count: 1", "count: 3")),
        ("production.yml", PRODUCTION.replace("workers: 8", "workers: 9")),
        ("b.yml", extending("c")),
        ("c.yml", PRODUCTION),
    ):
        files[path] = text
        assert Revision(files).read_with(spec) == read(files)
