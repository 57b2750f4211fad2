"""Who asks: bearer tokens. There is no default secret: the first start makes a random one for each role.

`tokens.json` in the store's folder (readable by its owner only) is where an operator copies a token from.
The hub keeps only their SHA-256 in memory and compares in constant time. An entry may carry `sha256`
instead of `token`, so that the plain text need not stay on the disk, and a `subject`: the one line or
reviewer that the credential speaks for.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hotloop.config import Name
from hotloop.errors import ConfigError
from hotloop.hub.table import NOBODY, ROLES, Caller, Role
from hotloop.store.devices import Devices
from hotloop.types import UNREADABLE

_EXPLAIN = (
    "Bearer tokens of this hub, one a role; made at the first start. Give each person and line only the "
    "token of their role. Add entries of your own: name, role, and token or sha256 (hex SHA-256 of it); "
    "with subject, a credential speaks for that one line or reviewer only. Remove an entry to withdraw it; "
    "restart the hub to apply. Keep this file readable by its owner only."
)
_TOKEN_BYTES = 32
_TOKEN_CHARS_MIN = 32
_FILE_BYTES_MAX = 4 * 2**20


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry of `tokens.json`."""

    name: Name
    role: Role
    token: str = ""
    sha256: str = ""
    subject: Name | None = None


class _TokenFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `tokens.json`."""

    explain: str
    credentials: tuple[Credential, ...]


@dataclass(frozen=True)
class Keyring:
    """The credentials that the hub knows, as (SHA-256 of the token, caller)."""

    known: tuple[tuple[bytes, Caller], ...]
    device: Callable[[bytes], tuple[str, bool]] = lambda _secret: ("", False)  # see `Devices.known`

    @classmethod
    def of(cls, credentials: Sequence[Credential], devices: Devices | None = None) -> Keyring:
        """A keyring of these credentials, and of devices. ConfigError names the entry that cannot be."""
        known = tuple((_hashed(c), Caller(c.name, c.role, c.subject or "")) for c in credentials)
        return cls(known) if devices is None else cls(known, devices.known)

    def caller(self, authorization: bytes) -> Caller:
        """Whose token the Authorization header carries; NOBODY for none or an unknown one."""
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not token:
            return NOBODY
        asked = hashlib.sha256(token.strip()).digest()
        found = NOBODY
        for known, caller in self.known:  # all of them, so that the time says nothing
            if hmac.compare_digest(asked, known):
                found = caller
        return self._of_device(asked) if found is NOBODY else found

    def _of_device(self, asked: bytes) -> Caller:
        line, enrolled = self.device(asked)
        return Caller(f"device of {line}", "line" if enrolled else "invited", line) if line else NOBODY


def tokens_path(folder: Path) -> Path:
    """Where the tokens of a store's folder are."""
    return folder / "tokens.json"


def open_credentials(folder: Path) -> tuple[Credential, ...]:
    """The credentials of a store's folder; makes them at the first start.

    ConfigError if the file cannot be read, is damaged, or is readable by others.
    """
    path = tokens_path(folder)
    if not path.exists():
        _create(path)
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error}): the hub does not start without credentials") from error
    if mode & 0o077:
        raise ConfigError(
            f"{path} can be read by others (mode {mode:04o}), so its tokens may be known: "
            f"remove it to get new ones at the next start, or run: chmod 600 {path}"
        )
    try:
        credentials = msgspec.json.decode(data, type=_TokenFile).credentials
    except UNREADABLE as error:
        raise ConfigError(f"{path}: {error}. Mend it, or remove it to get new tokens at the next start") from error
    if not credentials:
        raise ConfigError(f"{path} has no credential: remove it to get new tokens at the next start")
    return credentials


def _create(path: Path) -> None:
    """Write a fresh file, whole or not at all, that nobody but its owner can read at any moment."""
    tokens = tuple(Credential(role, role, secrets.token_urlsafe(_TOKEN_BYTES)) for role in ROLES)
    data = msgspec.json.format(msgspec.json.encode(_TokenFile(_EXPLAIN, tokens)), indent=2) + b"\n"
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever a left-over file had
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error}): the hub does not start without credentials") from error


def _hashed(credential: Credential) -> bytes:
    """SHA-256 of the credential's token. ConfigError if it has none, two, or one that can be guessed."""
    if bool(credential.token) == bool(credential.sha256):
        raise ConfigError(f"credential {credential.name!r}: give either `token` or `sha256`")
    if credential.token:
        if len(credential.token) < _TOKEN_CHARS_MIN:
            raise ConfigError(
                f"credential {credential.name!r}: a token has at least {_TOKEN_CHARS_MIN} characters. "
                "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        return hashlib.sha256(credential.token.encode()).digest()
    try:
        known = bytes.fromhex(credential.sha256)
    except ValueError:
        known = b""
    if len(known) != hashlib.sha256().digest_size:
        raise ConfigError(f"credential {credential.name!r}: `sha256` is 64 hex digits")
    return known
