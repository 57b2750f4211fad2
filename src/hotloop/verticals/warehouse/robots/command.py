"""The command `hotloop robots`, which this vertical brings (entry point group `hotloop.commands`)."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from hotloop.config import load
from hotloop.edge.run import posted
from hotloop.verticals.warehouse.robots.run import run


def robots(
    path: Annotated[Path, typer.Argument(help="The loop's settings.", metavar="LOOP.TOML")] = Path("loop.toml"),
    hub: Annotated[str, typer.Option("--hub", help="The hub's address, such as http://127.0.0.1:8420.")] = "",
    line: Annotated[str, typer.Option("--line", help="Which line these robots are.")] = "",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="Holds the line's token; else it is in HOTLOOP_TOKEN.")
    ] = None,
    code: Annotated[str, typer.Option("--enrol", help="The code of `hotloop enrol`: changed for a token, once.")] = "",
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
    stop = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: stop.set())
    run(config, post, stop, _say)


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()
