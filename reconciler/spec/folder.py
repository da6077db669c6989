"""Which entries of the folder are environments and templates, and which names nobody may tear down."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from reconciler.document import SIZE_LIMIT_BYTES, show
from reconciler.model.findings import Finding, Origin
from reconciler.model.names import ENVIRONMENT_LENGTH_MAX, SPEC_SUFFIXES, BlobId, EnvironmentName, is_environment_name
from reconciler.ports import TreeEntry

_SYMLINK: Final = "120000"
_SUBMODULE: Final = "160000"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecFile:
    stem: str  # "checkout", or "_base" of a template
    file: str  # as findings name it: "environments.d/checkout.yml"
    blob: BlobId

    @property
    def is_template(self) -> bool:
        return self.stem.startswith("_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    files: Mapping[str, SpecFile]  # by stem: what can be read
    refused: Mapping[str, tuple[Finding, ...]]  # by stem: declared, but not to be read
    traces: Mapping[EnvironmentName, tuple[Finding, ...]]  # not declared, but something bears the name
    findings: tuple[Finding, ...]  # faults among the above


def sort_folder(entries: Sequence[TreeEntry], folder: str) -> Folder:
    by_stem: defaultdict[str, list[TreeEntry]] = defaultdict(list)
    elsewhere: list[TreeEntry] = []
    for entry in sorted(entries, key=lambda entry: entry.path):
        path = PurePosixPath(entry.path)
        is_spec = len(path.parts) == 1 and path.suffix in SPEC_SUFFIXES
        if is_spec and is_environment_name(path.stem.removeprefix("_")):
            by_stem[path.stem].append(entry)
        else:
            elsewhere.append(entry)
    files: dict[str, SpecFile] = {}
    refused: dict[str, tuple[Finding, ...]] = {}
    for stem, same in by_stem.items():
        if faults := tuple(_refusals(stem, same, folder)):
            refused[stem] = faults
        else:
            files[stem] = SpecFile(stem=stem, file=_file(folder, same[0]), blob=same[0].blob)
    misnamed = {entry.path: _misnamed(entry, folder) for entry in elsewhere if _is_misnamed(entry)}
    traces, strays = _traces(elsewhere, by_stem, misnamed, folder)
    return Folder(
        files=files,
        refused=refused,
        traces=traces,
        findings=(*(finding for faults in refused.values() for finding in faults), *misnamed.values(), *strays),
    )


def _refusals(stem: str, same: Sequence[TreeEntry], folder: str) -> Iterator[Finding]:
    if len(same) > 1:
        names = " and ".join(entry.path for entry in same)
        yield _finding(same[0], folder, f"two files declare {stem}: {names}", "delete one of them")
    for entry in same:
        if entry.mode == _SYMLINK:
            yield _finding(entry, folder, "a symbolic link is not read", "commit the file itself")
        elif entry.mode == _SUBMODULE or entry.size is None:
            yield _finding(entry, folder, "a submodule is not read", "commit the file itself")
        elif entry.size > SIZE_LIMIT_BYTES:
            limit = f"the file is larger than {SIZE_LIMIT_BYTES // 1024} KiB"
            yield _finding(entry, folder, limit, "split it, or shorten it")


def _is_misnamed(entry: TreeEntry) -> bool:
    """Meant as an environment or template, but its name cannot be one. Hidden files and files below are not meant so."""
    path = PurePosixPath(entry.path)
    is_visible = len(path.parts) == 1 and not path.name.startswith(".")
    return is_visible and path.suffix.lower() in SPEC_SUFFIXES and entry.mode != _SUBMODULE


def _misnamed(entry: TreeEntry, folder: str) -> Finding:
    path = PurePosixPath(entry.path)
    if len(path.stem.removeprefix("_")) > ENVIRONMENT_LENGTH_MAX:
        message = f"{show(path.stem)} is too long for an environment's name"
        return _finding(
            entry, folder, message, f"rename the file; at most {ENVIRONMENT_LENGTH_MAX} characters are allowed"
        )
    if is_environment_name(path.stem.removeprefix("_")):
        message, rule = f"the file's ending {show(path.suffix)} is not read", "endings are lower-case"
    else:
        message = f"{show(path.stem)} cannot name an environment"
        rule = "lower-case letters, digits and single hyphens, a letter first"
    underscore = "_" if path.stem.startswith("_") else ""
    meant = _meant(path.stem)
    rename = f'rename the file to "{underscore}{meant}{path.suffix.lower()}"' if meant else "rename the file"
    return _finding(entry, folder, message, f"{rename}; {rule}")


def _traces(
    elsewhere: Sequence[TreeEntry],
    by_stem: Mapping[str, Sequence[TreeEntry]],
    misnamed: Mapping[str, Finding],
    folder: str,
) -> tuple[dict[EnvironmentName, tuple[Finding, ...]], list[Finding]]:
    """Names that no file declares properly but that something bears, and the findings that are faults by themselves.

    A file that was renamed, moved below or given another ending was not deleted on purpose.
    """
    traces: defaultdict[EnvironmentName, list[Finding]] = defaultdict(list)
    strays: list[Finding] = []
    templates = [same[0] for stem, same in by_stem.items() if stem.startswith("_")]
    for entry in (*elsewhere, *templates):
        for name in _names_borne(entry, is_misnamed=entry.path in misnamed):
            if name in by_stem:
                continue
            finding = misnamed.get(entry.path) or _finding(
                entry,
                folder,
                f"{name} is not declared, but this file bears its name; {name} is neither changed nor torn down",
                f'move it to "{name}.yml" to declare {name}, or rename or delete it to let {name} go',
            )
            traces[name].append(finding)
            if finding not in misnamed.values() and _is_stray_spec(entry):
                strays.append(finding)
    return {name: tuple(sorted(set(faults))) for name, faults in traces.items()}, strays


def _names_borne(entry: TreeEntry, *, is_misnamed: bool) -> Iterator[EnvironmentName]:
    base = PurePosixPath(entry.path).name
    stem, dot, _ = base.lstrip(".").partition(".")
    borne = stem.removeprefix("_").lower()
    if dot and is_environment_name(borne):
        yield EnvironmentName(borne)
    if is_misnamed and (meant := _meant(PurePosixPath(base).stem)) and meant != borne:
        yield EnvironmentName(meant)


def _is_stray_spec(entry: TreeEntry) -> bool:
    """A YAML file below the folder looks like an environment that was moved; a note or a template does not."""
    path = PurePosixPath(entry.path)
    return path.suffix.lower() in SPEC_SUFFIXES and not path.name.startswith(("_", "."))


def _meant(stem: str) -> str:
    """`Check_Out` → `check-out`; "" where nothing valid comes of it."""
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    return name if is_environment_name(name) else ""


def _finding(entry: TreeEntry, folder: str, message: str, remedy: str) -> Finding:
    return Finding(origin=Origin(file=_file(folder, entry), line=1), message=message, remedy=remedy)


def _file(folder: str, entry: TreeEntry) -> str:
    path = entry.path if entry.path.isprintable() else entry.path.encode("unicode_escape").decode("ascii")
    return path if folder in ("", ".") else f"{folder.rstrip('/')}/{path}"
