"""A hub whose releases are checked: true ones come through, the others are told and passed over."""

from __future__ import annotations

import random

import msgspec
import pytest

from hotloop.adapters.signed_hub import SignedHub
from hotloop.errors import NotFoundError, UntrustedReleaseError
from hotloop.testing.release_attacks import BUNDLE, Attacker
from hotloop.types import digest


class Client:
    """A client whose stream is given, and that remembers what it was asked."""

    def __init__(self, releases):
        self.releases, self.asked = releases, []

    def follow_signed(self, line, after):
        yield from self.releases

    def send(self, events):
        self.asked.append(("send", events))
        return [1]

    def put_blobs(self, blobs):
        self.asked.append(("put", blobs))
        return ["d"]

    def acknowledge(self, lives):
        self.asked.append(("live", lives))


@pytest.fixture
def who(tmp_path):
    return Attacker(tmp_path, random.Random(0))


def test_what_is_in_order_comes_through_and_the_rest_is_told(who):
    """The stream goes on behind a forgery."""
    first, second = who.true(), who.true()
    forged = msgspec.structs.replace(second, model=first.model)
    hub, told = SignedHub(Client([first, forged, second]), who.check), []
    hub.refused = lambda version, reason: told.append((version, reason))
    assert [model.version for model in hub.follow("line-1", 0)] == [1, 2]
    assert [version for version, _ in told] == [2]
    assert "not of one release" in told[0][1]


def test_nobody_need_be_told(who):
    """By default a forgery is passed over in silence."""
    release = who.true()
    forged = msgspec.structs.replace(release, version=9)
    assert list(SignedHub(Client([forged]), who.check).follow("line-1", 0)) == []


def test_a_backbone_is_that_of_the_release_that_came_last(who):
    """Checked against what was signed."""
    hub = SignedHub(Client([who.true()]), who.check)
    with pytest.raises(NotFoundError, match="at hand"):
        hub.get_blob(digest(BUNDLE))
    list(hub.follow("line-1", 0))
    assert hub.get_blob(digest(BUNDLE)) == BUNDLE
    with pytest.raises(NotFoundError):
        hub.get_blob(digest(b"another"))
    who.served[f"{digest(BUNDLE)}.backbone.bin"] = b"changed on the way"
    with pytest.raises(UntrustedReleaseError):
        hub.get_blob(digest(BUNDLE))


def test_the_rest_is_the_clients(who):
    """Events, payloads, acknowledgements."""
    client = Client([])
    hub = SignedHub(client, who.check)
    assert (hub.send(["e"]), hub.put_blobs([b"b"])) == ([1], ["d"])
    hub.acknowledge(["l"])
    assert client.asked == [("send", ["e"]), ("put", [b"b"]), ("live", ["l"])]
