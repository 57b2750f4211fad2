"""The command `hotloop robots`, which this vertical brings (entry point group `hotloop.commands`)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from hotloop.config import load
from hotloop.edge.options import Code, Hub, TokenFile, stopped_by_signals
from hotloop.edge.run import posted
from hotloop.verticals.warehouse.robots.run import run


def robots(
    path: Annotated[Path, typer.Argument(help="The loop's settings.", metavar="LOOP.TOML")] = Path("loop.toml"),
    hub: Hub = "",
    line: Annotated[str, typer.Option("--line", help="Which line these robots are.")] = "",
    token_file: TokenFile = None,
    code: Code = "",
    state: Annotated[Path, typer.Option("--state", help="This process's own folder: orders, tours, spool.")] = Path(
        "hotloop-robots"
    ),
) -> None:
    """Robots that speak VDA 5050: orders in, tours to whoever is free, measured times to the hub. Ctrl-C stops it, and
    robots go on with what they have; a later start knows all of it again.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    config = load(path)
    post = posted(hub, line, token_file, code, state)
    run(config, post, stopped_by_signals(), typer.echo)
