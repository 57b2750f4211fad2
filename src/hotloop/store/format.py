"""How the log lies on disk: one SQLite file, a seal and a chain over its records, and a tail beside it.

- `seal` = BLAKE2b-256 of one record alone: a rotten record is named, and the rest stays readable.
- `chain` = BLAKE2b-256 of the chain before it and the seal: an edit, a swap or a cut shows from there on.
- The tail file `<log>-tail` says how far the log had got and with which chain. It is written after each
  durable commit, without a sync of its own. So it may be behind the log, but is never ahead of it, unless
  acknowledged records are gone: SQLite takes a rotten frame for the end of its WAL and says nothing.

The WAL and its durability: https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import struct
from importlib import metadata

import apsw
import msgspec

from hotloop.errors import (
    CorruptError,
    DiskFullError,
    InputError,
    NewerFormatError,
    StoreBusyError,
    StoreError,
)
from hotloop.types import UNREADABLE, Body, Event, Feedback, Prediction, Record

FORMAT = 1
COLUMNS = """offset, CAST(received_at AS REAL), CAST(device AS BLOB), CAST(sequence AS INTEGER),
    CAST(about AS BLOB), CAST(body AS BLOB), CAST(seal AS BLOB)"""  # for `record`; a rotten value may be of any type
CHAIN = "CAST(chain AS BLOB)"
APPLICATION_ID = 0x686C6F67  # "hlog", in the file's header
SYNCHRONOUS = "FULL"  # sync, then acknowledge: OFF or NORMAL would lose what was acknowledged
BUSY_MS = 5000
PAGE_BYTES = 4096
START = bytes(32)  # the chain before the first record
INTEGER_MAX = 2**63 - 1

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE event (
    offset INTEGER PRIMARY KEY,
    received_at REAL NOT NULL,
    device TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    about TEXT,
    body BLOB NOT NULL,
    seal BLOB NOT NULL,
    chain BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX event_key ON event (device, sequence);
CREATE INDEX event_about ON event (about) WHERE about IS NOT NULL;
"""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_decode = msgspec.msgpack.Decoder(Body)


class Entry(msgspec.Struct, frozen=True):
    """An event made ready to be written: `body` is its msgpack, `about` the prediction that it is about."""

    device: str
    sequence: int
    about: str | None
    body: bytes


def entry(event: Event) -> Entry:
    """Make an event ready. InputError if it cannot be kept as it is."""
    if not -INTEGER_MAX <= event.sequence <= INTEGER_MAX:
        raise InputError(f"sequence {event.sequence} of device {event.device!r} does not fit 64 bits; count from 1")
    about = about_of(event.body)
    try:
        event.device.encode()
        (about or "").encode()
        body = msgspec.msgpack.encode(event.body)
    except (UnicodeEncodeError, OverflowError, TypeError) as error:
        where = f"event {event.sequence} of device {event.device!r}"
        raise InputError(f"{where} cannot be written: {error}. Send valid text and 64-bit numbers") from error
    return Entry(event.device, event.sequence, about, body)


def about_of(body: Body) -> str | None:
    """The id of the prediction that a body is, or gives feedback on; None for all else."""
    if isinstance(body, Prediction):
        return body.id
    return body.prediction if isinstance(body, Feedback) else None


def same_body(stored: bytes, sent: bytes) -> bool:
    """Whether two encodings say the same: another version of hotloop may write a body with more fields."""
    return bool(_decode.decode(stored) == _decode.decode(sent))


def seal(offset: int, received_at: float, one: Entry) -> bytes:
    """The checksum of one record: 32 bytes over everything it says. Lengths keep its fields apart."""
    device = one.device.encode()
    head = struct.pack("<qdqI", offset, received_at, one.sequence, len(device))
    return hashlib.blake2b(head + device + one.body, digest_size=32).digest()


def link(chain: bytes, sealed: bytes) -> bytes:
    """The chain after a record with this seal: 32 bytes."""
    return hashlib.blake2b(chain + sealed, digest_size=32).digest()


def record(row: tuple[object, ...]) -> Record | None:
    """The record in a row with the columns `COLUMNS`, or None if it is not as it was written."""
    offset, received_at, device, sequence, about, body, sealed = row
    if not (isinstance(offset, int) and isinstance(received_at, float) and isinstance(device, bytes)):
        return None
    if not (isinstance(sequence, int) and isinstance(body, bytes) and isinstance(sealed, bytes)):
        return None
    try:
        one = Entry(device.decode(), sequence, None, body)
        if seal(offset, received_at, one) != sealed:
            return None
        decoded = _decode.decode(body)
    except (*UNREADABLE, struct.error):
        return None
    expected = about_of(decoded)
    if about != (None if expected is None else expected.encode()):
        return None
    return Record(offset, received_at, Event(one.device, sequence, decoded))


def connect(path: str, vfs: str = "", *, readonly: bool = False) -> apsw.Connection:
    """A connection to the log at `path`, set up and checked. StoreError and its kinds.

    `vfs` names another SQLite VFS than the system's. Such a disk has no shared memory, so that the
    connection has it for itself.
    """
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        connection = apsw.Connection(path, flags=flags, vfs=vfs or None)
    except apsw.Error as error:
        raise store_error(error, path) from error
    try:
        connection.set_busy_timeout(BUSY_MS)
        if vfs:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        _check_format(connection, path)
        if not readonly:
            _prepare(connection, path)
    except apsw.Error as error:
        failure = store_error(error, path, connection)
        _abandon(connection)
        raise failure from error
    except StoreError:
        _abandon(connection)
        raise
    return connection


def _abandon(connection: apsw.Connection) -> None:
    """Close without a checkpoint: a file that cannot be used is left as it is."""
    with contextlib.suppress(apsw.Error):  # it is being given up for an error that is raised already
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()


def _check_format(connection: apsw.Connection, path: str) -> None:
    """Refuse what is no log, the log of a newer hotloop, or one whose header is damaged."""
    header = (connection.pragma("user_version"), connection.pragma("application_id"))
    if header == (FORMAT, APPLICATION_ID):
        return
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if not tables and header == (0, 0):
        return  # a new file
    if not {"meta", "event"} <= tables:
        raise StoreError(f"{path} is a database of another program, not a log. Give hotloop a folder of its own")
    told = dict(connection.execute("SELECT name, value FROM meta"))
    if str(told.get("format")) == str(header[0]) and header[0] > FORMAT:
        raise NewerFormatError(
            f"{path} was written by {told.get('writer')} in format {header[0]}; this hotloop knows formats up to "
            f"{FORMAT}. Nothing was changed. Install that version or a later one, or restore an older backup"
        )
    raise CorruptError(
        f"{path} is damaged: its header says format {header[0]}, application {header[1]}, but the log inside says "
        f"format {told.get('format')}. Restore a backup; `hotloop verify` names what is whole"
    )


def _prepare(connection: apsw.Connection, path: str) -> None:
    """Set the connection up for writing, and a new file's schema, all in one transaction."""
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":  # SQLite does not say why it could not: it goes on in its old mode
        full = connection.system_errno in FULL
        kind = DiskFullError if full else StoreError
        raise kind(f"{path} could not be set up (journal mode {mode}). Make room, check the disk, try again")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # the writer checkpoints, between commits
    if connection.pragma("user_version") == 0:
        told = (_written_by(), str(FORMAT))
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(_SCHEMA)
        connection.execute("INSERT INTO meta VALUES ('writer', ?), ('format', ?)", told)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", FORMAT)
        connection.execute("COMMIT")


@functools.cache
def _written_by() -> str:
    return f"hotloop {metadata.version('hotloop')}"


def store_error(error: apsw.Error, path: str, connection: apsw.Connection | None = None) -> StoreError:
    """What a failure of SQLite means, in our words."""
    number = connection.system_errno if connection is not None else 0
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and number in FULL):
        return DiskFullError(
            f"the disk of {path} is full: what was acknowledged is safe, the rest was not taken. Make room"
        )
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)):
        return CorruptError(
            f"{path} is damaged ({error}). `hotloop verify` names the records; restore them from a backup"
        )
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return StoreBusyError(f"{path} is in use by another program ({error}). Stop it, then try again")
    cause = f"{error}, {errno.errorcode.get(number, number)}" if number else str(error)
    return StoreError(f"the disk of {path} failed ({cause}): nothing acknowledged is lost. Check the disk, send again")
