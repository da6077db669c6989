"""Reading without git: the same findings for a folder on disk, or for one file of it."""

from pathlib import Path

import pytest

from reconciler.errors import Stalled
from reconciler.model.desired import Desired
from reconciler.spec import validate_folder as validate_folder_within
from tests.spec.revision import CHECKOUT, PRODUCTION, blob_id, read


def validate_folder(path: Path) -> Desired:
    return validate_folder_within(path, user_data_limit_bytes=8000)


SAMPLES = Path(__file__).parents[2] / "environments.d"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "production.yml").write_text(PRODUCTION)
    (tmp_path / "checkout.yml").write_text(CHECKOUT)
    return tmp_path


def test_a_folder_on_disk_says_what_a_revision_says(folder: Path) -> None:
    (folder / "broken.yml").write_text("extends: production\nowner: me\ndns: 1d\n")
    (folder / "old").mkdir()
    (folder / "old" / "search.yml").write_text(CHECKOUT)
    (folder / ".git").mkdir()
    (folder / ".git" / "index.yml").write_text("x")
    here = validate_folder(folder)
    there = read(
        {
            "production.yml": PRODUCTION,
            "checkout.yml": CHECKOUT,
            "broken.yml": "extends: production\nowner: me\ndns: 1d\n",
            "old/search.yml": CHECKOUT,
        }
    )
    assert here.names == there.names
    assert [str(finding).removeprefix(str(folder)) for finding in here.findings] == [
        str(finding).removeprefix("environments.d") for finding in there.findings
    ]


def test_one_file_is_judged_with_its_parent_beside_it(folder: Path) -> None:
    (folder / "broken.yml").write_text("dns: 1d\n")
    desired = validate_folder(folder / "checkout.yml")
    assert desired.findings == ()
    assert set(desired.environments) == {"checkout"}
    desired = validate_folder(folder / "broken.yml")
    assert len(desired.findings) == 5
    assert set(desired.frozen) == {"broken"}


def test_one_file_is_told_what_is_wrong_with_its_parent(folder: Path) -> None:
    (folder / "production.yml").write_text(PRODUCTION + "dns: 1d\n")
    desired = validate_folder(folder / "checkout.yml")
    assert [str(finding) for finding in desired.findings] == [
        f"{folder}/production.yml:18: dns is not supported yet (remove it)"
    ]


def test_a_template_can_be_judged_by_itself(folder: Path) -> None:
    (folder / "_base.yml").write_text("defaults: {cuont: 1}\n")
    desired = validate_folder(folder / "_base.yml")
    assert [str(finding) for finding in desired.findings] == [
        f'{folder}/_base.yml:1: unknown key "cuont" (did you mean "count"?)'
    ]


def test_links_and_pipes_are_not_read(folder: Path) -> None:
    (folder / "link.yml").symlink_to(folder / "production.yml")
    (folder / "dangling.yml").symlink_to(folder / "nothing")
    (folder / "folder.yml").symlink_to("/etc", target_is_directory=True)
    desired = validate_folder(folder)
    assert set(desired.frozen) == {"link", "dangling", "folder"}
    assert {finding.message for finding in desired.findings} == {"a symbolic link is not read"}
    assert len(validate_folder(folder / "dangling.yml").findings) == 1


def test_a_file_that_is_too_large_is_not_read(folder: Path) -> None:
    (folder / "large.yml").write_bytes(b"#" * 300_000)
    assert [finding.message for finding in validate_folder(folder).findings] == ["the file is larger than 256 KiB"]


def test_another_kind_of_file_is_no_environment(folder: Path) -> None:
    (folder / "notes.txt").write_text("x")
    assert [str(finding) for finding in validate_folder(folder / "notes.txt").findings] == [
        f"{folder}/notes.txt:1: this is not an environment file (name one that ends in .yml or .yaml)"
    ]


@pytest.mark.parametrize("name", ["nothing", "nothing.yml", "no/such/folder"])
def test_a_path_that_is_not_there_is_an_error(folder: Path, name: str) -> None:
    with pytest.raises(Stalled, match="cannot be read: No such file or directory"):
        validate_folder(folder / name)


def test_blobs_are_named_as_git_names_them() -> None:
    assert blob_id(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git hash-object /dev/null


def test_the_samples_are_sound_and_small_enough_for_a_laptop() -> None:
    desired = validate_folder(SAMPLES)
    assert desired.findings == ()
    counts = {
        name: {role.name: role.count for role in environment.roles.values()}
        for name, environment in desired.environments.items()
    }
    assert counts == {
        "production": {"web": 2, "worker": 1},
        "staging": {"web": 1, "worker": 1},
        "checkout": {"web": 1, "worker": 1},
        "search-ranking": {"web": 1, "worker": 1},
    }
    assert [name for name, environment in desired.environments.items() if environment.protected] == ["production"]
    lines = (SAMPLES / "checkout.yml").read_text().splitlines()
    assert len([line for line in lines if not line.startswith("#")]) == 6
