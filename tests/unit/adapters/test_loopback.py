"""A server for programs on this device: nobody else is answered, and nothing that is sent wrongly breaks the next."""

from __future__ import annotations

import socket

import httpx
import pytest

from hotloop.adapters.loopback import LoopbackHandler, LoopbackServer
from hotloop.errors import PortInUseError


class Echo(LoopbackHandler):
    """Says what it was sent."""

    word: str

    def get(self):
        self.answer({"word": self.word, "path": self.path})

    def post(self):
        body = self.body(10)
        if body is not None:
            self.answer({"body": body.decode()})


@pytest.fixture(scope="module")
def server():
    found = LoopbackServer(0, Echo, {"word": "hello"}, "[some] port")
    yield found
    found.close()


@pytest.fixture
def client(server):
    with httpx.Client(base_url=server.url, trust_env=False) as found:
        yield found


def test_handlers_know_what_they_were_given(client):
    """And answer in JSON."""
    found = client.get("/x?y")
    assert (found.json(), found.headers["content-type"]) == ({"word": "hello", "path": "/x?y"}, "application/json")
    assert client.post("/", content=b"abc").json() == {"body": "abc"}


def test_a_port_that_is_taken_is_said_with_its_setting(server):
    """So that it can be changed."""
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(PortInUseError, match=r"another \[some\] port"):
        LoopbackServer(port, Echo, {}, "[some] port")


@pytest.mark.parametrize("headers", [
    {"origin": "http://evil.example"}, {"host": "evil.example"}, {"host": "127.0.0.1.evil.example"}, {"origin": "null"},
])  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_web_page_of_elsewhere_is_turned_away(client, headers, method):
    """It may be open in a browser on this device."""
    assert client.request(method, "/", headers=headers, content=b"x").status_code == 403
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("length", ["11", "-1", "1e1", "", "9" * 30, "٣"])
def test_a_body_of_another_length_is_refused(server, client, length):
    """Before it is read."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        one.sendall(head.encode("latin-1", "replace"))
        assert b" 413 " in one.recv(100)
    assert client.get("/").status_code == 200


def test_half_a_body_is_no_body(server, client):
    """Whoever sent it is gone."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        one.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc")
        one.shutdown(socket.SHUT_WR)
        assert one.recv(100) == b""
    assert client.post("/", content=b"next").json() == {"body": "next"}


def test_a_handler_that_has_nothing_says_so():
    """To both kinds of requests."""
    server = LoopbackServer(0, LoopbackHandler, {}, "port")
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        assert (client.get("/").status_code, client.post("/", content=b"x").status_code) == (404, 404)
    server.close()
