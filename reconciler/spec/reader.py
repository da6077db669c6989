"""One revision's files become its desired state. What did not change since the last reading is not read again."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from reconciler.document import suggest
from reconciler.errors import SourceRejected
from reconciler.model.desired import Desired, Environment, Frozen
from reconciler.model.findings import Finding
from reconciler.model.names import BlobId, EnvironmentName, RevisionId
from reconciler.ports import TreeEntry
from reconciler.spec.assemble import assemble, missing
from reconciler.spec.check import CheckedFile, check_file
from reconciler.spec.folder import Folder, SpecFile, sort_folder
from reconciler.spec.merge import inherit, own_layer

_FileKey: TypeAlias = tuple[str, BlobId]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """What a file and its parent give; None where findings, the file's own or of the merged whole, stand against it."""

    environment: Environment | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parent:
    """What an `extends` leads to."""

    spec: SpecFile | None = None
    findings: tuple[Finding, ...] = ()  # why it cannot be used


class SpecReader:
    """Reads revisions one after another; its caches change nothing but the time it takes."""

    def __init__(self, *, user_data_limit_bytes: int) -> None:
        """`user_data_limit_bytes`: what a role's own user-data may take beside the bootstrap."""
        self._user_data_limit_bytes = user_data_limit_bytes
        self._checked: Mapping[_FileKey, CheckedFile] = {}
        self._built: Mapping[tuple[_FileKey, _FileKey | None], _Built] = {}

    def read(
        self,
        *,
        revision: RevisionId,
        folder: str,
        entries: Sequence[TreeEntry],
        read_blobs: Callable[[Collection[BlobId]], Mapping[BlobId, bytes]],
    ) -> Desired:
        """Everything that the entries declare. Bad input is never raised: see `Desired.findings` and `.frozen`.

        Args:
            folder: the watched folder as findings name it, "environments.d".
            entries: everything at and below it, paths relative to it.
            read_blobs: the content of each; called at most once, with what is not known yet.

        Raises:
            SourceRejected: a blob could not be read.
        """
        sorted_folder = sort_folder(entries, folder)
        checked = self._check(sorted_folder, read_blobs)
        environments: dict[EnvironmentName, Environment] = {}
        frozen = {
            EnvironmentName(stem): Frozen(name=EnvironmentName(stem), findings=findings)
            for stem, findings in sorted_folder.refused.items()
            if not stem.startswith("_")
        }
        findings = {*sorted_folder.findings, *(fault for file in checked.values() for fault in file.findings)}
        built: dict[tuple[_FileKey, _FileKey | None], _Built] = {}
        for spec in sorted_folder.files.values():
            if spec.is_template:
                continue
            name = EnvironmentName(spec.stem)
            parent = _parent(spec, checked, sorted_folder)
            key = (_key(spec), _key(parent.spec) if parent.spec else None)
            result = built[key] = self._built.get(key) or _build(name, checked[spec.stem], parent, checked)
            faults = {*result.findings, *parent.findings}
            findings |= faults
            if result.environment is not None and not faults:
                environments[name] = result.environment
            else:
                frozen[name] = Frozen(name=name, findings=tuple(sorted(faults)))
        findings |= _freeze_clashes(environments, frozen)
        for name, traces in sorted_folder.traces.items():
            frozen[name] = Frozen(name=name, findings=traces, is_trace=True)
        self._checked = {_key(sorted_folder.files[stem]): file for stem, file in checked.items()}
        self._built = built
        return Desired(
            revision=revision,
            environments=MappingProxyType(dict(sorted(environments.items()))),
            frozen=MappingProxyType(dict(sorted(frozen.items()))),
            findings=tuple(sorted(findings)),
        )

    def _check(
        self, folder: Folder, read_blobs: Callable[[Collection[BlobId]], Mapping[BlobId, bytes]]
    ) -> dict[str, CheckedFile]:
        """Every readable file by its stem."""
        unknown = {spec.blob for spec in folder.files.values() if _key(spec) not in self._checked}
        contents = read_blobs(unknown) if unknown else {}
        if lacking := unknown - contents.keys():
            raise SourceRejected(f"{len(lacking)} blobs could not be read, {min(lacking)} among them")
        return {
            stem: self._checked.get(_key(spec))
            or check_file(contents[spec.blob], file=spec.file, user_data_limit_bytes=self._user_data_limit_bytes)
            for stem, spec in folder.files.items()
        }


def _key(spec: SpecFile) -> _FileKey:
    return spec.file, spec.blob


def _parent(spec: SpecFile, checked: Mapping[str, CheckedFile], folder: Folder) -> _Parent:
    child = checked[spec.stem]
    stem = child.extends
    if stem is None:
        return _Parent()
    if stem in folder.refused:
        return _Parent(findings=folder.refused[stem])
    if stem == spec.stem:
        return _Parent(findings=(_at_extends(child, f"{stem} extends itself", "name another environment or template"),))
    if stem not in checked:
        known = [name for name in (*checked, *folder.refused) if name != spec.stem]
        near = f"_{stem}" if f"_{stem}" in known else stem.removesuffix(".yml").removesuffix(".yaml")
        remedy = suggest(near, known) or "it must be a file in the same folder, named without its ending"
        return _Parent(findings=(_at_extends(child, f'extends "{stem}", which does not exist', remedy),))
    if grandparent := checked[stem].extends:
        message = f"{stem} extends {grandparent} itself, and chains of extends are not supported yet"
        return _Parent(findings=(_at_extends(child, message, f"extend {grandparent}, or a file that extends nothing"),))
    # A parent's fault is told once, at its own line; here it only freezes.
    return _Parent(spec=folder.files[stem], findings=checked[stem].findings)


def _at_extends(child: CheckedFile, message: str, remedy: str) -> Finding:
    return Finding(origin=child.document.origin(("extends",)), message=message, remedy=remedy)


def _build(name: EnvironmentName, child: CheckedFile, parent: _Parent, checked: Mapping[str, CheckedFile]) -> _Built:
    if not child.document.is_readable or parent.findings:
        return _Built(environment=None, findings=child.findings)
    merged = own_layer(child.document)
    if parent.spec is not None:
        merged = inherit(merged, own_layer(checked[parent.spec.stem].document))
    findings = tuple(sorted({*child.findings, *missing(name, child.document, merged, told=child.findings)}))
    return _Built(environment=None if findings else assemble(name, child.document, merged), findings=findings)


def _freeze_clashes(
    environments: dict[EnvironmentName, Environment], frozen: dict[EnvironmentName, Frozen]
) -> set[Finding]:
    """`chef_environment` that is the name of another environment: two would write and read the same Chef environment."""
    clashes: set[Finding] = set()
    names = environments.keys() | frozen.keys()
    for environment in tuple(environments.values()):
        other = EnvironmentName(environment.chef_environment_name)
        if other == environment.name or other not in names:
            continue
        clash = Finding(
            origin=environment.origins.get("chef_environment", environment.origin),
            message=f'chef_environment "{other}" is the Chef environment that is generated for {other}',
            remedy="name one that is nobody's here, or leave it out",
        )
        clashes.add(clash)
        del environments[environment.name]
        frozen[environment.name] = Frozen(name=environment.name, findings=(clash,))
    return clashes
