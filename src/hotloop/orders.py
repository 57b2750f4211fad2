"""Give a loop an order from the command line: through its hub where one runs, else by opening its stores for a
moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from hotloop.adapters.hub_client import HubClient
from hotloop.config import LoopConfig
from hotloop.engine import Engine
from hotloop.errors import AccessError, ConfigError, HubUnreachableError, StoreBusyError
from hotloop.hub.auth import open_credentials
from hotloop.loading import load_vertical
from hotloop.store.embedded import open_embedded
from hotloop.types import Command

_HUB_S = 2.0  # how long a hub may take to answer before it is taken as not running
_LOOK_S = 0.2


def give(config: LoopConfig, command: Command, tell: Callable[[str], None]) -> str:
    """Give the order; what came of it, in words. `tell` is called with what a long one is doing.

    AccessError if the hub does not take the token of `engineer`; StoreBusyError if something else holds the stores.
    """
    hub = _hub(config)
    if hub is not None:
        with closing(hub):
            return hub.order(command)
    with closing(Engine(config, load_vertical(config), open_embedded(config))) as engine:
        words = engine.affected(command.selection) if command.order == "unlearn" else ""
        before = engine.model.version
        engine.command(command)
        if command.order in ("refresh", "consolidate"):
            _trained(engine, tell)
        settle(engine)
        after = f"version {engine.model.version} answers now (before: {before})"
        return f"{words}; {after}" if words else after


def settle(engine: Engine) -> None:
    """Turn until everything in the log is taken, and seen again where another backbone had seen it."""
    while True:
        engine.catch_up()
        if not engine.refresher.look_again():
            return


def _trained(engine: Engine, tell: Callable[[str], None]) -> None:
    """Train now, in a child process, until it is done."""
    engine.refresher.work()
    while engine.refresher.running:
        tell(engine.refresher.words)
        time.sleep(_LOOK_S)
        engine.refresher.work()
    tell(engine.refresher.words)


def hub_of(config: LoopConfig) -> HubClient:
    """The running hub of a loop. HubUnreachableError if none runs."""
    found = _hub(config)
    if found is None:
        raise HubUnreachableError(f"no hub of {config.name} runs at port {config.hub.port}: start it with hotloop up")
    return found


def _hub(config: LoopConfig) -> HubClient | None:
    """The running hub of this loop, to be asked as its engineer; None if none answers."""
    folder = Path(config.store.folder)
    if config.hub.port == 0 or not (folder / "tokens.json").is_file():
        return None
    tokens = {credential.role: credential.token for credential in open_credentials(folder)}
    if not tokens.get("engineer"):
        raise ConfigError(
            f"{folder}/tokens.json has no token of the role engineer: add one, or ask an admin to order it"
        )
    client = HubClient(f"http://{config.hub.host}:{config.hub.port}", tokens["engineer"], deadline_s=_HUB_S)
    try:
        client.status()
    except HubUnreachableError:
        client.close()
        return None
    except AccessError as error:
        client.close()
        raise StoreBusyError(
            f"another hub answers at port {config.hub.port}, and it is not this loop's ({error}): stop it, or give "
            "this loop another [hub] port"
        ) from error
    return client
