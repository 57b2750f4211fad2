"""TRUST 15: releases that are tampered with, unsigned, expired, older, mixed, endless or incomplete are refused."""

from __future__ import annotations

import random

import pytest

from hotloop.adapters.release_check import ReleaseCheck
from hotloop.config import RolloutConfig
from hotloop.errors import ConfigError, HubUnreachableError, NotFoundError, UntrustedReleaseError
from hotloop.store.signing import Signer, first_root, make_keys, rotate
from hotloop.testing.release_attacks import (
    ATTACKS,
    BUNDLE,
    Attacker,
    check_backbone_attack,
    check_release_attacks,
    model,
)


def test_no_attack_is_taken(tmp_path):
    """540 attacks of nine kinds, true releases between them: each is refused by a named error."""
    refused = check_release_attacks(tmp_path, 540)
    assert {name.partition(":")[0] for name in refused} == set(ATTACKS)
    assert {"wrong key: unsigned", "expired: expired", "older: older", "endless: endless"} <= set(refused)


@pytest.mark.full
def test_no_attack_of_10_000_is_taken(tmp_path):
    """The whole row."""
    assert sum(check_release_attacks(tmp_path, 10_000, seed=1).values()) >= 9_990


def test_a_backbone_is_checked_to_the_last_byte(tmp_path):
    """It travels on its own, and is checked against what was signed."""
    check_backbone_attack(tmp_path)


def test_what_was_seen_is_remembered_over_a_restart(tmp_path):
    """An older release is refused by a device that has just been switched on."""
    who = Attacker(tmp_path, random.Random(0))
    old, new = who.true(), who.true()
    who.check.model(new)
    again = ReleaseCheck(tmp_path / "line", first_root(tmp_path / "hub"), who.file)
    with pytest.raises(UntrustedReleaseError, match="older"):
        again.model(old)


def test_a_release_can_be_read_twice(tmp_path):
    """The same one again is no attack: a line that starts asks for the newest."""
    who = Attacker(tmp_path, random.Random(0))
    release = who.true()
    assert who.check.model(release)[0] == who.check.model(release)[0]
    stamped = who.hub.stamp()
    assert stamped is not None
    assert who.check.model(stamped)[0].version == release.version


def test_the_online_key_can_be_exchanged(tmp_path):
    """After a rotation a device that trusted the first root follows, and what the old key signs is refused."""
    who = Attacker(tmp_path, random.Random(0))
    who.check.model(who.true())
    stolen = who.hub
    assert rotate(tmp_path / "hub", who.clock, tmp_path / "hub/root.pem", new_root_folder=tmp_path / "safe") == 2
    who.hub = Signer(tmp_path / "hub", RolloutConfig(), who.clock, lambda _: BUNDLE)
    assert who.check.model(who.true())[0].version == 2
    with pytest.raises(UntrustedReleaseError, match="not signed"):
        who.check.model(stolen.sign(model(3)))
    with pytest.raises(ConfigError, match="not the root key"):
        rotate(tmp_path / "hub", who.clock, tmp_path / "hub/root.pem")
    assert rotate(tmp_path / "hub", who.clock, tmp_path / "safe/root.pem") == 3


def test_versions_rise_whatever_the_clock_does(tmp_path):
    """Set back by a day, restarted: a release is still newer than the last."""
    who = Attacker(tmp_path, random.Random(0))
    who.check.model(who.true())
    who.clock.jump(-86_400.0 * 3)
    assert who.check.model(who.true())[0].version == 2
    who.hub = Signer(tmp_path / "hub", RolloutConfig(timestamp_days=30.0), who.clock, lambda _: BUNDLE)
    assert who.check.model(who.true())[0].version == 3


def test_only_the_newest_files_are_kept(tmp_path):
    """A hub that runs for a year does not fill its memory; roots are always there."""
    who = Attacker(tmp_path, random.Random(0))
    first = who.true()
    for _ in range(20):
        who.true()
    with pytest.raises(NotFoundError):
        who.hub.file(next(iter(first.metadata)))
    assert who.hub.file("1.root.json") == first_root(tmp_path / "hub")
    assert who.hub.file("timestamp.json")
    for name in ("2.root.json", "../hub/root.pem", "root.pem", "online.pem", "²." + "root.json"):
        with pytest.raises(NotFoundError):
            who.hub.file(name)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda hub: (hub / "online.pem").chmod(0o644), "read by others"),
        (lambda hub: (hub / "online.pem").unlink(), "not there"),
        (lambda hub: (hub / "online.pem").write_text("?"), "no key"),
        (lambda hub: (hub / "1.root.json").unlink(), "no root"),
        (lambda hub: (hub / "online.pem").write_bytes((hub / "root.pem").read_bytes()), "not the key"),
        (lambda hub: (hub / "versions.json").write_text("?"), "cannot be read"),
    ],
)
def test_keys_that_do_not_fit_stop_the_hub_with_a_reason(tmp_path, spoil, words):
    """And say what to do."""
    who = Attacker(tmp_path, random.Random(0))
    who.true()
    spoil(tmp_path / "hub")
    with pytest.raises(ConfigError, match=words):
        Signer(tmp_path / "hub", RolloutConfig(), who.clock, lambda _: BUNDLE)


def test_keys_are_made_once(tmp_path):
    """A second time would make strangers of all devices."""
    who = Attacker(tmp_path, random.Random(0))
    with pytest.raises(ConfigError, match="keys already"):
        make_keys(tmp_path / "hub", who.clock)
    assert (tmp_path / "hub/root.pem").stat().st_mode & 0o077 == 0


def test_a_hub_that_is_away_says_nothing_of_the_release(tmp_path):
    """The backbone could not be fetched just now: that is no attack, and no reason to decline."""
    who = Attacker(tmp_path, random.Random(0))
    found, updater = who.check.model(who.true())

    def away(name):
        raise HubUnreachableError("away")

    who.check._fetch = away
    release = who.true()
    _, updater = who.check.model(release)
    with pytest.raises(HubUnreachableError):
        who.check.backbone(updater, found)
