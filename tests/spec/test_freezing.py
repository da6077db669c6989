"""A name is let go only when nothing in the folder bears it any more; a file that cannot be trusted is never read as gone."""

import pytest

from reconciler.document import SIZE_LIMIT_BYTES
from reconciler.model.names import EnvironmentName
from tests.spec.revision import CHECKOUT, PRODUCTION, read, told

CHECKOUT_NAME = EnvironmentName("checkout")


def test_a_folder_without_files_declares_nothing() -> None:
    desired = read({})
    assert desired.names == frozenset()
    assert desired.findings == ()


def test_the_ending_makes_no_difference() -> None:
    yml = read({"production.yml": PRODUCTION, "checkout.yml": CHECKOUT})
    yaml = read({"production.yaml": PRODUCTION, "checkout.yaml": CHECKOUT})
    assert yml.names == yaml.names == {"production", "checkout"}
    assert yml.environments[CHECKOUT_NAME].roles == yaml.environments[CHECKOUT_NAME].roles


def test_a_template_is_never_an_environment() -> None:
    desired = read({"_base.yml": PRODUCTION, "checkout.yml": CHECKOUT.replace("production", "_base")})
    assert set(desired.environments) == {"checkout"}
    assert desired.findings == ()


def test_two_files_for_one_name_freeze_it() -> None:
    desired = read({"a.yml": PRODUCTION, "a.yaml": PRODUCTION, "b.yml": PRODUCTION})
    assert told(desired) == ["environments.d/a.yaml:1: two files declare a: a.yaml and a.yml (delete one of them)"]
    assert set(desired.frozen) == {"a"}
    assert set(desired.environments) == {"b"}


def test_a_template_in_two_files_freezes_what_extends_it() -> None:
    desired = read({"_a.yml": PRODUCTION, "_a.yaml": PRODUCTION, "b.yml": CHECKOUT.replace("production", "_a")})
    assert told(desired) == ["environments.d/_a.yaml:1: two files declare _a: _a.yaml and _a.yml (delete one of them)"]
    assert not desired.frozen[EnvironmentName("b")].is_trace


@pytest.mark.parametrize(
    ("mode", "content", "expected"),
    [
        ("120000", "../secrets.yml", "a symbolic link is not read (commit the file itself)"),
        ("160000", "", "a submodule is not read (commit the file itself)"),
        ("100644", "#" * (SIZE_LIMIT_BYTES + 1), "the file is larger than 256 KiB (split it, or shorten it)"),
    ],
)
def test_what_must_not_be_read_freezes_its_name_and_what_extends_it(mode: str, content: str, expected: str) -> None:
    desired = read({"production.yml": content, "checkout.yml": CHECKOUT}, {"production.yml": mode})
    assert told(desired) == [f"environments.d/production.yml:1: {expected}"]
    assert set(desired.frozen) == {"production", "checkout"}


def test_an_executable_file_is_a_file() -> None:
    assert set(read({"a.yml": PRODUCTION}, {"a.yml": "100755"}).environments) == {"a"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "Checkout.yml",
            (
                '"Checkout" cannot name an environment (rename the file to "checkout.yml"; '
                "lower-case letters, digits and single hyphens, a letter first)"
            ),
        ),
        (
            "checkout.YML",
            'the file\'s ending ".YML" is not read (rename the file to "checkout.yml"; endings are lower-case)',
        ),
        (
            "old/checkout.yml",
            (
                "checkout is not declared, but this file bears its name; checkout is neither changed nor torn down "
                '(move it to "checkout.yml" to declare checkout, or rename or delete it to let checkout go)'
            ),
        ),
        (
            "checkout.old.yaml",
            (
                '"checkout.old" cannot name an environment (rename the file to "checkout-old.yaml"; '
                "lower-case letters, digits and single hyphens, a letter first)"
            ),
        ),
    ],
)
def test_a_file_that_looks_like_an_environment_elsewhere_is_a_finding_and_freezes(path: str, expected: str) -> None:
    desired = read({"production.yml": PRODUCTION, path: CHECKOUT})
    assert told(desired) == [f"environments.d/{path}:1: {expected}"]
    assert CHECKOUT_NAME in desired.names
    assert desired.frozen[CHECKOUT_NAME].is_trace


@pytest.mark.parametrize(
    "path",
    [
        "checkout.yml.bak",
        "checkout.md",
        "_checkout.yml",
        "old/_checkout.yml",
        "old/CHECKOUT.txt",
        "a/b/c/checkout.json",
        ".checkout.yml",
    ],
)
def test_any_other_bearer_of_the_name_freezes_silently(path: str) -> None:
    desired = read({"production.yml": PRODUCTION, path: PRODUCTION})
    assert desired.findings == ()
    frozen = desired.frozen[CHECKOUT_NAME]
    assert frozen.is_trace
    assert "checkout is neither changed nor torn down" in frozen.findings[0].message


@pytest.mark.parametrize("path", ["checkout.yml.bak", "old/checkout.yml", "_checkout.yml", "checkout.md"])
def test_a_declared_name_is_not_frozen_by_its_namesakes(path: str) -> None:
    desired = read({"production.yml": PRODUCTION, "checkout.yml": CHECKOUT, path: PRODUCTION})
    assert CHECKOUT_NAME in desired.environments
    assert desired.findings == ()
    assert desired.frozen == {}


@pytest.mark.parametrize(
    "path", ["README", "checkout", "old/checkout", ".gitignore", "production.md", "x_y.md", "9.txt"]
)
def test_what_bears_no_name_changes_nothing(path: str) -> None:
    desired = read({"production.yml": PRODUCTION, path: "text"})
    assert desired.names == {"production"}
    assert desired.findings == ()


@pytest.mark.parametrize(
    ("path", "meant"),
    [("check_out.yml", "check-out"), ("Check Out.yaml", "check-out"), ("-x-.yml", "x"), ("a..b.yml", "a-b")],
)
def test_a_bad_name_freezes_what_it_could_have_meant(path: str, meant: str) -> None:
    desired = read({path: PRODUCTION})
    assert meant in desired.frozen
    assert len(desired.findings) == 1
    assert f'rename the file to "{meant}.' in desired.findings[0].remedy


@pytest.mark.parametrize("path", ["9lives.yml", "___.yml", "ü.yml", "a" * 28 + ".yml", "_" + "a" * 28 + ".yml"])
def test_a_bad_name_that_means_nothing_is_only_told(path: str) -> None:
    desired = read({path: PRODUCTION, "b.yml": PRODUCTION})
    assert len(desired.findings) == 1
    assert set(desired.environments) == {"b"}
    assert not desired.frozen


def test_a_path_cannot_forge_lines_of_a_log() -> None:
    desired = read({"x\nINFO all is well.yml": PRODUCTION})
    assert all("\n" not in line for line in told(desired))


def test_a_name_with_dots_and_slashes_is_nobody() -> None:
    desired = read({"../etc/passwd.yml": "x", "a/../../b.txt": "x"})
    assert not desired.environments
    assert set(desired.frozen) == {"passwd", "b"}


def test_a_broken_file_freezes_its_environment() -> None:
    desired = read({"production.yml": PRODUCTION, "checkout.yml": "extends: [\n"})
    frozen = desired.frozen[CHECKOUT_NAME]
    assert not frozen.is_trace
    assert [str(finding) for finding in frozen.findings] == told(desired)
