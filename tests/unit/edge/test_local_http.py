"""HTTP on the device itself: a payload is answered at once, a verdict is taken, wrong requests are told why."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from hotloop.adapters.camera import CameraState
from hotloop.adapters.mqtt_line import MqttState
from hotloop.agent import Agent, Place
from hotloop.config import EdgeConfig, LoopConfig, TrustConfig
from hotloop.edge.local_http import Beside, LocalHttp
from hotloop.errors import DiskFullError, HubUnreachableError, PortInUseError, StoreError
from hotloop.feedback import verdict
from hotloop.store.spool import MemorySpool
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.faulty import Faulty, bundle
from hotloop.types import Event


def on(port):
    return LoopConfig(edge=EdgeConfig(port=port, payload_bytes_max=1000))


CONFIG = on(0)


class Away:
    """A hub that is not there."""

    def send(self, events):
        raise HubUnreachableError("away")

    put_blobs = follow = acknowledge = get_blob = send


@pytest.fixture
def agent():
    clock = SimulatedClock()
    return Agent(Place("s", "line-1"), Faulty(bundle()), Away(), clock, MemorySpool(EdgeConfig(), clock))


@pytest.fixture
def local(agent) -> Iterator[httpx.Client]:
    server = LocalHttp(agent, CONFIG)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        yield client
    server.close()


def test_a_payload_is_answered_with_the_hub_away(local, agent):
    """And waits in the spool with its event."""
    found = local.post("/predict", content=b"[1.0, 2.0]", headers={"content-type": "application/json"})
    said = found.json()
    assert found.status_code == 200
    assert said["outputs"][0]["label"] == "worn"
    assert (said["version"], said["prediction"].partition(":")[0]) == (0, "line-1")
    agent.settle()
    health = local.get("/healthz").json()
    assert (health["line"], health["version"], health["waiting_events"], health["waiting_payloads"]) == (
        "line-1", 0, 1, 1
    )  # fmt: skip
    assert health["spool_bytes"] > 0
    assert health["dropped"] == {}


def test_a_verdict_is_taken_and_durable(local, agent):
    """Under a key of the line's."""
    name = local.post("/predict", content=b"[1.0, 2.0]").json()["prediction"]
    word = verdict(name, [("ok", None)], "line-1")
    assert local.post("/feedback", content=msgspec.json.encode(word)).json() == {"taken": True}
    waiting = agent._spool.waiting("events", 9)
    assert [item.kind for item in waiting] == ["judged", "verdict"]
    assert msgspec.msgpack.decode(waiting[1].data, type=Event).body == word


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/predict", b"?", 422, "JSON list of two numbers"),
        ("/predict", b"x" * 1001, 413, "at most 1000 bytes"),
        ("/feedback", b"{}", 422, "no feedback"),
        ("/feedback", b"\xff", 422, "no feedback"),
        ("/feedback", b'{"x":' + b"[" * 100_000, 422, "no feedback"),
        ("/feedback", msgspec.json.encode(verdict("no id", [("ok", None)], "ann")), 422, "is no id"),
        ("/feedback", msgspec.json.encode(verdict("line-1:1", [("rust", None)], "ann")), 422, "rust"),
        ("/feedback", b'{"prediction":"line-1:1","claims":[],"reviewer":""}', 422, "say who gives it"),
        ("/elsewhere", b"", 404, "POST /predict"),
    ],
)
def test_what_cannot_be_is_told_why(local, path, body, status, words):
    """And the next request is answered."""
    found = local.post(path, content=body)
    assert (found.status_code, words in found.json()["detail"]) == (status, True)
    assert local.get("/healthz").status_code == 200


def test_a_verdict_is_the_lines_word(local, agent):
    """The hub would not take another's from this line's token; the sealed truth is nobody's to say here."""
    word = verdict("line-1:1", [("ok", None)], "ann")
    assert local.post("/feedback", content=msgspec.json.encode(word)).json() == {"taken": True}
    (item,) = agent._spool.waiting("events", 9)
    assert msgspec.msgpack.decode(item.data, type=Event).body.reviewer == "line-1.ann"


@pytest.mark.parametrize("golden", ["line-1.gold", "gold"])
def test_no_line_speaks_for_the_sealed_truth(agent, golden):
    """Whatever the golden reviewer is called."""
    config = msgspec.structs.replace(CONFIG, trust=TrustConfig(golden=golden))
    server = LocalHttp(agent, config)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        word = verdict("line-1:1", [("ok", None)], "gold")
        found = client.post("/feedback", content=msgspec.json.encode(word))
    server.close()
    assert (found.status_code, "sealed truth" in found.json()["detail"]) == (422, True)
    assert agent._spool.state().events == 0


def test_a_client_of_http_1_0_names_no_host(local):
    """Old controllers speak it."""
    with socket.create_connection((local.base_url.host, local.base_url.port)) as old:
        old.sendall(b"POST /predict HTTP/1.0\r\nContent-Length: 10\r\n\r\n[1.0, 2.0]")
        assert b" 200 OK" in old.recv(1000)
    assert local.get("/healthz", headers={"host": "LocalHost:80"}).status_code == 200


@pytest.mark.parametrize("head", [b"POST /elsewhere", b"GET /healthz?", b"POST /predict"])
def test_a_body_that_nobody_read_is_no_request(local, head):
    """Else whoever writes a body could ask in another's name."""
    inner = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    length = b"%d" % len(inner) if head != b"POST /predict" else b"9" * 5000
    with socket.create_connection((local.base_url.host, local.base_url.port)) as one:
        one.sendall(head + b" HTTP/1.1\r\nhost: localhost\r\ncontent-length: " + length + b"\r\n\r\n" + inner)
        one.shutdown(socket.SHUT_WR)
        said = b"".join(iter(lambda: one.recv(65536), b""))
    assert said.count(b"HTTP/1.1 ") == 1, said


def test_whoever_is_gone_leaves_no_trace(local, capfd):
    """A reset is told to nobody: it is every day's."""
    for start in (b"", b"POST /pre", b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n[1"):
        one = socket.create_connection((local.base_url.host, local.base_url.port))
        one.sendall(start)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.05)
        one.close()
    time.sleep(0.1)
    assert local.get("/healthz").status_code == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("headers", [{"origin": "https://elsewhere.example"}, {"host": "elsewhere.example"}])
@pytest.mark.parametrize("path", ["/healthz", "/predict", "/feedback"])
def test_a_web_page_that_is_open_on_the_device_gets_nothing(local, headers, path):
    """It is no program of the line's."""
    ask = local.request("GET" if path == "/healthz" else "POST", path, content=b"[1.0, 2.0]", headers=headers)
    assert (ask.status_code, "no web page" in ask.json()["detail"]) == (403, True)
    assert local.get("/healthz").json()["waiting_events"] == 0


def test_half_a_piece_is_no_piece(local, agent):
    """A camera's computer that dies in the middle has shown nothing."""
    host, port = local.base_url.host, local.base_url.port
    with socket.create_connection((host, port)) as half:
        half.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n[1.0,")
        half.shutdown(socket.SHUT_WR)
        assert half.recv(1000) == b""
    agent.settle()
    assert agent._spool.state().events == 0


def test_an_answer_does_not_wait_for_the_client_to_acknowledge(local):
    """Headers and body are two writes: without TCP_NODELAY the second waits up to 40 ms."""
    for _ in range(3):
        local.get("/healthz")
    began = time.perf_counter()
    for _ in range(20):
        local.post("/predict", content=b"[1.0, 2.0]")
    assert (time.perf_counter() - began) / 20 < 0.03


def test_a_spool_that_cannot_be_read_is_said(local, agent, monkeypatch):
    """Not a connection that breaks."""

    def fails():
        raise StoreError("mend the disk")

    monkeypatch.setattr(agent._spool, "state", fails)
    found = local.get("/healthz")
    assert (found.status_code, found.json()["detail"]) == (503, "mend the disk")


def test_other_paths_are_not_there(local):
    """It says what is."""
    assert local.get("/elsewhere").status_code == 404
    assert local.put("/predict").status_code == 501


def test_a_request_that_does_not_say_its_length_is_refused(local):
    """Nobody may fill the memory of a device."""

    def stream():
        yield b"[1.0, 2.0]"

    assert local.post("/predict", content=stream()).status_code == 413


def test_a_full_disk_is_told_to_whoever_gives_a_verdict(local, agent, monkeypatch):
    """It has to be given again; predictions go on."""

    def full(*_):
        raise DiskFullError("make room")

    monkeypatch.setattr(agent._spool, "put", full)
    word = verdict("line-1:1", [("ok", None)], "line-1")
    found = local.post("/feedback", content=msgspec.json.encode(word))
    assert (found.status_code, found.json()["detail"]) == (503, "make room")
    assert local.post("/predict", content=b"[1.0, 2.0]").status_code == 200


def test_a_port_that_is_taken_is_said(agent):
    """With what to set."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortInUseError, match=r"another \[edge\] port"):
        LocalHttp(agent, on(taken.getsockname()[1]))


def test_only_this_device_can_reach_it(agent):
    """It listens on loopback."""
    server = LocalHttp(agent, CONFIG)
    assert server._server.server_address[0] == "127.0.0.1"
    server.close()


def test_health_says_how_the_camera_and_the_broker_are(agent):
    """Where there are none, it says so."""
    camera = CameraState("rtsp://cam/1", 9, 5, 3, 1, ended=False, trouble="it gives no frames")
    broker = MqttState(True, "", 2, 7, 1, 0, {"answer: too many wait for the broker": 4}, {"mqtt": 3})
    server = LocalHttp(agent, CONFIG, lambda: Beside(camera, broker))
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        health = client.get("/healthz").json()
    server.close()
    assert health["camera"] == msgspec.to_builtins(camera)
    assert health["mqtt"] == msgspec.to_builtins(broker)
    plain = LocalHttp(agent, CONFIG)
    with httpx.Client(base_url=plain.url, trust_env=False) as client:
        health = client.get("/healthz").json()
    plain.close()
    assert (health["camera"], health["mqtt"]) == (None, None)
