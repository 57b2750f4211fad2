"""Devices: invited with a code, enrolled once, strangers when they are lost."""

from __future__ import annotations

import hashlib

import apsw
import pytest

from hotloop.errors import AccessError, NotFoundError, StoreError
from hotloop.hub.auth import Credential, Keyring
from hotloop.hub.table import NOBODY
from hotloop.store.devices import Device, Devices
from hotloop.testing.clock import SimulatedClock


@pytest.fixture
def devices(tmp_path):
    found = Devices(tmp_path, SimulatedClock())
    yield found
    found.close()


def known(devices, secret):
    return devices.known(hashlib.sha256(secret.encode()).digest())


def test_a_code_is_changed_for_a_token_once(devices):
    """The code is good no more; the token speaks for its line."""
    code = devices.invite("line-7", 24.0)
    assert known(devices, code) == ("line-7", False)
    token = devices.enrol("line-7")
    assert known(devices, token) == ("line-7", True)
    assert known(devices, code) == ("", False)
    with pytest.raises(AccessError, match="was used"):
        devices.enrol("line-7")
    assert devices.all() == [Device("line-7", "enrolled", devices.clock.now())]


def test_a_code_has_its_time(devices):
    """After it, it is nothing."""
    code = devices.invite("line-7", 1.0)
    devices.clock.advance(3_601.0)
    assert known(devices, code) == ("", False)
    assert devices.all() == [Device("line-7", "invited", 0.0)]


def test_a_newer_code_replaces_the_older_and_not_the_token(devices):
    """The device that answers is known until the new one has enrolled."""
    first = devices.invite("line-7", 24.0)
    token = devices.enrol("line-7")
    second = devices.invite("line-7", 24.0)
    third = devices.invite("line-7", 24.0)
    assert [known(devices, secret)[0] for secret in (first, second, third, token)] == ["", "", "line-7", "line-7"]
    other = devices.enrol("line-7")
    assert [known(devices, secret)[0] for secret in (token, other)] == ["", "line-7"]


def test_a_lost_device_is_a_stranger_at_once(devices):
    """Its code too; its line may enrol another."""
    devices.invite("line-7", 24.0)
    token = devices.enrol("line-7")
    code = devices.invite("line-7", 24.0)
    devices.revoke("line-7")
    assert [known(devices, secret)[0] for secret in (token, code)] == ["", ""]
    assert devices.all()[0].state == "revoked"
    again = devices.invite("line-7", 24.0)
    assert known(devices, again) == ("line-7", False)
    with pytest.raises(NotFoundError, match="line-9"):
        devices.revoke("line-9")


def test_secrets_are_not_on_the_disk(devices, tmp_path):
    """Only their digests, in a file that its owner alone can read."""
    code = devices.invite("line-7", 24.0)
    token = devices.enrol("line-7")
    devices.close()
    kept = (tmp_path / "devices.sqlite").read_bytes()
    assert code.encode() not in kept
    assert token.encode() not in kept
    assert (tmp_path / "devices.sqlite").stat().st_mode & 0o077 == 0
    devices.__init__(tmp_path, SimulatedClock())


def test_two_processes_may_use_it_side_by_side(devices, tmp_path):
    """The command line invites while the hub runs."""
    other = Devices(tmp_path, SimulatedClock())
    code = other.invite("line-7", 24.0)
    assert known(devices, code) == ("line-7", False)
    other.close()


def test_a_keyring_knows_them(devices):
    """As lines bound to their own name; with a code, as invited."""
    ring = Keyring.of([Credential("ann", "operator", "x" * 40)], devices)
    code = devices.invite("line-7", 24.0)
    invited = ring.caller(f"Bearer {code}".encode())
    assert (invited.role, invited.subject) == ("invited", "line-7")
    assert invited.may("enrol")
    assert not invited.may("follow")
    line = ring.caller(f"Bearer {devices.enrol('line-7')}".encode())
    assert (line.role, line.subject) == ("line", "line-7")
    assert line.may("follow")
    assert not line.may("enrol")
    assert ring.caller(b"Bearer " + b"y" * 43) is NOBODY
    assert ring.caller(b"Bearer " + b"x" * 40).role == "operator"


def test_a_disk_that_fails_is_said(devices, tmp_path, monkeypatch):
    """In our words."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Devices(tmp_path / "file", SimulatedClock())

    class Failing:
        def execute(self, *_):
            raise apsw.IOError("no")

        def close(self):
            pass

    monkeypatch.setattr(devices, "_connection", Failing())
    with pytest.raises(StoreError, match="mend the disk"):
        devices.all()
