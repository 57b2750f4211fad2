"""HTTP on the device itself: a payload is answered at once, a verdict is taken, wrong requests are told why."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import msgspec
import pytest

from hotloop.adapters.camera import CameraState
from hotloop.adapters.mqtt_line import MqttState
from hotloop.agent import Agent, Place
from hotloop.config import EdgeConfig
from hotloop.edge.local_http import Beside, LocalHttp
from hotloop.errors import DiskFullError, HubUnreachableError, PortInUseError
from hotloop.feedback import verdict
from hotloop.store.spool import MemorySpool
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.faulty import Faulty, bundle
from hotloop.types import Event


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
    server = LocalHttp(agent, 0, 1000)
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
    assert [item.kind for item in waiting] == ["flagged", "verdict"]
    assert msgspec.msgpack.decode(waiting[1].data, type=Event).body == word


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/predict", b"?", 422, "JSON list of two numbers"),
        ("/predict", b"x" * 1001, 413, "at most 1000 bytes"),
        ("/feedback", b"{}", 422, "no feedback"),
        ("/feedback", b"\xff", 422, "no feedback"),
        ("/elsewhere", b"", 404, "POST /predict"),
    ],
)
def test_what_cannot_be_is_told_why(local, path, body, status, words):
    """And the next request is answered."""
    found = local.post(path, content=body)
    assert (found.status_code, words in found.json()["detail"]) == (status, True)
    assert local.get("/healthz").status_code == 200


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
        LocalHttp(agent, taken.getsockname()[1], 1000)


def test_only_this_device_can_reach_it(agent):
    """It listens on loopback."""
    server = LocalHttp(agent, 0, 1000)
    assert server._server.server_address[0] == "127.0.0.1"
    server.close()


def test_health_says_how_the_camera_and_the_broker_are(agent):
    """Where there are none, it says so."""
    camera = CameraState("rtsp://cam/1", 9, 5, 3, 1, ended=False, trouble="it gives no frames")
    broker = MqttState(True, "", 2, 7, 1, 0, {"answer: too many wait for the broker": 4}, {"mqtt": 3})
    server = LocalHttp(agent, 0, 1000, lambda: Beside(camera, broker))
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        health = client.get("/healthz").json()
    server.close()
    assert health["camera"] == msgspec.to_builtins(camera)
    assert health["mqtt"] == msgspec.to_builtins(broker)
    plain = LocalHttp(agent, 0, 1000)
    with httpx.Client(base_url=plain.url, trust_env=False) as client:
        health = client.get("/healthz").json()
    plain.close()
    assert (health["camera"], health["mqtt"]) == (None, None)
