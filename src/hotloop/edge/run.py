"""`hotloop edge`: a line's agent as a process of its own, with its disk, its guard and its sensors."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from hotloop.adapters.folder import WatchedFolder
from hotloop.adapters.hub_client import HubClient
from hotloop.adapters.release_check import ReleaseCheck
from hotloop.adapters.signed_hub import SignedHub
from hotloop.agent import Agent, Place
from hotloop.config import LoopConfig
from hotloop.edge.device import Device
from hotloop.edge.local_http import LocalHttp
from hotloop.errors import AccessError, ConfigError, HotloopError
from hotloop.loading import load_vertical
from hotloop.store.clock import SystemClock
from hotloop.store.signing import FIRST_ROOT
from hotloop.store.slots import Slots
from hotloop.store.spool import DiskSpool
from hotloop.types import Payload, Prediction, digest

_ROOT = "root.json"
_OWN = "token"  # the file that holds this device's token
_log = logging.getLogger("hotloop.edge")


@dataclass(frozen=True)
class Post:
    """Where an agent stands: its hub, its line, what lets it speak, and its folder on this device."""

    hub: str
    line: str
    token: str
    folder: Path


def trusted_root(post: Post, client: HubClient) -> bytes:
    """The root that this device trusts: the one it was given when it enrolled, else the first one that it saw."""
    path = post.folder / _ROOT
    if not path.is_file():
        _keep(path, client.release_file(FIRST_ROOT), 0o644)
    return path.read_bytes()


def enrolled(hub: str, code: str, folder: Path) -> None:
    """Change a code for this device's own token, and keep it in its folder, with the root that it is to trust.

    `code`: as `hotloop enrol` prints it, with the root's digest behind a dot. AccessError if the hub does not take it,
    or shows another root.
    """
    secret, _, expected = code.partition(".")
    with closing(HubClient(hub, secret)) as client:
        token, root = client.enrol()
    if digest(root) != expected:
        raise AccessError(
            f"the hub at {hub} shows a root with digest {digest(root)[:12]}..., not {expected[:12]}...: it is not the "
            "hub that you were told of, or its keys were made anew. Nothing was kept; ask for another code",
            known=True,
        )
    _keep(folder / _ROOT, root, 0o644)
    _keep(folder / _OWN, token.encode(), 0o600)


def _keep(path: Path, data: bytes, mode: int) -> None:
    """Write a file of this device's own, whole or not at all."""
    fresh = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error}): give the edge another folder with --state") from error


def own_token(folder: Path) -> str:
    """The token that this device got when it enrolled; "" if it did not."""
    try:
        return (folder / _OWN).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{folder / _OWN} cannot be read ({error})") from error


def run(config: LoopConfig, post: Post, stop: threading.Event, said: Callable[[str], None]) -> None:
    """Predict until `stop`. `said` is told once it answers."""
    clock = SystemClock()
    with ExitStack() as stack:
        client = stack.enter_context(closing(HubClient(post.hub, post.token)))
        check = ReleaseCheck(post.folder / "releases", _root(post, client, stop), client.release_file)
        hub = SignedHub(client, check)
        spool = stack.enter_context(closing(DiskSpool(post.folder / "spool.sqlite", config.edge, clock)))
        slots = stack.enter_context(closing(Slots(post.folder / "slots.sqlite")))
        device = Device(config, slots, clock)
        agent = Agent(Place(config.site, post.line), load_vertical(config), hub, clock, spool, device)
        hub.refused = agent.distrust
        agent.start()
        stack.callback(agent.close, 2.0)
        reporter = threading.Thread(target=_report, args=(config, agent, device, hub, stop), daemon=True)
        reporter.start()
        said(_sensors(config, post, agent, stack, stop))
        stop.wait()


def _report(config: LoopConfig, agent: Agent, device: Device, hub: SignedHub, stop: threading.Event) -> None:
    """Say how the line is, every few seconds; a hub that is away hears it later."""
    while True:
        with suppress(HotloopError):
            hub.report(agent.report(device.latency_ms))
        if stop.wait(config.edge.report_s):
            return


def _root(post: Post, client: HubClient, stop: threading.Event) -> bytes:
    """The trusted root; at the very first start the hub has to be there for it."""
    while True:
        try:
            return trusted_root(post, client)
        except (AccessError, ConfigError):
            raise
        except HotloopError as error:
            _log.warning("%s. The first start needs the hub: trying again", error)
            if stop.wait(2.0):
                raise


def _sensors(config: LoopConfig, post: Post, agent: Agent, stack: ExitStack, stop: threading.Event) -> str:
    """Start what senses; in words."""

    def observe(payload: Payload, _line: str) -> Prediction:
        return agent.sense(payload)

    places = []
    if config.sense.folder:
        watched = WatchedFolder(config.sense, observe)
        thread = threading.Thread(target=_watch, args=(watched, config.sense.poll_s, stop), daemon=True)
        thread.start()
        stack.callback(thread.join, 2.0)
        places.append(f"watching {config.sense.folder}")
    if config.edge.port:
        server = LocalHttp(agent, config.edge.port, config.edge.payload_bytes_max)
        stack.callback(server.close)
        places.append(f"POST {server.url}/predict")
    return f"line {post.line} answers: {'; '.join(places) or 'no sensor is set ([sense] folder, [edge] port)'}"


def _watch(watched: WatchedFolder, poll_s: float, stop: threading.Event) -> None:
    """Poll until stopped. A disk that fails is said, and tried again."""
    while not stop.wait(poll_s):
        try:
            watched.poll()
        except HotloopError as error:
            _log.warning("watched folder: %s", error)
            stop.wait(2.0)

