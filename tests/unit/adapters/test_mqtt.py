"""A client of a real broker: addresses, logging in, TLS, one word of trouble, bounds."""

from __future__ import annotations

import base64
import datetime as dt
import gc
import hashlib
import ipaddress
import logging
import socket
import sys
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hotloop.adapters.mqtt import Address, Connection, Identity, Outbox, Topics, address_of, library
from hotloop.config import MqttConfig, parse
from hotloop.errors import ConfigError

_TAKEN = b"\x20\x03\x00\x00\x00"  # what a broker says to a client that it takes


class Ear:
    """Remembers what it is told."""

    def __init__(self):
        self.told, self.messages, self.failures, self.changed = [], [], [], threading.Condition()

    def note(self, word):
        with self.changed:
            self.told.append(word)
            self.changed.notify_all()

    def up(self):
        self.note("up")

    def down(self):
        self.note("down")

    def came(self, said):
        self.messages.append(said)
        self.note("came")

    def put(self, failure):
        self.failures.append(failure)
        self.note("put")

    def until(self, word, count=1, limit_s=10.0):
        with self.changed:
            assert self.changed.wait_for(lambda: self.told.count(word) >= count, limit_s), self.told


pytestmark = pytest.mark.usefixtures("hasty")


@pytest.fixture
def connect():
    """Makes started connections, and closes them."""
    made = []

    def make(config, name="one", **more):
        ear = Ear()
        made.append(Connection(config, Identity(name, f"t/{name}/state", 1000, **more), ear))
        made[-1].start()
        return made[-1], ear

    yield make
    for connection in made:
        connection.close()


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("mqtt://broker", Address("broker", 1883, tls=False)),
        ("mqtts://broker", Address("broker", 8883, tls=True)),
        ("mqtt://[::1]:99/", Address("::1", 99, tls=False)),
    ],
)
def test_an_address_is_host_port_and_whether_behind_tls(url, found):
    """The port is the usual one if none is given."""
    assert address_of(MqttConfig(url=url)) == found


@pytest.mark.parametrize("url", ["broker:1883", "http://broker", "mqtt://", "mqtt://b/path", "mqtt://b:port", "mqtt://["])
def test_what_is_no_address_is_refused(url):
    """With the key, and how it should be."""
    with pytest.raises(ConfigError, match=r"mqtt\.url"):
        address_of(MqttConfig(url=url))


def test_a_password_does_not_belong_into_the_address():
    """It would stand in logs."""
    with pytest.raises(ConfigError, match="password_file"):
        address_of(MqttConfig(url="mqtt://ann:secret@broker"))


@pytest.mark.parametrize("topic", ["", "a/+", "#", "$SYS", "a//b", "/a", "a/", "a b"])
def test_a_prefix_has_no_wildcards(topic):
    """Nor empty parts: what it begins is ours alone."""
    with pytest.raises(ConfigError, match=r"mqtt\.topic"):
        parse(f"[mqtt]\ntopic = '{topic}'")


def test_topics_are_by_site_and_line():
    """Releases beside them."""
    topics = Topics("p/q", "s", "l")
    assert (topics.here("answer"), topics.settled, topics.of_line("x"), topics.hub) == (
        "p/q/s/l/answer", "p/q/releases/settled", "p/q/releases/line/x", "p/q/releases/state",
    )  # fmt: skip


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    """As a setting that cannot be used."""
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
    with pytest.raises(ConfigError, match=r"hotloop\[mqtt\]"):
        library("client")


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"password_file": "/nowhere"}, "without mqtt.user"),
        ({"user": "ann", "password_file": "/nowhere"}, "cannot be read"),
        ({"ca_file": "/nowhere"}, "nothing would be checked"),
        ({"url": "mqtts://b", "ca_file": "/nowhere"}, "ca_file"),
    ],
)
def test_settings_that_cannot_be_used_are_said_before_anything_starts(more, named):
    """Not found out at night."""
    with pytest.raises(ConfigError, match=named):
        Connection(MqttConfig(**{"url": "mqtt://b", **more}), Identity("a", "t", 1), Ear())


def test_a_password_in_the_clear_is_said(tmp_path, caplog):
    """Over the network; on this machine nobody listens."""
    (tmp_path / "word").write_text("secret\n")
    more = {"user": "ann", "password_file": str(tmp_path / "word")}
    Connection(MqttConfig(url="mqtt://localhost", **more), Identity("a", "t", 1), Ear())
    Connection(MqttConfig(url="mqtt://127.0.0.1", **more), Identity("a", "t", 1), Ear())
    assert caplog.text == ""
    Connection(MqttConfig(url="mqtt://broker.plant", **more), Identity("a", "t", 1), Ear())
    assert "in the clear" in caplog.text
    assert "secret" not in caplog.text


def test_a_message_goes_from_one_to_the_other_and_what_is_kept_comes_later(broker, connect):
    """At least once, with what it is; whoever comes later gets what is kept."""
    config = MqttConfig(url=broker.url)
    one, ear = connect(config)
    ear.until("up")
    one.publish("t/x", b"first", keep=True)
    ear.until("put")
    assert ear.failures == [""]
    two, other = connect(config, "two")
    other.until("up")
    two.subscribe([("t/x", 1)])
    other.until("came")
    one.publish("t/x", b"second", keep=True)
    other.until("came", 2)
    assert [(said.data, said.kept, said.number > 0) for said in other.messages] == [
        (b"first", True, True), (b"second", False, True)
    ]  # fmt: skip
    for said in other.messages:
        two.taken(said)


def test_what_is_not_acknowledged_comes_again(broker, connect):
    """After the connection is lost, and says so; what was acknowledged does not."""
    config = MqttConfig(url=broker.url)
    one, ear = connect(config)
    two, other = connect(config, "two", session_s=60)
    ear.until("up")
    other.until("up")
    two.subscribe([("t/x", 1)])
    broker.heeds("two")
    one.publish("t/x", b"a")
    one.publish("t/x", b"b")
    other.until("came", 2)
    two.taken(other.messages[0])
    time.sleep(0.1)
    two._client._sock_close()
    other.until("came", 3)
    assert [(said.data, said.again) for said in other.messages[2:]] == [(b"b", True)]


def test_a_larger_message_than_the_broker_takes_is_not_sent(brokers, connect):
    """Else it would end the connection again and again."""
    broker = brokers(packet_bytes_max=2000)
    broker.start()
    one, ear = connect(MqttConfig(url=broker.url))
    ear.until("up")
    assert one.publish("t/x", b"x" * 2000) is None
    assert one.publish("t/x", b"x" * 1000) is not None
    ear.until("put")
    assert ear.told.count("down") == 0


def test_a_larger_message_than_it_takes_is_not_sent_to_a_client(broker, connect):
    """Its memory is bounded by what it said when it connected."""
    config = MqttConfig(url=broker.url)
    one, ear = connect(config)
    two, other = connect(config, "two")
    ear.until("up")
    other.until("up")
    two.subscribe([("t/x", 0)])
    broker.heeds("two")
    one.publish("t/x", b"x" * 100_000)
    one.publish("t/x", b"small")
    other.until("came")
    assert [said.data for said in other.messages] == [b"small"]


def test_a_broker_that_is_away_is_said_once_and_found_again(broker, connect, caplog):
    """One line in the log, whatever follows; another when it is back."""
    broker.stop()
    with caplog.at_level(logging.WARNING, "hotloop.mqtt"):
        one, ear = connect(MqttConfig(url=broker.url))
        deadline = time.monotonic() + 5
        while not one.trouble:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "cannot be reached" in one.trouble
        assert "refused" in one.trouble
        broker.start()
        ear.until("up")
        assert one.trouble == ""
        broker.stop()
        ear.until("down")
    said = [record.getMessage() for record in caplog.records]
    assert [("cannot be reached" in x, "there again" in x, "gone" in x) for x in said] == [
        (True, False, False), (False, True, False), (False, False, True)
    ]  # fmt: skip


def test_a_broker_that_knows_its_clients_refuses_others(tmp_path, brokers, connect):
    """The reason is the broker's own; with the right password it is in."""
    (tmp_path / "word").write_text("secret")
    (tmp_path / "acl").write_text("user ann\ntopic readwrite t/#\n")
    # a password as mosquitto_passwd writes it (PBKDF2), made here
    (tmp_path / "users").write_text(f"ann:{_hashed('secret')}\n")
    broker = brokers(f"password_file {tmp_path}/users", f"acl_file {tmp_path}/acl")
    settings = tmp_path / "broker-0/mosquitto.conf"
    settings.write_text(settings.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    broker.start()
    stranger, _ = connect(MqttConfig(url=broker.url))
    deadline = time.monotonic() + 5
    while "Not authorized" not in stranger.trouble:
        assert time.monotonic() < deadline, stranger.trouble
        time.sleep(0.01)
    ann, ear = connect(MqttConfig(url=broker.url, user="ann", password_file=str(tmp_path / "word")), "two")
    ear.until("up")
    ann.publish("elsewhere", b"x")
    ear.until("put")
    assert ear.failures == ["Not authorized"]


def _hashed(password):
    salt = b"0123456789ab"
    made = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"


def _certificate(folder):
    """A broker's certificate for 127.0.0.1 that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "broker")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused socket open
def test_a_broker_behind_tls_is_who_it_says(tmp_path, brokers, connect):
    """With the one who vouches for it; without, it is not spoken to."""
    _certificate(tmp_path)
    broker = brokers(f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem")
    broker.start()
    url = broker.url.replace("mqtt://", "mqtts://")
    one, ear = connect(MqttConfig(url=url, ca_file=str(tmp_path / "cert.pem")))
    ear.until("up")
    two, other = connect(MqttConfig(url=url), "two")
    deadline = time.monotonic() + 5
    while "verify failed" not in two.trouble:
        assert time.monotonic() < deadline, two.trouble
        time.sleep(0.01)
    assert other.told == []
    assert one.trouble == ""
    for connection in (one, two):
        connection.close()
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is what is tended
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of the thread that died
@pytest.mark.parametrize(
    ("said", "words", "told"),
    [
        (b"HTTP/1.1 400 no\r\n\r\n", "is gone", []),
        (_TAKEN + b"\x30\x04\x00\x01\xff\x00", "does not speak MQTT 5", ["up", "down"]),  # a topic that is no text
        (_TAKEN + b"\x90\x01\xff", "is gone", ["up", "down"]),  # half an answer
    ],
)
def test_what_does_not_speak_mqtt_is_said_and_tried_again(connect, said, words, told):
    """Whatever comes, before a connection or in it, ends no more than that connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        one, ear = connect(MqttConfig(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}"))
        taken, _ = server.accept()
        with taken:
            taken.recv(1000)
            taken.sendall(said)
            taken.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + 5
            while not one.trouble or ear.told != told:
                assert time.monotonic() < deadline
                one.tend()
                time.sleep(0.01)
            assert words in one.trouble
        again, _ = server.accept()
        again.close()


def test_who_dies_is_offline(broker, connect):
    """The broker says so; who goes in order says so itself."""
    config = MqttConfig(url=broker.url)
    watcher, ear = connect(config, "watcher")
    ear.until("up")
    watcher.subscribe([("t/+/state", 1)])
    broker.heeds("watcher")
    dying, other = connect(config, "dying")
    other.until("up")
    dying._client._sock.shutdown(2)
    ear.until("came")
    assert (ear.messages[0].topic, ear.messages[0].data) == ("t/dying/state", b"offline")


def test_what_waits_is_bounded_and_the_oldest_goes():
    """By count and by bytes; each that goes is counted under what it was."""
    box = Outbox(3, 100)
    for number in range(5):
        box.add("t/answer", b"%d" % number)
    assert [box.take()[1] for _ in range(len(box))] == [b"2", b"3", b"4"]
    box.add("t/refused", b"x" * 60)
    box.add("t/answer", b"x" * 60)
    assert (len(box), box.take()[0]) == (1, "t/answer")
    box.add("t/answer", b"x" * 101)
    assert len(box) == 0
    assert box.dropped == {"answer: too many wait for the broker": 3, "refused: too many wait for the broker": 1}
