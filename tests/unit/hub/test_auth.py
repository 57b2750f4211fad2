"""Who asks: tokens made at the first start, kept as hashes, compared whole."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import msgspec
import pytest

from hotloop.errors import ConfigError
from hotloop.hub.auth import Credential, Keyring, open_credentials, tokens_path
from hotloop.hub.table import NOBODY, ROLES

SECRET = "s" * 43


def test_first_start_makes_one_token_a_role(tmp_path: Path) -> None:
    """A folder without tokens gets a random one for each role."""
    made = open_credentials(tmp_path)
    assert {c.role for c in made} == set(ROLES)
    assert len({c.token for c in made}) == len(ROLES)
    assert all(len(c.token) >= 43 for c in made)


def test_two_first_starts_share_no_secret(tmp_path: Path) -> None:
    """There is no default secret: two folders have nothing in common."""
    first = {c.token for c in open_credentials(tmp_path / "a")}
    second = {c.token for c in open_credentials(tmp_path / "b")}
    assert first.isdisjoint(second)


def test_second_start_keeps_the_tokens(tmp_path: Path) -> None:
    """Tokens that were handed out work after a restart."""
    assert open_credentials(tmp_path) == open_credentials(tmp_path)


def test_only_the_owner_can_read_the_tokens(tmp_path: Path) -> None:
    """The file is 0600, and nothing else is left in the folder."""
    open_credentials(tmp_path / "new" / "folder")
    path = tokens_path(tmp_path / "new" / "folder")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_tokens_that_others_can_read_are_refused(tmp_path: Path, mode: int) -> None:
    """A file that others may have read does not let the hub start, and says what to do."""
    open_credentials(tmp_path)
    tokens_path(tmp_path).chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_credentials(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b'{"explain": "", "credentials": []}',
        b'{"explain": "", "credentials": [{"name": "x", "role": "king"}]}',
        b'{"explain": "", "credentials": [{"name": "../x", "role": "line"}]}',
        b'{"explain": "", "credentials": [{"name": "x", "role": "line", "extra": 1}]}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: bytes) -> None:
    """What is no token file is refused by name instead of being replaced."""
    path = tokens_path(tmp_path)
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"tokens\.json"):
        open_credentials(tmp_path)
    assert path.read_bytes() == text


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A store's folder below a file is a ConfigError that says that there are no credentials."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="credentials"):
        open_credentials(tmp_path / "file" / "store")


def test_a_token_names_its_caller() -> None:
    """The right token gives the name, the role and the subject."""
    keyring = Keyring.of(
        [Credential("cell-7", "line", SECRET, subject="line-7"), Credential("ann", "operator", "o" * 40)]
    )
    caller = keyring.caller(b"Bearer " + SECRET.encode())
    assert (caller.name, caller.role, caller.subject) == ("cell-7", "line", "line-7")
    assert keyring.caller(b"bearer  " + b"o" * 40).name == "ann"


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Bearer",
        b"Bearer ",
        b"Bearer wrong",
        SECRET.encode(),
        b"Basic " + SECRET.encode(),
        b"Bearer " + SECRET.encode()[:-1],
        b"Bearer " + SECRET.encode() + b"s",
        b"Bearer " + SECRET.upper().encode(),
        b"Bearer " + hashlib.sha256(SECRET.encode()).hexdigest().encode(),
        b"Bearer \xff\x00" + SECRET.encode(),
    ],
)
def test_anything_but_the_token_is_nobody(header: bytes) -> None:
    """A prefix, a suffix, another scheme, or the stored hash itself opens nothing."""
    assert Keyring.of([Credential("x", "admin", SECRET)]).caller(header) is NOBODY


def test_a_hash_in_the_file_is_as_good_as_the_token() -> None:
    """An operator may keep only the hash on the disk."""
    keyring = Keyring.of([Credential("x", "admin", sha256=hashlib.sha256(SECRET.encode()).hexdigest())])
    assert keyring.caller(b"Bearer " + SECRET.encode()).name == "x"


def test_the_plain_token_is_not_kept() -> None:
    """What the hub holds in memory does not contain the token."""
    assert SECRET not in repr(Keyring.of([Credential("x", "admin", SECRET)]))


@pytest.mark.parametrize(
    ("credential", "words"),
    [
        (Credential("x", "line"), "either"),
        (Credential("x", "line", SECRET, "00" * 32), "either"),
        (Credential("x", "line", "short"), "32 characters"),
        (Credential("x", "line", sha256="zz" * 32), "64 hex"),
        (Credential("x", "line", sha256="00" * 31), "64 hex"),
    ],
)
def test_a_credential_that_cannot_be_is_refused(credential: Credential, words: str) -> None:
    """No secret, two, one that can be guessed, or a hash that is none: ConfigError says which."""
    with pytest.raises(ConfigError, match=words):
        Keyring.of([credential])


def test_the_file_explains_itself(tmp_path: Path) -> None:
    """Whoever opens tokens.json reads what it is for."""
    open_credentials(tmp_path)
    text = msgspec.json.decode(tokens_path(tmp_path).read_bytes())["explain"]
    assert "first start" in text
    assert "sha256" in text
