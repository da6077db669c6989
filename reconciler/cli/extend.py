"""`extend`: an environment that ends by itself lives on for a while."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
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
_COUNT_MAX: Final = 99_999  # of the hours or days in a ttl
_LAST: Final = datetime.max.replace(tzinfo=UTC)


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
    if environment.protected:
        raise Stalled(
            f"{wanted} is protected, and what is protected never ends by itself; nothing was committed",
            remedy="remove protected: true from its file first, if it shall end",
        )
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
            if self.hours < _COUNT_MAX:
                yield {**rest, "ttl": f"{self.hours}h"}
                yield {**rest, "ttl": f"{self.hours + 1}h"}
            else:
                yield {**rest, "ttl": f"{self.hours // 24 + 1}d"}


def ends_at(lifetime: "Lifetime", touched_at: datetime, default: timedelta | None) -> datetime | None:
    """When it ends as things are: the earlier of its two ends."""
    ttl = default if lifetime.ttl is None and lifetime.expires_at is None else lifetime.ttl
    ends = [lifetime.expires_at] if lifetime.expires_at is not None else []
    if ttl is not None:
        # Whoever commits names the date, and may name one near the end of the calendar.
        ends.append(touched_at + ttl if touched_at < _LAST - ttl else _LAST)
    return min(ends, default=None)


def extension(lifetime: "Lifetime", end: datetime, longer: timedelta, now: datetime) -> Extension:
    """Each of its ends that would come too early is moved, rounded up to whole hours; to days where it is years.

    Raises:
        Stalled: no ttl is so long.
    """
    left = max(end - now, timedelta()) + longer
    hours = None
    if lifetime.ttl is not None or lifetime.expires_at is None:
        hours = math.ceil(left / _HOUR)
        if hours >= _COUNT_MAX:
            hours = math.ceil(hours / 24) * 24
        if hours >= _COUNT_MAX * 24:
            raise Stalled(
                f"it ends {end:%Y-%m-%d} as things are, and no ttl reaches further",
                remedy="see git log of its file: a ttl counts from the newest commit, and a commit of today renews it",
            )
        left = hours * _HOUR
    new_end = now + left
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
    file = str(PurePosixPath(here.clone.folder) / path)
    written = (edited(before.decode(), values, file=file).encode() for values in wished.spellings())
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


def edited(text: str, values: Mapping[str, str], *, file: str) -> str:
    """The file with these values at its top level; every other character stays, comments and layout included.

    Raises:
        Stalled: it is written in a way in which something else would change, too.
    """
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - YAML only where it is used

    from reconciler.document import read_document  # noqa: PLC0415 - as above

    try:
        written = _with_values(text, values)
    except YAMLError:
        written = text
    before, after = (read_document(one.encode(), file=file) for one in (text, written))
    # YAML has more forms than anybody foresees; to compare what they mean is proof against all of them.
    if after.findings or after.tree != {**before.tree, **values}:
        wanted = ", ".join(f"{key}: {value}" for key, value in values.items())
        raise Stalled(
            f"{file} is written in a way that only a person can change safely", remedy=f"edit it by hand: {wanted}"
        )
    return written


def _with_values(text: str, values: Mapping[str, str]) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415 - as above

    top: Any = YAML().compose(text)
    places = {key.value: (value.start_mark.index, value.end_mark.index) for key, value in top.value}
    for key, value in sorted(values.items(), key=lambda item: places.get(item[0], (len(text), 0)), reverse=True):
        if key in places:
            start, end = places[key]
            text = f"{text[:start]}{'' if start < end else ' '}{value}{text[end:]}"
        else:
            newline = "\r\n" if "\r\n" in text else "\n"
            text = f"{text}{'' if text.endswith(newline) else newline}{key}: {value}{newline}"
    return text
