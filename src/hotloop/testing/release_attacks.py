"""An attacker between hub and line, or with the hub's old files: no release of theirs is installed.

The attacks are those of the specification of TUF (section 1.5.2), made from a real signer's releases; the check is the
product's own. Deterministic but for the keys.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
import numpy as np
from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from hotloop.adapters.release_check import ReleaseCheck
from hotloop.config import RolloutConfig
from hotloop.errors import NotFoundError, UntrustedReleaseError
from hotloop.predict import pack_head
from hotloop.store.signing import BACKBONE, SignedRelease, Signer, first_root, make_keys
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Head, Model, digest

Attack: TypeAlias = Callable[["Attacker"], SignedRelease]
BUNDLE: Final = b"backbone" * 50


def model(version: int, weight: float = 0.0) -> Model:
    """A model to release."""
    head = pack_head(Head(("ok", "worn"), np.full((2, 2), weight), (0.5, 0.5)))
    return Model(
        version=version, parent=version - 1, tier="reflex", backbone=digest(BUNDLE), head=head, labels=("ok", "worn"),
        recipe="r",
    )  # fmt: skip


def _clock() -> SimulatedClock:
    return SimulatedClock(time.time())  # python-tuf asks the system's clock


@dataclass
class Attacker:
    """Who has seen releases go by, holds keys of their own, and can put any bytes in a release's place."""

    folder: Path
    rng: random.Random
    old: list[SignedRelease] = field(default_factory=list)

    def __post_init__(self) -> None:
        """A hub with keys, a device that trusts it, and an evil twin with other keys."""
        self.clock = _clock()
        for name in ("hub", "evil"):
            make_keys(self.folder / name, self.clock)
        config = RolloutConfig()
        self.hub = Signer(self.folder / "hub", config, self.clock, lambda _: BUNDLE)
        self.evil = Signer(self.folder / "evil", config, self.clock, lambda _: BUNDLE)
        self.version = 0
        self.served: dict[str, bytes] = {}
        self.check = ReleaseCheck(self.folder / "line", first_root(self.folder / "hub"), self.file)

    def file(self, name: str) -> bytes:
        """What a line that asks for a file gets."""
        if name in self.served:
            return self.served[name]
        if name.endswith(BACKBONE):
            return BUNDLE
        return self.hub.file(name)

    def true(self) -> SignedRelease:
        """The hub's next release, as it is."""
        self.version += 1
        return self.hub.sign(model(self.version))

    def changed(self, name: str, data: bytes) -> SignedRelease:
        """The next true release with one file of it replaced; `name` is a role, or "model"."""
        release = self.true()
        if name == "model":
            return msgspec.structs.replace(release, model=data)
        return msgspec.structs.replace(release, metadata=release.metadata | {named(release, name): data})


def named(release: SignedRelease, role: str) -> str:
    """The file of a role in a release."""
    return next(name for name in release.metadata if role in name)


def _bits(who: Attacker) -> SignedRelease:
    """A bit is flipped somewhere that matters: "2026-12-02t15:41" for a T says the same, and is no attack."""
    release = who.true()
    role = who.rng.choice(("timestamp", "snapshot", "targets", "model"))
    whole = release.model if role == "model" else release.metadata[named(release, role)]
    while True:
        data = bytearray(whole)
        data[who.rng.randrange(max(data.find(b'"signed"'), 0), len(data) - 4)] ^= 1 << who.rng.randrange(7)
        if role == "model":
            return msgspec.structs.replace(release, model=bytes(data))
        if not _says_the_same(bytes(data), whole):
            return msgspec.structs.replace(release, metadata=release.metadata | {named(release, role): bytes(data)})


def _says_the_same(data: bytes, whole: bytes) -> bool:
    try:
        return bool(Metadata.from_bytes(data).signed == Metadata.from_bytes(whole).signed)
    except DeserializationError:
        return False


def _wrong_key(who: Attacker) -> SignedRelease:
    """Everything is in order, but for whose key it is."""
    who.version += 1
    return who.evil.sign(model(who.version, 9.0))


def _unsigned(who: Attacker) -> SignedRelease:
    """Signatures are taken off."""
    release = who.true()
    role = who.rng.choice(("timestamp", "snapshot", "targets"))
    kind = {"timestamp": Timestamp, "snapshot": Snapshot, "targets": Targets}[role]
    metadata = Metadata[kind].from_bytes(release.metadata[named(release, role)])  # type: ignore[valid-type]
    metadata.signatures.clear()
    files = release.metadata | {named(release, role): metadata.to_bytes()}
    return msgspec.structs.replace(release, metadata=files)


def _expired(who: Attacker) -> SignedRelease:
    """The hub's own, but of yesterday, and valid for a second: a line must not be kept on it for ever."""
    who.version += 1
    short, yesterday = RolloutConfig(timestamp_days=1e-9, signed_days=1e-9), SimulatedClock(who.clock.now() - 86_400.0)
    return Signer(who.folder / "hub", short, yesterday, lambda _: BUNDLE).sign(model(who.version))


def _older(who: Attacker) -> SignedRelease:
    """One that has been seen before, signed by the hub: with a flaw that was mended since."""
    return who.rng.choice(who.old[:-1])


def _mixed(who: Attacker) -> SignedRelease:
    """Parts of two true releases."""
    old, new = who.rng.choice(who.old), who.true()
    role = who.rng.choice(("snapshot", "targets", "model"))
    if role == "model":
        return msgspec.structs.replace(new, model=old.model)
    return msgspec.structs.replace(new, metadata=new.metadata | {named(new, role): old.metadata[named(old, role)]})


def _endless(who: Attacker) -> SignedRelease:
    """A part that does not end."""
    role = who.rng.choice(("timestamp", "snapshot", "targets", "model"))
    return who.changed(role, b" " * 200_000)


def _missing(who: Attacker) -> SignedRelease:
    """A part is kept back."""
    release = who.true()
    name = named(release, who.rng.choice(("timestamp", "snapshot", "targets")))
    who.hub._files.pop(name, None)  # noqa: SLF001 - nobody else has it either
    return msgspec.structs.replace(release, metadata={k: v for k, v in release.metadata.items() if k != name})


def _relabelled(who: Attacker) -> SignedRelease:
    """The hub's true release under another number, so that the line takes it for a newer one."""
    release = who.true()
    return msgspec.structs.replace(release, version=release.version + who.rng.randint(1, 1000))


ATTACKS: Final[dict[str, Attack]] = {
    "bits": _bits,
    "wrong key": _wrong_key,
    "unsigned": _unsigned,
    "expired": _expired,
    "older": _older,
    "mixed": _mixed,
    "endless": _endless,
    "missing": _missing,
    "relabelled": _relabelled,
}


def check_release_attacks(folder: Path, count: int, seed: int = 0) -> Counter[str]:
    """Make `count` attacks between true releases; how each was refused. AssertionError names one that was not."""
    who = Attacker(folder, random.Random(seed))
    refused: Counter[str] = Counter()
    names = list(ATTACKS)
    who.old = [who.true(), who.true()]
    for number in range(count):
        if number % 20 == 0:  # a true one goes through, whatever was tried before it
            who.old = [*who.old[-4:], who.true()]
            try:
                found, _ = who.check.model(who.old[-1])
            except UntrustedReleaseError as error:
                raise AssertionError(f"a true release was refused: {error}") from error
            assert found.version == who.old[-1].version, "another release was taken for it"
        name = names[number % len(names)]
        release = ATTACKS[name](who)
        try:
            taken, _ = who.check.model(release)
        except UntrustedReleaseError as error:
            refused[f"{name}: {error.attack}"] += 1
        else:
            raise AssertionError(f"attack {number}, {name!r}, was taken: version {taken.version}")
    return refused


def check_backbone_attack(folder: Path) -> None:
    """A backbone whose bytes were changed on the way is refused. AssertionError if it is not."""
    who = Attacker(folder, random.Random(0))
    found, updater = who.check.model(who.true())
    assert who.check.backbone(updater, found) == BUNDLE, "the true backbone was refused"
    who.served[f"{digest(BUNDLE)}.{BACKBONE}"] = BUNDLE[:-1] + b"?"
    try:
        who.check.backbone(updater, found)
    except UntrustedReleaseError:
        return
    except NotFoundError as error:
        raise AssertionError(f"the backbone was not even asked for: {error}") from error
    raise AssertionError("a backbone with other bytes was taken")
