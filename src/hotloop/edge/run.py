"""`hotloop edge`: a line's agent as a process of its own, with its disk, its guard and its sensors."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hotloop.adapters.camera import Camera
from hotloop.adapters.folder import WatchedFolder
from hotloop.adapters.hub_client import HubClient
from hotloop.adapters.mqtt_line import MqttLine
from hotloop.adapters.pushed_hub import PushedHub, Releases
from hotloop.adapters.release_check import ReleaseCheck
from hotloop.adapters.signed_hub import SignedHub
from hotloop.agent import Agent, Place
from hotloop.config import LoopConfig, check_name
from hotloop.edge.device import Device
from hotloop.edge.local_http import Beside, LocalHttp
from hotloop.errors import AccessError, ConfigError, HotloopError
from hotloop.loading import load_vertical
from hotloop.ports import Exportable, Vertical
from hotloop.store.clock import SystemClock
from hotloop.store.signing import FIRST_ROOT
from hotloop.store.slots import Slots
from hotloop.store.spool import DiskSpool
from hotloop.types import LineReport, Payload, Prediction, digest

_ROOT = "root.json"
_OWN = "token"  # the file that holds this device's token
_CODE = "enrolled"  # ... and the digest of the code that it was changed for
_log = logging.getLogger("hotloop.edge")


@dataclass(frozen=True)
class Post:
    """Where an agent stands: its hub, its line, what lets it speak, and its folder on this device."""

    hub: str
    line: str
    token: str
    folder: Path


@dataclass
class Stand:
    """What stands beside an agent, if it does."""

    camera: Camera | None = None
    broker: MqttLine | None = None

    def beside(self) -> Beside:
        """How it is."""
        camera, broker = self.camera, self.broker
        return Beside(None if camera is None else camera.state(), None if broker is None else broker.state())

    def reported(self, said: LineReport) -> LineReport:
        """What a line says of itself, and of what stands beside it."""
        found = self.beside()
        trouble, dropped = said.trouble, said.dropped
        if found.mqtt is not None:
            trouble, dropped = trouble or found.mqtt.trouble, {**dropped, **found.mqtt.dropped}
        if found.camera is not None and found.camera.trouble:
            trouble = trouble or f"camera: {found.camera.trouble}"
        return msgspec.structs.replace(said, trouble=trouble, dropped=dropped)


def trusted_root(post: Post, client: HubClient) -> bytes:
    """The root that this device trusts: the one it was given when it enrolled, else the first one that it saw."""
    path = post.folder / _ROOT
    if not path.is_file():
        _keep(path, client.release_file(FIRST_ROOT), 0o644)
    return path.read_bytes()


def enrolled(hub: str, code: str, folder: Path) -> None:
    """Change a code for this device's own token, and keep it in its folder, with the root that it is to trust. A code
    that was changed before is not asked for again: the same command starts a device again.

    `code`: as `hotloop enrol` prints it, with the root's digest behind a dot. AccessError if the hub does not take it,
    or shows another root.
    """
    known = digest(code.encode(errors="replace"))
    if own_token(folder) and _kept_text(folder / _CODE) == known:
        return
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
    _keep(folder / _CODE, known.encode(), 0o600)


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
    return _kept_text(folder / _OWN)


def _kept_text(path: Path) -> str:
    """A small file of this device's own; "" if it is not there."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from error


def posted(hub: str, line: str, token_file: Path | None, code: str, state: Path) -> Post:
    """Where a line's process stands, by its command line: it enrols with `code` where that is new. ConfigError says
    what is missing, AccessError why the code is not taken.
    """
    if not hub or not line:
        raise ConfigError("say where the hub is and which line this is: --hub http://... --line line-1")
    check_name(line, "--line")
    if code:
        enrolled(hub, code, state)
    return Post(hub, line, own_token(state) or _told_token(token_file), state)


def _told_token(path: Path | None) -> str:
    """The token of the line, from its file or the environment."""
    if path is None:
        token = os.environ.get("HOTLOOP_TOKEN", "")
    else:
        try:
            token = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read ({error}): it holds the line's token") from error
    if not token.strip():
        raise ConfigError("there is no token: give --enrol CODE (of hotloop enrol, at the hub), or --token-file")
    return token.strip()


@dataclass(frozen=True)
class Line:
    """A line's agent with its disk, not started yet. `releases`: those that come by the broker."""

    agent: Agent
    device: Device
    hub: PushedHub | SignedHub
    releases: Releases

    def report(self, stand: Stand) -> LineReport:
        """Tell the hub how the line is; what it was told."""
        found = stand.reported(self.agent.report(self.device.latency_ms))
        self.hub.report(found)
        return found


def opened_line(config: LoopConfig, post: Post, stop: threading.Event, stack: ExitStack, *, broker: bool) -> Line:
    """A line's agent, with its spool and releases; `stack` closes it. `broker`: releases come by the broker, too."""
    clock = SystemClock()
    client = stack.enter_context(closing(HubClient(post.hub, post.token)))
    check = ReleaseCheck(post.folder / "releases", _root(post, client, stop), client.release_file)
    releases = Releases(client, post.line)
    hub = PushedHub(client, check, releases) if broker else SignedHub(client, check)
    spool = stack.enter_context(closing(DiskSpool(post.folder / "spool.sqlite", config.edge, clock)))
    device = Device(config, stack.enter_context(closing(Slots(post.folder / "slots.sqlite"))), clock)
    agent = Agent(Place(config.site, post.line), load_vertical(config), hub, clock, spool, device)
    hub.refused = agent.distrust
    return Line(agent, device, hub, releases)


def run(config: LoopConfig, post: Post, stop: threading.Event, said: Callable[[str], None]) -> None:
    """Predict until `stop`. `said` is told once it answers."""
    with ExitStack() as stack:
        line = opened_line(config, post, stop, stack, broker=bool(config.mqtt.url))
        stand = Stand(broker=MqttLine(config, line.agent, line.releases) if config.mqtt.url else None)
        line.agent.start()
        stack.callback(line.agent.close, 2.0)
        if stand.broker is not None:
            _at_broker(line.agent, stand.broker, line.releases, stack)
        places = _sensors(config, post, line.agent, stand, stack, stop)
        reporting(lambda: line.report(stand), config.edge.report_s, stop)
        said(places)
        stop.wait()


def reporting(report: Callable[[], LineReport], every_s: float, stop: threading.Event) -> None:
    """Let the hub know how the line is, until `stop`."""
    threading.Thread(target=_report, args=(report, every_s, stop), daemon=True).start()


def _at_broker(agent: Agent, broker: MqttLine, releases: Releases, stack: ExitStack) -> None:
    """Publish what the agent answers, and follow releases there."""
    agent.answered = broker.answered
    releases.start()
    stack.callback(releases.close)
    broker.start()
    stack.callback(broker.close)


def _aloud(trouble: str, before: str) -> str:
    """Tell whoever looks at the console what the trouble is, once."""
    if trouble and trouble != before:
        _log.warning("%s", trouble)
    return trouble


def _report(report: Callable[[], LineReport], every_s: float, stop: threading.Event) -> None:
    """Say how the line is, every few seconds; a hub that is away hears it later."""
    said = ""
    while True:
        try:
            said = _aloud(report().trouble, said)
        except HotloopError as error:
            said = _aloud(str(error), said)
        if stop.wait(every_s):
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


def _sensors(
    config: LoopConfig, post: Post, agent: Agent, stand: Stand, stack: ExitStack, stop: threading.Event
) -> str:
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
    if config.sense.camera:
        stand.camera = Camera(config.sense, agent.sense)
        looking = threading.Thread(target=stand.camera.run, args=(stop,), daemon=True)
        looking.start()
        stack.callback(looking.join, 2.0)
        places.append(f"camera {stand.camera.state().source}")
    if stand.broker is not None:
        places.append(f"broker {stand.broker.address}")
    if config.edge.port:
        server = LocalHttp(agent, config, stand.beside)
        stack.callback(server.close)
        places.append(f"POST {server.url}/predict")
    none = "no sensor is set ([sense] folder or camera, [edge] port, [mqtt] url)"
    return f"line {post.line} answers{_where(agent.predictor.vertical)}: {'; '.join(places) or none}"


def _where(vertical: Vertical) -> str:
    """What its network runs on, where it has one."""
    said = str(vertical.runtime) if isinstance(vertical, Exportable) else ""
    return said and f" {said}"


def _watch(watched: WatchedFolder, poll_s: float, stop: threading.Event) -> None:
    """Poll until stopped. A disk that fails is said, and tried again."""
    said = ""
    while not stop.wait(poll_s):
        try:
            watched.poll()
            said = ""
        except HotloopError as error:
            if str(error) != said:
                _log.warning("watched folder: %s", error)
            said = str(error)
            stop.wait(2.0)
