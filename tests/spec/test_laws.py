"""Whatever happens to one file, no name is lost and no other environment changes; caching changes nothing."""

from collections.abc import Collection, Mapping

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.errors import SourceRejected
from reconciler.model.desired import Json
from reconciler.model.names import BlobId, EnvironmentName, RevisionId
from reconciler.ports import TreeEntry
from tests.spec.revision import CHECKOUT, FOLDER, PRODUCTION, Revision, blob_id, read, reader

FILES: dict[str, str | bytes] = {
    "production.yml": PRODUCTION,
    "checkout.yml": CHECKOUT,
    "search.yml": CHECKOUT.replace("checkout", "search"),
    "alone.yml": PRODUCTION.replace("main", "alone"),
}
NAMES = frozenset({"production", "checkout", "search", "alone"})

CUTS = st.tuples(st.integers(0, 400), st.integers(0, 60), st.binary(max_size=12))


def mutilate(text: str | bytes, cut: tuple[int, int, bytes]) -> bytes:
    content = text.encode() if isinstance(text, str) else text
    start, length, instead = cut
    return content[:start] + instead + content[start + length :]


@given(st.sampled_from(["checkout.yml", "alone.yml"]), CUTS)
@example("checkout.yml", (0, 400, b""))
@example("alone.yml", (0, 400, b"extends: checkout"))
def test_no_mutilation_of_a_file_loses_its_name_or_changes_another(path: str, cut: tuple[int, int, bytes]) -> None:
    before = read(FILES)
    after = read({**FILES, path: mutilate(FILES[path], cut)})
    assert after.names == NAMES
    own = EnvironmentName(path.removesuffix(".yml"))
    for name in NAMES - {own}:
        assert after.environments[EnvironmentName(name)] == before.environments[EnvironmentName(name)]
    assert own in after.environments or after.frozen[own].findings


@given(CUTS)
def test_no_mutilation_of_a_parent_loses_a_child(cut: tuple[int, int, bytes]) -> None:
    after = read({**FILES, "production.yml": mutilate(PRODUCTION, cut)})
    assert after.names == NAMES
    assert EnvironmentName("alone") in after.environments


ANYTHING: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.sampled_from(["x", "${branch}", "$${x}", "${x}", "1d", "2026-01-01"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["web", "a", "stop"]), inner, max_size=2)
    ),
    max_leaves=4,
)
PLACES = [
    *(
        "extends",
        "project",
        "owner",
        "branch",
        "commit",
        "protected",
        "ttl",
        "expires",
        "schedule",
        "defaults",
        "roles",
    ),
    *(
        "roles.web",
        "roles.web.count",
        "roles.web.run_list",
        "roles.web.attributes",
        "roles.web.tags",
        "roles.web.image",
    ),
    *("roles.web.user_data", "defaults.attributes", "defaults.instance_type", "schedule.timezone"),
]


@given(st.sampled_from(["production.yml", "_middle.yml", "checkout.yml"]), st.sampled_from(PLACES), ANYTHING)
def test_whatever_stands_anywhere_in_a_chain_is_read_or_told(path: str, place: str, value: Json) -> None:
    files = {
        "production.yml": PRODUCTION,
        "_middle.yml": 'extends: production\ndefaults: {tags: {at: "${branch}"}}\n',
        "checkout.yml": CHECKOUT.replace("production", "_middle"),
    }
    tree = yaml.safe_load(files[path])
    *sections, key = place.split(".")
    here = tree
    for section in sections:
        here = here.setdefault(section, {})
    here[key] = value
    files[path] = yaml.safe_dump(tree)
    desired = read(files)
    assert desired.declared == {"production", "checkout"}
    assert desired.findings == read(files).findings
    for name, frozen in desired.frozen.items():
        assert frozen.is_trace or frozen.findings, name
    if desired.frozen.get(EnvironmentName("production")):
        assert EnvironmentName("checkout") in desired.names


@given(st.lists(st.tuples(st.sampled_from(sorted(FILES)), st.none() | CUTS), max_size=6))
def test_a_reader_that_remembers_answers_like_a_fresh_one(
    changes: list[tuple[str, tuple[int, int, bytes] | None]],
) -> None:
    remembering = reader()
    files = dict(FILES)
    for path, cut in changes:
        if cut is None:
            files.pop(path, None)
        else:
            files[path] = mutilate(FILES[path], cut)
        assert Revision(files).read_with(remembering) == read(files)


def test_one_changed_file_costs_one_blob() -> None:
    spec = reader()
    first = Revision(FILES)
    first.read_with(spec)
    assert len(first.reads) == len(FILES)
    changed = Revision({**FILES, "checkout.yml": CHECKOUT + "# a comment\n"})
    changed.read_with(spec)
    assert changed.reads == [blob_id((CHECKOUT + "# a comment\n").encode())]
    again = Revision({**FILES, "checkout.yml": CHECKOUT + "# a comment\n"})
    again.read_with(spec)
    assert again.reads == []


def test_what_is_no_longer_referenced_is_forgotten() -> None:
    spec = reader()
    Revision(FILES).read_with(spec)
    Revision({"alone.yml": FILES["alone.yml"]}).read_with(spec)
    again = Revision(FILES)
    again.read_with(spec)
    assert len(again.reads) == len(FILES) - 1


def test_an_unchanged_environment_is_the_same_object_as_before() -> None:
    spec = reader()
    name = EnvironmentName("alone")
    before = Revision(FILES).read_with(spec).environments[name]
    after = Revision({**FILES, "checkout.yml": "broken: ["}).read_with(spec).environments[name]
    assert after is before


def test_equal_files_of_two_names_are_two_environments() -> None:
    desired = read({"a.yml": PRODUCTION, "b.yml": PRODUCTION})
    assert [str(environment.origin) for environment in desired.environments.values()] == [
        "environments.d/a.yml:1",
        "environments.d/b.yml:1",
    ]


def test_a_blob_that_is_not_delivered_is_no_absence() -> None:
    entry = TreeEntry(path="a.yml", blob=BlobId("0" * 40), mode="100644", size=3)

    def read_blobs(wanted: Collection[BlobId]) -> Mapping[BlobId, bytes]:
        return {}

    with pytest.raises(SourceRejected, match="1 blobs could not be read"):
        reader().read(revision=RevisionId("1" * 40), folder=FOLDER, entries=(entry,), read_blobs=read_blobs)
