"""Releases as signed metadata of The Update Framework (https://theupdateframework.github.io/specification/latest/).

The root key says which key signs releases. It is used to make and to exchange that key, and belongs on a stick in a
safe. The online key lies on the hub and signs each release: targets, snapshot and timestamp, each with a version that
rises and a time at which it expires. What a line needs to check a release is a few kB that go out with it.

Versions are milliseconds of the hub's clock, or one more than the last, whichever is more: they rise over a lost disk
too. They are reserved in blocks, so that a clock that is set back does not stop releases.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from hotloop.config import RolloutConfig
from hotloop.errors import ConfigError, NotFoundError, StoreError
from hotloop.ports import Clock
from hotloop.types import UNREADABLE, Model

T = TypeVar("T", Targets, Snapshot, Timestamp)

MODEL: Final = "model.msgpack"
BACKBONE: Final = "backbone.bin"
FIRST_ROOT: Final = "1.root.json"  # what devices are given to trust
_ONLINE: Final = "online.pem"
_ROOT_KEY: Final = "root.pem"
_VERSIONS: Final = "versions.json"
_BLOCK: Final = 10_000  # versions that are reserved at once
_KEPT: Final = 8  # releases whose files can be fetched: a line may be in the middle of an older one
_ROOT_DAYS: Final = 730
_ROLES: Final = ("timestamp", "snapshot", "targets")


class SignedRelease(msgspec.Struct, frozen=True):
    """A model with what proves it: metadata by file name, and the targets by path. Backbones travel on their own."""

    version: int
    root: int  # the newest version of the root
    metadata: dict[str, bytes]
    model: bytes


class _Versions(msgspec.Struct, frozen=True):
    reserved: int


def make_keys(folder: Path, clock: Clock, root_folder: Path | None = None) -> Path:
    """Make a root key (into `root_folder`, or `folder`) and an online key, and the first root. ConfigError if there
    are keys already. The root key's path.
    """
    if (folder / _ONLINE).exists() or _roots(folder):
        raise ConfigError(f"{folder} has keys already; to exchange the online key: hotloop keys rotate")
    root_key, online = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    where = (root_folder or folder) / _ROOT_KEY
    if where.exists():
        raise ConfigError(f"{where} is there already: give an empty folder for the root key")
    _keep_secret(where, root_key)
    _keep_secret(folder / _ONLINE, online)
    root = Root(expires=_after(clock, _ROOT_DAYS), consistent_snapshot=True)
    root.add_key(root_key.public_key, Root.type)
    _delegate(root, online)
    _write_root(folder, root, [root_key])
    return where


def rotate(folder: Path, clock: Clock, root_key: Path, *, new_root_folder: Path | None = None) -> int:
    """Exchange the online key, and the root key too if a folder for a new one is given. The new root's version.

    ConfigError if that is not the root key of these releases, or the new one would take another's place.
    """
    newest = max(_roots(folder), default=0)
    if not newest:
        raise ConfigError(f"{folder} has no root: make keys first, with hotloop keys init")
    root = Metadata[Root].from_bytes(_root_path(folder, newest).read_bytes()).signed
    old = _secret(root_key)
    if old.public_key.keyid not in root.roles[Root.type].keyids:
        raise ConfigError(f"{root_key} is not the root key of these releases")
    signers = [old]
    if new_root_folder is not None:
        if (new_root_folder / _ROOT_KEY).exists():  # the old one must be there until the new root is written
            raise ConfigError(f"{new_root_folder / _ROOT_KEY} is there: give the new root key another folder")
        new = CryptoSigner.generate_ed25519()
        _keep_secret(new_root_folder / _ROOT_KEY, new)
        root.revoke_key(old.public_key.keyid, Root.type)
        root.add_key(new.public_key, Root.type)
        signers.append(new)
    online = CryptoSigner.generate_ed25519()
    for role in _ROLES:
        for keyid in list(root.roles[role].keyids):
            root.revoke_key(keyid, role)
    _delegate(root, online)
    root.version, root.expires = newest + 1, _after(clock, _ROOT_DAYS)
    _keep_secret(folder / _ONLINE, online)
    _write_root(folder, root, signers)
    return root.version


class Signer:
    """Signs each release with the online key, and keeps the files of the newest ones. May be used from several
    threads.
    """

    def __init__(self, folder: Path, config: RolloutConfig, clock: Clock, bundle: Callable[[str], bytes]) -> None:
        """`bundle` gives a backbone's bytes by its digest. ConfigError if there are no keys, or they do not fit."""
        self._folder, self._config, self._clock, self._bundle = folder, config, clock, bundle
        self._lock = threading.Lock()
        self._online = _secret(folder / _ONLINE)
        self.root = max(_roots(folder), default=0)
        if not self.root:
            raise ConfigError(f"{folder} has no root: make keys first, with hotloop keys init")
        root = Metadata[Root].from_bytes(_root_path(folder, self.root).read_bytes()).signed
        if self._online.public_key.keyid not in root.roles[Timestamp.type].keyids:
            raise ConfigError(f"{folder / _ONLINE} is not the key that root {self.root} names: restore the right one")
        self._reserved = self._last = _reserved(folder / _VERSIONS)
        self._sizes: dict[str, int] = {}
        self._files: OrderedDict[str, bytes] = OrderedDict()
        self.newest: SignedRelease | None = None

    def sign(self, model: Model) -> SignedRelease:
        """The release of a model. StoreError if the versions cannot be reserved."""
        with self._lock:
            version = self._next()
            data = msgspec.msgpack.encode(model)
            targets = Targets(version=version, expires=_after(self._clock, self._config.signed_days))
            targets.targets[MODEL] = TargetFile.from_data(MODEL, data, ["sha256"])
            if model.backbone:
                length = self._length(model.backbone)
                targets.targets[BACKBONE] = TargetFile(length, {"sha256": model.backbone}, BACKBONE)
            files = {f"{version}.targets.json": self._signed(targets)}
            snapshot = Snapshot(version=version, expires=targets.expires, meta={"targets.json": MetaFile(version)})
            files[f"{version}.snapshot.json"] = self._signed(snapshot)
            files["timestamp.json"] = self._stamped(version)
            self.newest = SignedRelease(model.version, self.root, files, data)
            self._keep(files, data, targets)
            return self.newest

    def stamp(self) -> SignedRelease | None:
        """The newest release with a fresh timestamp: to be called now and then, so that it does not expire."""
        with self._lock:
            if self.newest is None:
                return None
            known = next(int(name.split(".")[0]) for name in self.newest.metadata if name.endswith("snapshot.json"))
            fresh = self._stamped(known, self._next())
            metadata = self.newest.metadata | {"timestamp.json": fresh}
            self._files["timestamp.json"] = fresh
            self.newest = msgspec.structs.replace(self.newest, metadata=metadata)
            return self.newest

    def file(self, name: str) -> bytes:
        """A file of the repository, by its name there. NotFoundError."""
        with self._lock:
            if name in self._files:
                return self._files[name]
        number, _, role = name.partition(".")
        if role == "root.json" and number.isascii() and number.isdecimal():
            path = _root_path(self._folder, int(number))
            if path.is_file():
                return path.read_bytes()
        raise NotFoundError(f"there is no {name!r} among the releases")

    def _stamped(self, snapshot: int, version: int | None = None) -> bytes:
        expires = _after(self._clock, self._config.timestamp_days)
        return self._signed(Timestamp(version=version or snapshot, expires=expires, snapshot_meta=MetaFile(snapshot)))

    def _signed(self, what: T) -> bytes:
        metadata = Metadata(what)
        metadata.sign(self._online)
        return metadata.to_bytes()

    def _keep(self, files: Mapping[str, bytes], data: bytes, targets: Targets) -> None:
        self._files.update(files)
        self._files[f"{targets.targets[MODEL].hashes['sha256']}.{MODEL}"] = data
        self._files.move_to_end("timestamp.json")
        while len(self._files) > 3 * _KEPT:
            self._files.popitem(last=False)

    def _length(self, backbone: str) -> int:
        if backbone not in self._sizes:
            self._sizes[backbone] = len(self._bundle(backbone))
        return self._sizes[backbone]

    def _next(self) -> int:
        """The next version: above every one that was ever given."""
        version = max(self._last + 1, int(self._clock.now() * 1000))
        if version > self._reserved:
            self._reserved = version + _BLOCK
            _write(self._folder / _VERSIONS, msgspec.json.encode(_Versions(self._reserved)), 0o644)
        self._last = version
        return version


def open_signer(folder: Path, config: RolloutConfig, clock: Clock, bundle: Callable[[str], bytes]) -> Signer:
    """A signer on the keys in `folder`; makes them, the root key too, if there are none yet."""
    if not _roots(folder):
        make_keys(folder, clock)
    return Signer(folder, config, clock, bundle)


def first_root(folder: Path) -> bytes:
    """The first root: what a device is given to trust when it enrols. ConfigError if there is none."""
    try:
        return (folder / FIRST_ROOT).read_bytes()
    except OSError:
        raise ConfigError(f"{folder} has no root: make keys first, with hotloop keys init") from None


def _delegate(root: Root, online: CryptoSigner) -> None:
    for role in _ROLES:
        root.add_key(online.public_key, role)


def _write_root(folder: Path, root: Root, signers: list[CryptoSigner]) -> None:
    metadata = Metadata(root)
    for signer in signers:
        metadata.sign(signer, append=True)
    _write(_root_path(folder, root.version), metadata.to_bytes(), 0o644)


def _root_path(folder: Path, version: int) -> Path:
    return folder / f"{version}.root.json"


def _roots(folder: Path) -> list[int]:
    """The versions of the roots that are here."""
    names = (path.name.partition(".")[0] for path in folder.glob("*.root.json"))
    return [int(name) for name in names if name.isdecimal()]


def _secret(path: Path) -> CryptoSigner:
    """A private key from its file. ConfigError if it cannot be read, is none, or others can read it."""
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path} can be read by others: make new keys (hotloop keys rotate), then chmod 600")
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise ConfigError(f"{path} is not there: make keys with hotloop keys init, or bring it back") from None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} holds no key that can be used ({error})") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{path} is no Ed25519 key: make keys with hotloop keys init")
    return CryptoSigner(key)


def _keep_secret(path: Path, signer: CryptoSigner) -> None:
    _write(path, signer.private_bytes, 0o600)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write whole or not at all, synced. StoreError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}): make room, or mend its folder") from error


def _reserved(path: Path) -> int:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Versions).reserved
    except FileNotFoundError:
        return 0
    except (OSError, *UNREADABLE) as error:
        raise ConfigError(f"{path} cannot be read ({error}): remove it; versions go on from the clock") from error


def _after(clock: Clock, days: float) -> datetime:
    """So many days from now, as TUF writes it: UTC, whole seconds."""
    return (datetime.fromtimestamp(clock.now(), UTC) + timedelta(days=days)).replace(microsecond=0)
