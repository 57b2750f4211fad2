"""A client of an MQTT 5 broker that comes and goes: paho-mqtt, and around it what is ours to decide.

The network is a thread of paho's own. It connects again by itself with growing pauses; why it cannot is said once in
the log, and stays in `trouble` until it can. What a client has to be told comes to its `Ear`, on that thread: an ear
never waits and never raises.
"""

from __future__ import annotations

import importlib
import ipaddress
import logging
import random
import socket
import ssl
import sys
import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import urlsplit

from hotloop.config import MqttConfig
from hotloop.errors import ConfigError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

RELEASE_BYTES_MAX: Final = 4 * 2**20  # of a release on a topic; some 30 kB is usual. A larger one goes by the stream
HEADER_BYTES_MAX: Final = 64 * 2**10  # of a packet, besides what it carries
UNACKNOWLEDGED_MAX: Final = 64  # messages that the broker may send before it has heard that one was taken
BY_THE_STREAM: Final = b"stream"  # on a line's own topic: nothing here is for it, the hub's stream says what is
_KEEP_ALIVE_S: Final = 10  # a broker that is silent for longer is asked, and given up after as long again
_CONNECT_S: Final = 3.0
PAUSE_S = 1.0  # the first before connecting again; each further one is twice as long
_PAUSE_S_MAX: Final = 10
_CLOSE_S: Final = 1.0
_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
_log = logging.getLogger("hotloop.mqtt")


@dataclass(frozen=True)
class Address:
    """Where a broker is."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Topics:
    """The topics of a loop, and those of one of its lines. No name has a "/" or a wildcard in it."""

    prefix: str
    site: str = ""
    line: str = ""

    def here(self, what: str) -> str:
        """Of this line: answer, feedback, refused, payload, state."""
        return f"{self.prefix}/{self.site}/{self.line}/{what}"

    @property
    def settled(self) -> str:
        """The release that every line may take."""
        return f"{self.prefix}/releases/settled"

    def of_line(self, line: str) -> str:
        """The release that this one line may take too, while it is tried."""
        return f"{self.prefix}/releases/line/{line}"

    @property
    def hub(self) -> str:
        """Whether the hub puts its releases here."""
        return f"{self.prefix}/releases/state"


@dataclass(frozen=True)
class Identity:
    """As what a client is known to the broker. `state`: the topic on which it is kept that it is gone, or left."""

    name: str
    state: str
    bytes_max: int  # of a message; larger ones are not sent to it
    session_s: int = 0  # for so long the broker keeps what was for it while it was away
    gone: bytes = b"offline"  # its last will
    left: bytes = b"offline"  # when it goes by itself


@dataclass(frozen=True)
class Said:
    """A message that came. `kept`: it was there before this client was; `again`: it may have come before.

    `number` is what it is acknowledged by; 0: nobody waits for that.
    """

    topic: str
    data: bytes
    media_type: str = ""
    kept: bool = False
    again: bool = False
    number: int = 0


class Ear(Protocol):
    """Who is told what happens at the broker, on the network's thread."""

    def up(self) -> None:
        """The broker is there (again): subscribe."""
        ...

    def down(self) -> None:
        """It is not."""
        ...

    def came(self, said: Said) -> None:
        """A message."""
        ...

    def put(self, failure: str) -> None:
        """The broker has what was published, or says why it will not have it."""
        ...


def address_of(config: MqttConfig) -> Address:
    """Where the broker is. ConfigError if that is no address of one."""
    try:
        found = urlsplit(config.url)
        port = found.port
    except ValueError as error:
        raise ConfigError(f"mqtt.url {config.url[:80]!r} is no address ({error})") from error
    if found.scheme not in _PORTS or not found.hostname or found.path not in ("", "/"):
        raise ConfigError(f"mqtt.url is {config.url[:80]!r}: it is mqtt://host:1883, or mqtts://host:8883 with TLS")
    if found.username is not None or found.password is not None:
        raise ConfigError("mqtt.url holds a user or a password: set mqtt.user and mqtt.password_file instead")
    return Address(found.hostname, port or _PORTS[found.scheme], found.scheme == "mqtts")


def library(part: str) -> ModuleType:
    """A module of paho-mqtt. ConfigError if it is not installed."""
    try:
        return importlib.import_module(f"paho.mqtt.{part}")
    except ImportError as error:
        raise ConfigError('mqtt.url needs paho-mqtt: pip install "hotloop[mqtt]"') from error


class Connection:
    """One client of the broker. `connected` and `trouble` say how it stands. May be used from several threads."""

    def __init__(self, config: MqttConfig, who: Identity, ear: Ear) -> None:
        """ConfigError if the settings, or the files they name, cannot be used."""
        self.address = address_of(config)
        self.connected = False
        self.trouble = ""
        self._who, self._ear, self._closing = who, ear, False
        self._packet_max = 0  # bytes that the broker takes in one packet; 0: it did not say
        mqtt = library("client")
        client: Client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=who.name, protocol=mqtt.MQTTv5, manual_ack=True
        )
        client.connect_timeout = _CONNECT_S
        pause_s = random.uniform(PAUSE_S, 2 * PAUSE_S)  # noqa: S311 - spreads load, hides nothing
        client.reconnect_delay_set(cast("int", pause_s), _PAUSE_S_MAX)  # parts of a second are taken as well
        client.will_set(who.state, who.gone, qos=1, retain=True)
        _log_in(client, config, self.address)
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_message = self._on_disconnect, self._on_message
        client.on_publish, client.on_subscribe = self._on_publish, self._on_subscribe
        client.on_socket_open = self._on_socket_open
        self._client = client
        self._network: threading.Thread | None = None

    def start(self) -> None:
        """Begin to connect."""
        who = self._who
        self._client.connect_async(
            self.address.host,
            self.address.port,
            keepalive=_KEEP_ALIVE_S,
            clean_start=not who.session_s,
            properties=_wishes(who),
        )
        self._client.loop_start()

    def tend(self) -> None:
        """Begin again where the network's thread has died of what came: whoever sent it does not speak MQTT 5. To be
        called now and then.
        """
        network = self._network
        if self._closing or network is None or network.is_alive():
            return
        self._network = None
        was, self.connected = self.connected, False
        self._troubled(f"what answers at {self.address} does not speak MQTT 5")
        if was:
            self._ear.down()
        self.start()

    def close(self) -> None:
        """Say that this client is gone, and go."""
        self._closing = True
        if self.connected:
            info = self._client.publish(self._who.state, self._who.left, qos=1, retain=True)
            _waited(info, _CLOSE_S)
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, data: bytes, *, keep: bool = False) -> MQTTMessageInfo | None:
        """Hand a message over: it arrives at least once, and `Ear.put` is told. None if it is larger than the broker
        takes. `keep`: the broker gives it to whoever subscribes later; no data at all ends that.
        """
        if self._packet_max and len(data) + len(topic) + 64 > self._packet_max:
            return None
        return self._client.publish(topic, data, qos=1, retain=keep)

    def subscribe(self, topics: Sequence[tuple[str, int]]) -> None:
        """Ask for what comes on these topics, each at most with that quality of service."""
        options = library("subscribeoptions").SubscribeOptions
        self._client.subscribe([(topic, options(qos=quality)) for topic, quality in topics])

    def unsubscribe(self, topic: str) -> None:
        """Ask for no more of it."""
        self._client.unsubscribe(topic)

    def taken(self, said: Said) -> None:
        """A message is safe here: the broker need not send it again."""
        if said.number:
            self._client.ack(said.number, 1)

    # on the network's thread

    def _on_socket_open(self, _client: Client, _data: object, sock: object) -> None:
        """Small messages do not wait for one another."""
        self._network = threading.current_thread()
        if isinstance(sock, socket.socket):  # ssl's are, too
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _on_connect(
        self, _client: Client, _data: object, _flags: object, reason: ReasonCode, more: Properties | None
    ) -> None:
        if reason.is_failure:
            self._troubled(f"the broker at {self.address} refuses this client: {reason}")
            return
        if self.trouble:
            _log.warning("the broker at %s is there again", self.address)
        self.trouble, self.connected = "", True
        self._packet_max = int(getattr(more, "MaximumPacketSize", 0))
        self._ear.up()

    def _on_connect_fail(self, _client: Client, _data: object) -> None:
        why = sys.exc_info()[1]  # paho calls this where it has caught why
        self._troubled(f"the broker at {self.address} cannot be reached{'' if why is None else f' ({why})'}")

    def _on_disconnect(self, _client: Client, _data: object, _flags: object, reason: ReasonCode, _more: object) -> None:
        was, self.connected = self.connected, False
        if not self._closing and (was or not self.trouble):  # why it refused was said already
            self._troubled(f"the broker at {self.address} is gone ({reason})")
        if was:
            self._ear.down()

    def _on_subscribe(
        self, _client: Client, _data: object, _number: int, reasons: Sequence[ReasonCode], _more: object
    ) -> None:
        if failed := [str(reason) for reason in reasons if reason.is_failure]:
            self._troubled(f"the broker at {self.address} does not let this client read its topics: {failed[0]}")

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        kind = str(getattr(message.properties, "ContentType", "application/octet-stream"))[:200]
        number = message.mid if message.qos else 0
        kept, again = bool(message.retain), bool(message.dup)
        self._ear.came(Said(message.topic, bytes(message.payload), kind, kept, again, number))

    def _on_publish(self, _client: Client, _data: object, _number: int, reason: ReasonCode, _more: object) -> None:
        self._ear.put(str(reason) if reason.is_failure else "")

    def _troubled(self, words: str) -> None:
        """Said once: what follows from it is not said."""
        if not self.trouble:
            _log.warning("%s: trying again; what can go another way does", words)
        self.trouble = words[:500]


class Outbox:
    """What waits for the broker. Bounded: the oldest goes when there is too much, and is counted."""

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max, self._bytes_max, self._bytes = count_max, bytes_max, 0
        self._waiting: deque[tuple[str, bytes]] = deque()
        self.dropped: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, topic: str, data: bytes) -> None:
        """Keep a message until the broker can have it."""
        self._waiting.append((topic, data))
        self._bytes += len(data)
        while len(self._waiting) > self._count_max or self._bytes > self._bytes_max:
            self.drop(self.take()[0], "too many wait for the broker")

    def take(self) -> tuple[str, bytes]:
        """The oldest."""
        topic, data = self._waiting.popleft()
        self._bytes -= len(data)
        return topic, data

    def drop(self, topic: str, why: str) -> None:
        """Count a message that will never arrive."""
        self.dropped[f"{topic.rpartition('/')[2]}: {why}"] += 1


def _wishes(who: Identity) -> Properties:
    """What the broker is asked for: how large a message may be, how many at once, how long a session is kept."""
    wishes: Properties = library("properties").Properties(library("packettypes").PacketTypes.CONNECT)
    wishes.MaximumPacketSize = who.bytes_max + HEADER_BYTES_MAX
    wishes.ReceiveMaximum = UNACKNOWLEDGED_MAX
    wishes.SessionExpiryInterval = who.session_s
    return wishes


def _log_in(client: Client, config: MqttConfig, address: Address) -> None:
    """Say who it is, behind TLS if that is asked for."""
    if address.tls:
        try:
            client.tls_set_context(ssl.create_default_context(cafile=config.ca_file or None))
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"mqtt.ca_file {config.ca_file} cannot be used ({error})") from error
    elif config.ca_file:
        raise ConfigError("mqtt.ca_file is set, and mqtt.url is not mqtts://: nothing would be checked")
    if not config.user:
        if config.password_file:
            raise ConfigError("mqtt.password_file is set without mqtt.user")
        return
    client.username_pw_set(config.user, _password(config.password_file))
    if not address.tls and not _is_loopback(address.host):
        _log.warning("the password of the broker at %s crosses the network in the clear: use mqtts://", address)


def _password(path: str) -> str | None:
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"mqtt.password_file {path} cannot be read ({error})") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _waited(info: MQTTMessageInfo, seconds: float) -> None:
    """Wait until the broker has it, or that is given up."""
    try:
        info.wait_for_publish(seconds)
    except (RuntimeError, ValueError):  # it could not even be put into the queue
        return
