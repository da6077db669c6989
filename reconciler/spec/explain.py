"""Where each value of an environment comes from: the merged spec, leaf by leaf, with file and line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.document import KeyPath, suggest
from reconciler.errors import Stalled
from reconciler.model.desired import Json
from reconciler.model.findings import Finding, Origin
from reconciler.spec.files import Files
from reconciler.spec.local import files_of
from reconciler.spec.merge import Merged


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One leaf of the merged tree: a single value, or a map or list that is empty."""

    path: KeyPath
    value: Json
    origin: Origin
    is_default: bool = False  # it stands under `defaults`
    written: str | None = None  # the text as it stands there, where variables were put in

    @property
    def key(self) -> str:
        """`roles.web.run_list.0`"""
        return ".".join(str(part) for part in self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    stem: str  # the environment, or a template
    tree: Mapping[str, Json]  # empty where findings leave nothing to merge
    values: tuple[Value, ...]  # of every leaf, in the tree's order
    findings: tuple[Finding, ...]  # sorted; with any, variables are not put in


def explain_folder(folder: Path, stem: str, *, user_data_limit_bytes: int) -> Explained:
    """What an environment or template of this folder comes to.

    Raises:
        Stalled: there is no such folder, or no such environment in it.
    """
    files = files_of(folder, user_data_limit_bytes=user_data_limit_bytes)
    if stem in files.folder.refused:
        return Explained(stem=stem, tree={}, values=(), findings=tuple(sorted(files.folder.refused[stem])))
    if stem not in files.checked:
        remedy = suggest(stem, files.checked) or f"known: {', '.join(sorted(files.checked))}"
        raise Stalled(f"{folder} declares no {stem}", remedy=remedy if files.checked else "name another folder")
    return explain(files, stem)


def explain(files: Files, stem: str) -> Explained:
    own, chain = files.checked[stem], files.chains[stem]
    told = {*own.findings, *chain.findings}
    if not own.document.is_readable or chain.findings:
        return Explained(stem=stem, tree={}, values=(), findings=tuple(sorted(told)))
    resolved = files.resolve(stem)
    if not files.folder.files[stem].is_template:  # a template may lack what an environment may not
        told.update(resolved.findings)
    findings = tuple(sorted(told))
    if resolved.merged is None:
        return Explained(stem=stem, tree={}, values=(), findings=findings)
    tree = resolved.merged.tree()
    values = tuple(_values(tree, (), resolved.merged, resolved.written, Origin(file=own.document.file, line=1)))
    return Explained(stem=stem, tree=tree, values=values, findings=findings)


def part_of(explained: Explained, key: str) -> tuple[KeyPath, Json]:
    """The path that a dotted key means, and what stands there.

    Raises:
        Stalled: there is nothing.
    """
    value: Json = dict(explained.tree)
    path: KeyPath = ()
    parts = key.split(".")
    while parts:
        known = _children(value)
        # Keys of attributes may hold dots themselves.
        joined = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in known), 0)
        if not joined:
            here = ".".join(str(part) for part in path)
            near = suggest(parts[0], known)
            known_here = f"known {f'in {here}' if here else 'here'}: {', '.join(known)}"
            raise Stalled(f"{explained.stem} has no {key}", remedy=near or (known_here if known else ""))
        name, value = known[".".join(parts[:joined])]
        path, parts = (*path, name), parts[joined:]
    return path, value


def _children(value: Json) -> dict[str, tuple[str | int, Json]]:
    match value:
        case dict():
            return {key: (key, part) for key, part in value.items()}
        case list():
            return {str(index): (index, part) for index, part in enumerate(value)}
        case _:
            return {}


def _values(
    value: Json, path: KeyPath, merged: Merged, written: Mapping[KeyPath, str], otherwise: Origin
) -> Iterator[Value]:
    if children := _children(value):
        for name, part in children.values():
            yield from _values(part, (*path, name), merged, written, otherwise)
    elif path:
        yield Value(
            path=path,
            value=value,
            origin=merged.origin(path) or otherwise,
            is_default=merged.is_default(path),
            written=written.get(path),
        )
