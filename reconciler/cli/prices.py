"""`prices`: the table that costs are reckoned by."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import screen
from reconciler.cli.ask import invocation
from reconciler.errors import Stalled

if TYPE_CHECKING:
    from reconciler.model.cost import Prices
    from reconciler.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The price table that costs are reckoned by.")


@app.command("update")
def update(
    context: typer.Context,
    out: Annotated[
        Path | None,
        typer.Option(help="The table to write; else the one that `prices` in the settings names.", show_default=False),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(help="Of this region; repeat it for more. Else the settings' region.", show_default=False),
    ] = None,
    types: Annotated[
        str | None,
        typer.Option(help="Only these instance types, with commas between. Else all.", show_default=False),
    ] = None,
    endpoint_url: Annotated[str | None, typer.Option(help="Another price list than AWS's.", hidden=True)] = None,
) -> None:
    """Read on-demand prices from AWS and write them into a price table.

    Needs AWS credentials that may do pricing:GetProducts. Other regions of an existing table are kept.

    Example: [bold]hivequeen prices update --out prices.json --region us-east-1 --types m7i.large,m6i.large[/bold]
    """
    from reconciler.adapters.pricing import PriceList  # noqa: PLC0415 - boto3 only where it is used

    chosen = _settings(context)
    path = out or (chosen.prices if chosen else None)
    if path is None:
        raise Stalled("no file to write is named", remedy="say --out FILE, and set `prices: FILE` in the settings")
    regions = region or ([chosen.aws.region] if chosen else [])
    if not regions:
        raise Stalled("no region is named", remedy="say --region us-east-1")
    known = _existing(path)
    wanted = [one.strip() for one in (types or "").split(",") if one.strip()]
    prices, today = PriceList(endpoint_url=endpoint_url), datetime.now(UTC).date()
    learnt = {name: prices.region(name, today=today, types=wanted) for name in regions}
    for name, found in learnt.items():
        if not found.instances:
            raise Stalled(
                f"AWS lists no such prices for {name}; nothing was written",
                remedy="correct the names of the region and the instance types",
            )
    _write(path, replace(known, regions={**known.regions, **learnt}))
    for name, found in learnt.items():
        screen.say(f"{name}: {len(found.instances)} instance types, {len(found.volumes)} volume types in {path}")
        for missing in sorted(set(wanted) - set(found.instances)):
            screen.note(f"no price is known for {missing} in {name}")


def _settings(context: typer.Context) -> "Settings | None":
    """A table can be written where no daemon is, too."""
    from reconciler.settings import load  # noqa: PLC0415 - the schema's validator takes its time

    config = invocation(context).config
    return load(config, check_files=False) if config.exists() else None


def _existing(path: Path) -> "Prices":
    """The table that is to be written, as it is."""
    from reconciler import prices  # noqa: PLC0415 - as above
    from reconciler.model.cost import Prices  # noqa: PLC0415 - as above

    if not path.exists():
        return Prices()
    try:
        return prices.load(path)
    except Stalled as wrong:
        raise Stalled(wrong.message, remedy="name another file, or remove this one") from wrong


def _write(path: Path, table: "Prices") -> None:
    """Whole or not at all: a daemon may be reading it."""
    from reconciler import prices  # noqa: PLC0415 - as above

    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(prices.write(table))
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Stalled(f"{path}: cannot be written: {error.strerror}", remedy="name another file with --out") from error
