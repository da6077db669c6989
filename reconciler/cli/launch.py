"""`launch`: a new environment, by the smallest file that declares it."""

import difflib
import re
import shlex
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reconciler.cli import change, follow
from reconciler.cli.ask import invocation
from reconciler.cli.change import Manner, Proposal
from reconciler.cli.options import (
    FOLDER,
    HERE,
    ChangeFormat,
    DryRun,
    Folder,
    Repository,
    Wait,
    Yes,
    environment_name,
)
from reconciler.cli.preview import preview
from reconciler.cli.screen import Format
from reconciler.cli.validate import past_ends
from reconciler.cli.workplace import Workplace, file_of, near, require_valid, stems
from reconciler.errors import Stalled

if TYPE_CHECKING:
    from reconciler.adapters.worktree import Clone, Snapshot
    from reconciler.model.desired import Desired, Environment
    from reconciler.model.names import EnvironmentName

_KEY: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_SCHEMA_LINE: Final = re.compile(rb"^# yaml-language-server: .*", re.MULTILINE)
_LINES_MAX: Final = 100_000  # columns; nothing is folded


def launch(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the new environment.")],
    *,
    parent: Annotated[str, typer.Option("--from", help="The environment or template to be like.", metavar="ENV")],
    branch: Annotated[
        str | None, typer.Option(help="The application branch to run; else the parent's.", show_default=False)
    ] = None,
    ttl: Annotated[
        str | None, typer.Option(help="It ends by itself then: 12h, 7d.", metavar="TIME", show_default=False)
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Whom to ask about it; else your git user.email.", show_default=False)
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Another value than the parent's; may be repeated.", metavar="KEY=VALUE", show_default=False
        ),
    ] = None,
    repository: Repository = HERE,
    folder: Folder = FOLDER,
    wait: Wait = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: ChangeFormat = Format.TABLE,
) -> None:
    """Declare a new environment: write its file, commit it in your name, and push it.

    It is committed on top of the branch that yours follows, freshly fetched. Whatever you are working on in the clone takes no part, and stays as it is.

    Before it asks, it shows what the daemon would do and what a month costs: against what the daemon sees if one answers, else what it saw last, else as if all ran as declared. It says which.

    With --wait it goes on until the environment is ready. Ctrl-C ends the waiting alone (exit 130). With --format json its course goes to standard error, and its end into the document. Exit codes: 0 done · 1 error, or a person must act · 3 a guard holds.

    Examples: [bold]hivequeen launch checkout --from production --branch checkout-redesign --ttl 14d[/bold] · [bold]hivequeen launch trial --from staging --set roles.web.count=2 --wait[/bold]
    """
    wanted = environment_name(name)
    here = Workplace(repository, folder, invocation(context).config)
    tree: dict[str, Any] = {"extends": parent, "owner": owner or _email(here.clone)}
    tree |= {key: value for key, value in (("branch", branch), ("ttl", ttl)) if value is not None}
    for assignment in values or ():
        assign(tree, assignment)
    snapshot = here.clone.fetch()
    proposal = _proposal(wanted, tree, snapshot, here)
    watch = follow.Watch(follow.control_of(context), wanted, output=output) if wait else None
    manner = Manner(yes=yes, dry_run=dry_run, output=output, watch=watch)
    raise typer.Exit(change.carry_out(proposal, at=here, snapshot=snapshot, manner=manner))


def _email(clone: "Clone") -> str:
    found = clone.email
    if found is None:
        raise Stalled("nobody owns it: git knows no address of yours", remedy="say --owner, or git config user.email")
    return found


def assign(tree: dict[str, Any], assignment: str) -> None:
    """`roles.web.count=2` into the tree. The value is read as it would be in a file.

    Raises:
        BadParameter: it is not an assignment, or does not fit what is there.
    """
    from reconciler.document import read_document  # noqa: PLC0415 - YAML only where it is used

    key, equals, text = assignment.partition("=")
    if not equals or not _KEY.fullmatch(key) or "\n" in text:
        raise typer.BadParameter(f"--set {assignment}: write a key and a value, such as roles.web.count=2")
    if key == "extends":
        raise typer.BadParameter("--set extends=…: say --from")
    document = read_document(f"value: {text}".encode(), file="--set")
    if not document.is_readable or document.findings:
        why = "; ".join(finding.message for finding in document.findings)
        quoted = shlex.quote(f'{key}="{text}"')  # the shell takes one pair of quotes away
        way = f"; to mean text: --set {quoted}" if document.doubtful else ""
        raise typer.BadParameter(f"--set {assignment}: {why}{way}")
    *path, last = key.split(".")
    inner = tree
    for part in path:
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            raise typer.BadParameter(f"--set {assignment}: {part} is a value already")
    inner[last] = document.tree.get("value")


def text_of(tree: dict[str, Any], parent: bytes) -> bytes:
    """The file; with the line for editors that the parent has, if it has one."""
    import yaml  # noqa: PLC0415 - as above

    from reconciler.document import is_plain_text  # noqa: PLC0415 - as above

    class Dumper(yaml.SafeDumper):
        """Quotes whatever some reader of YAML takes for something else than text: 1e3, yes, 12:30."""

        def represent_str(self, text: str) -> yaml.ScalarNode:
            return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_plain_text(text) else "'")

    Dumper.add_representer(str, Dumper.represent_str)
    line = _SCHEMA_LINE.match(parent)
    written: str = yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_LINES_MAX)
    return (line[0] + b"\n" if line else b"") + written.encode()


def _proposal(name: "EnvironmentName", tree: dict[str, Any], snapshot: "Snapshot", here: Workplace) -> Proposal:
    """
    Raises:
        Stalled: the name is taken, the parent does not exist, or the file would not be valid.
    """
    from reconciler.adapters.worktree import Edit  # noqa: PLC0415 - as above

    require_free(name, snapshot, here.clone)
    parent = file_of(tree["extends"], snapshot)
    if parent is None:
        raise Stalled(
            f"there is no environment or template {tree['extends']} to be like",
            remedy=near(tree["extends"], stems(snapshot)),
        )
    blob = snapshot.blob(parent)
    content = text_of(tree, snapshot.read([blob])[blob] if blob else b"")
    edit = Edit(path=f"{name}.yml", content=content, before=None)
    subject = f"Launch {name}"
    after = here.declared(snapshot, edit)
    misspelt = tuple(_misspelt(name, tree, snapshot, here))

    def check(desired: "Desired") -> None:
        require_valid(name, desired)
        _require_future(name, desired)

    try:
        check(after)
    except Stalled as trouble:
        raise Stalled(trouble.message, remedy="; ".join((*misspelt, trouble.remedy))) from trouble
    environment = after.environments[name]

    return Proposal(
        name=name,
        edit=edit,
        subject=subject,
        effects=(f"{name} will have:", *_nodes(environment)),
        preview=preview(edit, subject, before=here.declared(snapshot), after=after, at=here),
        warnings=misspelt,
        check=check,
    )


def _misspelt(name: "EnvironmentName", tree: dict[str, Any], snapshot: "Snapshot", here: Workplace) -> Iterable[str]:
    """Roles that are nearly one of the parent's. To have a new one is no fault, but rarely what is meant then."""
    from reconciler.adapters.worktree import Edit  # noqa: PLC0415 - as above

    roles = tree.get("roles")
    if not isinstance(roles, dict):
        return
    rest = text_of({key: value for key, value in tree.items() if key != "roles"}, b"")
    alike = here.declared(snapshot, Edit(path=f"{name}.yml", content=rest, before=None)).environments.get(name)
    inherited = sorted(alike.roles) if alike is not None else []
    for role in roles:
        if role not in inherited and (meant := difflib.get_close_matches(role, inherited, n=1)):
            yield f"{role} is a new role; did you mean {meant[0]}?"


def _nodes(environment: "Environment") -> Iterable[str]:
    """What it will consist of, a role in a line."""
    for name, role in sorted(environment.roles.items()):
        first, *others = role.instance_types
        instead = f" (or {', '.join(others)})" if others else ""
        yield f"  {name}: {role.count} x {first}{instead}"


def _require_future(name: "EnvironmentName", desired: "Desired") -> None:
    """
    Raises:
        Stalled: it would be over before it began. Nobody can want a file that launches nothing, whatever they confirm.
    """
    declared = {name: desired.environments[name]}
    if over := past_ends(replace(desired, environments=declared), datetime.now(UTC)):
        raise Stalled(
            f"{over[0].origin}: {over[0].message}; nothing was committed",
            remedy="name a later date, or say --ttl instead",
        )


def require_free(name: "EnvironmentName", snapshot: "Snapshot", clone: "Clone") -> None:
    """
    Raises:
        Stalled: some file declares it already.
    """
    if (taken := file_of(name, snapshot)) is not None:
        raise Stalled(
            f"{name} exists already: {clone.folder}/{taken} on {clone.upstream}",
            remedy="choose another name; to change what is there, edit its file",
        )
