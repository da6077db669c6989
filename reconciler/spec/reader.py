"""One revision's files become its desired state. What did not change since the last reading is not read again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from reconciler.model.desired import Desired, Environment, Frozen
from reconciler.model.findings import Finding, Violation
from reconciler.model.names import EnvironmentName, RevisionId
from reconciler.model.policy import Policy
from reconciler.ports import TreeEntry
from reconciler.spec.assemble import assemble
from reconciler.spec.files import CheckedFiles, FileKey, Files, ReadBlobs
from reconciler.spec.policy import Judge, MonthlyCost

_NO_POLICY: Final = Policy()
_ChainKey: TypeAlias = tuple[FileKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    """What a file and all that it extends give; None where findings of its own or of the whole stand against it."""

    environment: Environment | None
    findings: tuple[Finding, ...]  # without violations of the policy


class SpecReader:
    """Reads revisions one after another; its caches change nothing but the time it takes."""

    def __init__(
        self,
        *,
        user_data_limit_bytes: int,
        policy: Policy = _NO_POLICY,
        monthly_cost: MonthlyCost | None = None,
    ) -> None:
        """
        Args:
            user_data_limit_bytes: what a role's own user-data may take beside the bootstrap.
            monthly_cost: what an environment costs; without it, the policy's bounds of cost are not applied.
        """
        self._user_data_limit_bytes = user_data_limit_bytes
        self._judge = Judge(policy, monthly_cost=monthly_cost)
        self._checked: CheckedFiles = {}
        self._built: Mapping[_ChainKey, _Built] = {}

    def read(
        self, *, revision: RevisionId, folder: str, entries: Sequence[TreeEntry], read_blobs: ReadBlobs
    ) -> Desired:
        """Everything that the entries declare. Bad input is never raised: see `Desired.findings` and `.frozen`.

        Args:
            folder: the watched folder as findings name it, "environments.d".
            entries: everything at and below it, paths relative to it.
            read_blobs: the content of each; called at most once, with what is not known yet.

        Raises:
            SourceRejected: a blob could not be read.
        """
        files = Files(
            folder=folder,
            entries=entries,
            read_blobs=read_blobs,
            user_data_limit_bytes=self._user_data_limit_bytes,
            known=self._checked,
        )
        environments: dict[EnvironmentName, Environment] = {}
        frozen = {
            EnvironmentName(stem): Frozen(name=EnvironmentName(stem), findings=findings)
            for stem, findings in files.folder.refused.items()
            if not stem.startswith("_")
        }
        findings = set(files.folder.findings)
        for stem, file in files.checked.items():
            findings.update(file.findings, files.chains[stem].findings)
        built: dict[_ChainKey, _Built] = {}
        for stem, spec in files.folder.files.items():
            if spec.is_template:
                continue
            name, chain = EnvironmentName(stem), files.chains[stem]
            key = files.keys(chain.stems)
            result = built[key] = self._built.get(key) or self._build(name, files)
            faults = {*result.findings, *chain.findings}
            findings |= faults
            if result.environment is not None and not faults:
                environments[name] = result.environment
            else:
                frozen[name] = Frozen(name=name, findings=tuple(sorted(faults)))
        findings |= _freeze_clashes(environments, frozen)
        findings |= self._violate_together(environments)
        findings.update(one.finding for environment in environments.values() for one in environment.violations)
        for name, traces in files.folder.traces.items():
            frozen[name] = Frozen(name=name, findings=traces, is_trace=True)
        self._checked = {files.key(stem): file for stem, file in files.checked.items()}
        self._built = built
        return Desired(
            revision=revision,
            environments=MappingProxyType(dict(sorted(environments.items()))),
            frozen=MappingProxyType(dict(sorted(frozen.items()))),
            findings=tuple(sorted(findings)),
        )

    def _build(self, name: EnvironmentName, files: Files) -> _Built:
        own = files.checked[name]
        if not own.document.is_readable or files.chains[name].findings:
            return _Built(environment=None, findings=own.findings)
        resolved = files.resolve(name)
        findings = tuple(sorted({*own.findings, *resolved.findings}))
        if findings or resolved.merged is None:
            return _Built(environment=None, findings=findings)
        environment = assemble(name, own.document, resolved.merged, parents=files.chains[name].stems[1:])
        violations = self._judge.judge(environment, resolved.merged)
        return _Built(environment=replace(environment, violations=violations), findings=())

    def _violate_together(self, environments: dict[EnvironmentName, Environment]) -> set[Finding]:
        """Totals stand against whatever is not protected: nobody's feature may keep production from growing."""
        findings = self._judge.judge_all(environments)
        violations = {Violation(finding=finding, is_total=True) for finding in findings}
        for name, environment in environments.items() if violations else ():
            if not environment.protected:
                together = tuple(sorted({*environment.violations, *violations}))
                environments[name] = replace(environment, violations=together)
        return set(findings)


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
