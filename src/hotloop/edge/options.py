"""What a line's process is told on its command line, whatever it does there, and how it is told to stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Hub: TypeAlias = Annotated[str, typer.Option("--hub", help="The hub's address, such as http://127.0.0.1:8420.")]
TokenFile: TypeAlias = Annotated[
    Path | None, typer.Option("--token-file", help="Holds this line's token; else it is in HOTLOOP_TOKEN.")
]
Code: TypeAlias = Annotated[
    str, typer.Option("--enrol", help="The code of `hotloop enrol`: changed for a token, once.")
]


def stopped_by_signals() -> threading.Event:
    """Set by SIGTERM or Ctrl-C from now on."""
    stop = threading.Event()
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda *_: stop.set())
    return stop
