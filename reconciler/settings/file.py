"""`hivequeen.yml`: read once, checked whole. Durations are `15s`, `5m`, `14d` in it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from reconciler.document import Document, Schema, read_document
from reconciler.errors import SettingsError
from reconciler.model.findings import Finding
from reconciler.model.names import FleetId
from reconciler.settings.durations import seconds
from reconciler.settings.faults import FILES, faults, file_faults, local_path
from reconciler.settings.sections import lifetimes, policy, receivers, section_faults, section_file_faults
from reconciler.settings.values import (
    DEFAULT_CONTROL,
    AwsSettings,
    BootstrapSettings,
    ChefSettings,
    Deadlines,
    Intervals,
    Limits,
    ListenSettings,
    Mode,
    Package,
    RepositorySettings,
    Settings,
    TeardownSettings,
    TlsSettings,
)

_DURATIONS: Final = frozenset({"interval", "poll", "resync", "progress", "launch", "bootstrap", "orphan_age", "grace"})
_TEMPLATE_REMEDY: Final = "copy systemd/hivequeen.yml there, or name one with --config; to try it out: script/demo"


def load(path: Path, *, check_files: bool = True) -> Settings:
    """Read and check the settings file. Relative paths in it count from its folder.

    Args:
        check_files: False leaves out whether the named key and certificate files exist.

    Raises:
        SettingsError: every problem of the file, one line each.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise SettingsError((f"{path}: there is no such file ({_TEMPLATE_REMEDY})",)) from error
    except OSError as error:
        raise SettingsError((f"{path}: cannot be read: {error.strerror}",)) from error
    if all(not line.strip() or line.lstrip().startswith(b"#") for line in content.splitlines()):
        raise SettingsError((f"{path}: the file is empty ({_TEMPLATE_REMEDY})",))
    document = read_document(content, file=str(path))
    folder = path.absolute().parent
    findings = set(document.findings)
    if document.is_readable:
        findings.update(Schema.named("settings.schema.json").check(document))
        told = [*faults(document), *section_faults(document)]
        if check_files:
            told += [*file_faults(document, folder), *section_file_faults(document, folder)]
        findings.update(
            Finding(origin=document.origin(where), message=message, remedy=remedy) for where, message, remedy in told
        )
    if findings:
        raise SettingsError(tuple(str(finding) for finding in sorted(findings)))
    return _settings(document, folder)


def control_of(path: Path) -> Path | None:
    """Where the daemon of these settings listens, as far as that can be read, whatever else is wrong with them."""
    try:
        document = read_document(path.read_bytes(), file=str(path))
    except OSError:
        return None
    written = document.tree.get("control") if document.is_readable else None
    if not document.is_readable or not isinstance(written, str | None):
        return None
    return Path(written) if written else DEFAULT_CONTROL


def _settings(document: Document, folder: Path) -> Settings:
    """From a document without faults; what is left out keeps its default, which is said once, with the values."""
    tree: Mapping[str, Any] = document.tree
    bounds = lifetimes(tree)
    repository = _fields(tree, "repository", folder)
    local = local_path(repository["url"])
    if local is not None:
        repository["url"] = os.path.normpath(folder / local)
    bootstrap = _fields(tree, "bootstrap", folder)
    if "package" in bootstrap:
        bootstrap["package"] = Package(**bootstrap["package"])
    given: dict[str, Any] = {}
    if tree.get("mode"):
        given["mode"] = Mode(tree["mode"])
    if tree.get("tls"):
        given["tls"] = TlsSettings(**_fields(tree, "tls", folder))
    if tree.get("control"):
        given["control"] = Path(tree["control"])
    if tree.get("quarantine"):
        given["quarantine_s"] = seconds(tree["quarantine"])
    if tree.get("prices"):
        given["prices"] = folder / tree["prices"]
    if tree.get("concurrency"):
        given["concurrency"] = int(tree["concurrency"])
    if tree.get("state"):
        given["state"] = f"sqlite:///{os.path.normpath(folder / tree['state'].removeprefix('sqlite:///'))}"
    return Settings(
        fleet=FleetId(tree["fleet"]),
        repository=RepositorySettings(**repository),
        aws=AwsSettings(**_fields(tree, "aws", folder)),
        chef=ChefSettings(**_fields(tree, "chef", folder)),
        bootstrap=BootstrapSettings(**bootstrap),
        listen=ListenSettings(**_fields(tree, "listen", folder)),
        intervals=Intervals(**_fields(tree, "intervals", folder)),
        deadlines=Deadlines(**_fields(tree, "deadlines", folder)),
        limits=Limits(**_limits(_fields(tree, "limits", folder))),
        teardown=TeardownSettings(**_fields(tree, "teardown", folder)),
        lifetimes=bounds,
        policy=policy(document, bounds),
        notify=receivers(tree, folder),
        **given,
    )


def _fields(tree: Mapping[str, Any], section: str, folder: Path) -> dict[str, Any]:
    """A section's values by the names of their fields, without those that are null."""
    fields: dict[str, Any] = {}
    for key, value in (tree.get(section) or {}).items():
        if value is None:
            continue
        if (section, key) in FILES:
            fields[key] = folder / value
        elif key in _DURATIONS:
            fields[f"{key}_s"] = seconds(value)
        else:
            fields[key] = value
    return fields


def _limits(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`{nodes: {least: 1}}` → `{nodes_least: 1}`."""
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat.update({f"{key}_{part}": number for part, number in value.items() if number is not None})
        else:
            flat[key] = value
    return flat
