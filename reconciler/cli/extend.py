"""`extend`: an environment that ends by itself lives on for a while."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from reconciler.cli import change
from reconciler.cli.ask import invocation
from reconciler.cli.change import Manner, Proposal
from reconciler.cli.options import (
    FOLDER,
    HERE,
    ChangeFormat,
    DeclaredEnvironment,
    DryRun,
    Folder,
    Repository,
    Yes,
    environment_name,
)
from reconciler.cli.preview import preview
from reconciler.cli.screen import Format
from reconciler.cli.workplace import Workplace, require_declared, require_file, require_valid
from reconciler.errors import Stalled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.adapters.worktree import Snapshot
    from reconciler.model.desired import Desired, Environment, Lifetime
    from reconciler.settings import Settings

_HOUR: Final = timedelta(hours=1)
_SPAN: Final = re.compile(r"(?P<count>[1-9][0-9]{0,4})(?P<unit>[hd])")
_HOURS: Final = {"h": 1, "d": 24}


def extend(
    context: typer.Context,
    name: DeclaredEnvironment,
    span: Annotated[str, typer.Argument(metavar="TIME", help="How much longer: 12h, 3d.")],
    *,
    repository: Repository = HERE,
    folder: Folder = FOLDER,
    yes: Yes = False,
    dry_run: DryRun = False,
    output: ChangeFormat = Format.TABLE,
) -> None:
    """Let an environment live longer than its ttl or expires says, by a commit in your name.

    The time is added to what is left; where nothing is left, it counts from now. A ttl counts from the newest commit that touched the file, so this one begins it anew. Nothing else in the file changes, comments stay. Whatever you are working on in the clone takes no part.

    Before it asks, it shows what the daemon would do and what a month costs: against what the daemon sees if one answers, else what it saw last, else as if all ran as declared. It says which.

    Example: [bold]hivequeen extend checkout 3d[/bold]
    """
    wanted, longer = environment_name(name), _span(span)
    here = Workplace(repository, folder, invocation(context).config)
    snapshot = here.clone.fetch()
    path = require_file(wanted, snapshot, here.clone)
    environment = require_declared(wanted, here.declared(snapshot))
    end = ends_at(environment.lifetime, here.clone.touched_at(snapshot, path), _default_ttl(here.settings))
    if end is None:
        raise Stalled(
            f"{wanted} does not end by itself: its file has neither ttl nor expires",
            remedy="give it an end there if it shall have one",
        )
    wished = extension(environment.lifetime, end, longer, datetime.now(UTC))
    proposal = _proposal(environment, path, wished, snapshot, here)
    manner = Manner(yes=yes, dry_run=dry_run, output=output)
    raise typer.Exit(change.carry_out(proposal, at=here, snapshot=snapshot, manner=manner))


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text}: write hours or days, such as 12h or 3d")
    return timedelta(hours=int(found["count"]) * _HOURS[found["unit"]])


def _default_ttl(settings: "Settings | None") -> timedelta | None:
    """The daemon's, as far as this person can know."""
    seconds = settings.lifetimes.default_ttl_s if settings else None
    return None if seconds is None else timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """When the environment shall end, and what its file says then."""

    ends_at: datetime
    hours: int | None  # its ttl; None: it has none, and needs none
    expires: str | None  # None: what it says stays, if it says anything

    def spellings(self) -> "Iterator[Mapping[str, str]]":
        """The values by key. There are several: a commit that leaves the file as it is would begin no ttl anew."""
        rest = {} if self.expires is None else {"expires": self.expires}
        if self.hours is None:
            yield rest
        else:
            if self.hours % 24 == 0:
                yield {**rest, "ttl": f"{self.hours // 24}d"}
            yield {**rest, "ttl": f"{self.hours}h"}
            yield {**rest, "ttl": f"{self.hours + 1}h"}


def ends_at(lifetime: "Lifetime", touched_at: datetime, default: timedelta | None) -> datetime | None:
    """When it ends as things are: the earlier of its two ends."""
    ttl = default if lifetime.ttl is None and lifetime.expires_at is None else lifetime.ttl
    ends = [lifetime.expires_at] if lifetime.expires_at is not None else []
    if ttl is not None:
        ends.append(touched_at + ttl)
    return min(ends, default=None)


def extension(lifetime: "Lifetime", end: datetime, longer: timedelta, now: datetime) -> Extension:
    """Each of its ends that would come too early is moved, rounded up to whole hours."""
    new_end = max(now, end) + longer
    hours = None
    if lifetime.ttl is not None or lifetime.expires_at is None:
        hours = math.ceil((new_end - now) / _HOUR)
        new_end = now + hours * _HOUR
    if lifetime.expires_at is None or lifetime.expires_at >= new_end:
        return Extension(ends_at=new_end, hours=hours, expires=None)
    whole = new_end.replace(minute=0, second=0, microsecond=0)
    expires = whole if whole == new_end else whole + _HOUR
    return Extension(ends_at=expires if hours is None else new_end, hours=hours, expires=f"{expires:%Y-%m-%dT%H:%MZ}")


def _proposal(
    environment: "Environment", path: str, wished: Extension, snapshot: "Snapshot", here: Workplace
) -> Proposal:
    from reconciler.adapters.worktree import Edit  # noqa: PLC0415 - for those who change something

    blob = snapshot.blob(path)
    before = snapshot.read([blob])[blob] if blob else b""
    written = (edited(before.decode(), values).encode() for values in wished.spellings())
    content = next(text for text in written if text != before)

    def check(desired: "Desired") -> None:
        require_valid(environment.name, desired, tolerated=environment.violations)

    when = f"{wished.ends_at:%Y-%m-%d %H:%M} UTC"
    edit, subject = Edit(path=path, content=content, before=blob), f"Extend {environment.name} until {when}"
    after = here.declared(snapshot, edit)
    check(after)
    return Proposal(
        name=environment.name,
        edit=edit,
        subject=subject,
        effects=(f"{environment.name} lives until {when}, if that is committed now",),
        preview=preview(edit, subject, before=here.declared(snapshot), after=after, at=here),
        check=check,
    )


def edited(text: str, values: Mapping[str, str]) -> str:
    """The file with these values at its top level; every other character stays, comments and layout included.

    Raises:
        Stalled: the file is written in a way in which no place for them can be told.
    """
    from ruamel.yaml import YAML  # noqa: PLC0415 - YAML only where it is used

    top: Any = YAML().compose(text)
    places = {key.value: (value.start_mark.index, value.end_mark.index) for key, value in top.value}
    for key, value in sorted(values.items(), key=lambda item: places.get(item[0], (len(text), 0)), reverse=True):
        if key in places:
            start, end = places[key]
            text = f"{text[:start]}{'' if start < end else ' '}{value}{text[end:]}"
        elif top.flow_style:
            raise Stalled(
                f"the file is one map in braces, to which {key} is not added", remedy=f"write {key}: {value} into it"
            )
        else:
            newline = "\r\n" if "\r\n" in text else "\n"
            text = f"{text}{'' if text.endswith(newline) else newline}{key}: {value}{newline}"
    return text
