"""The command `hotloop ingest`, which this vertical brings (entry point group `hotloop.commands`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, cast, get_args

import typer

from hotloop.errors import ConfigError
from hotloop.verticals.driving.ingest import Settings, main
from hotloop.verticals.driving.ingest.bounds import Reading, Units
from hotloop.verticals.driving.privacy import Privacy

_UNITS: Final = get_args(Units)


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Logs, or folders that hold them.")],
    table: Annotated[Path, typer.Option("--table", help="The folder of the table that they go into.")],
    region: Annotated[str, typer.Option("--region", help="The table's: where its logs may be kept.")] = "",
    privacy: Annotated[
        str, typer.Option("--privacy", help="What is made coarser, such as grid_m=500,cut_s=60,drop_names=1.")
    ] = "",
    units: Annotated[str, typer.Option("--units", help="Of CSV files that do not say so: auto, m or ft.")] = "auto",
    step_s: Annotated[float, typer.Option("--step-s", help="Of CSV files that have frames and no times.")] = 0.1,
) -> None:
    """Bring recorded drives into a table of tracks, each once; what is broken is refused by name. Exit code 1 if any
    log was refused. Stopped anywhere, it goes on where it was when it is started again.
    """
    if units not in _UNITS:
        raise ConfigError(f"--units {units}: one of {', '.join(_UNITS)} is wanted")
    if not 0.001 <= step_s <= 10.0:
        raise ConfigError(f"--step-s {step_s:g}: 0.001 to 10 seconds are taken")
    reading = Reading(units=cast("Units", units), step_s=step_s)
    if missing := [str(path) for path in paths if not path.exists()]:
        raise ConfigError(f"{', '.join(missing)}: there is nothing; nothing was ingested")
    raise typer.Exit(main(paths, table, Settings(reading, coarser(privacy), region), typer.echo))


def coarser(text: str) -> Privacy:
    """`grid_m=500,cut_s=60,drop_names=1` as what is done to each log; "" is nothing. ConfigError."""
    given: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        key, _, number = part.partition("=")
        if key not in ("grid_m", "cut_s", "drop_names") or key in given:
            raise ConfigError(f"--privacy {part}: grid_m=METRES, cut_s=SECONDS and drop_names=1 can be had, each once")
        try:
            given[key] = float(number)
        except ValueError:
            raise ConfigError(f"--privacy {key} takes a number, not {number!r}") from None
    drop = given.get("drop_names", 0.0)
    if drop not in (0.0, 1.0):
        raise ConfigError(f"--privacy drop_names={drop:g}: 0 or 1 is wanted")
    return Privacy(given.get("grid_m", 0.0), bool(drop), given.get("cut_s", 0.0))
