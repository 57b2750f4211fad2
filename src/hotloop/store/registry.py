"""The embedded Registry: model versions in one SQLite file.

Everything in it follows from the log, and `hotloop replay` can make it anew; so `synchronous=NORMAL` is
right: a power cut may take the last few models (never a torn one), and no release waits for a disk, 20 to 50
times a second.
"""

from __future__ import annotations

import threading
from pathlib import Path

import apsw
import msgspec

from hotloop.errors import (
    CorruptError,
    DiskFullError,
    ModelError,
    NewerFormatError,
    NotFoundError,
    StoreBusyError,
    StoreError,
)
from hotloop.types import Model, digest

FORMAT = 1
_TABLE = """
create table if not exists models (
    version integer primary key,
    tier    text not null,
    card    blob not null,  -- the model without its head, JSON
    card_digest text not null,
    head    blob,           -- null for a reflex head beyond the retained ones
    digest  text not null   -- of the head
) strict
"""


class SqliteRegistry:
    """The port Registry in the file `path`.

    The newest `retained` models are kept whole, and every model of another tier than reflex. Of older reflex
    models the card stays (all but the head's bytes): `get` raises NotFoundError and says how to rebuild them.
    StoreBusyError if another process writes to the file, NewerFormatError if a newer hotloop made it.
    """

    def __init__(self, path: Path, retained: int) -> None:
        self._path = path
        self._retained = retained
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = apsw.Connection(str(path))
            self._db.set_busy_timeout(2000)
            self._check_format()
            self._db.pragma("journal_mode", "wal")
            self._db.pragma("synchronous", "normal")
            self._db.execute(_TABLE)
            self._db.pragma("user_version", FORMAT)
            self._latest = int(self._db.execute("select coalesce(max(version), 0) from models").get)
        except (apsw.Error, OSError) as error:
            raise _store_error(error, path) from error

    def add(self, model: Model) -> None:
        """See Registry. DiskFullError and StoreError leave it as it was."""
        with self._lock:
            if model.version <= self._latest:
                raise ModelError(
                    f"model version {model.version} is not above {self._latest}, the newest in {self._path}: "
                    "what was published is never changed; publish under a higher version"
                )
            card = msgspec.json.encode(msgspec.structs.replace(model, head=b""))
            row = (model.version, model.tier, card, digest(card), model.head, digest(model.head))
            try:
                with self._db:
                    self._db.execute("insert into models values (?, ?, ?, ?, ?, ?)", row)
                    self._let_go()
            except apsw.Error as error:
                raise _store_error(error, self._path) from error
            self._latest = model.version

    def get(self, version: int) -> Model:
        """See Registry. CorruptError if the bytes are not those that were added."""
        query = "select version, card, card_digest, head, digest from models where version = ?"
        rows = self._read(query, version)
        if not rows:
            raise NotFoundError(f"model version {version} is not in {self._path} (newest: {self._latest})")
        number, card, card_digest, head, head_digest = rows[0]
        model = self._model(number, card, card_digest)
        if head is None:
            raise NotFoundError(
                f"model {version}: its head is let go ([rollout] retained_models, {self._retained}): "
                f"rebuild it from the log with: hotloop replay --to {version}"
            )
        if digest(head) != head_digest:
            raise CorruptError(
                f"the head of model {version} in {self._path} has rotted; "
                f"rebuild it from the log with: hotloop replay --to {version}"
            )
        return msgspec.structs.replace(model, head=head)

    def latest(self) -> int:
        """See Registry."""
        return self._latest

    def history(self, limit: int) -> list[Model]:
        """See Registry: the cards. A head is b"" here; `get` has it. CorruptError if a card has rotted."""
        query = "select version, card, card_digest, null, digest from models order by version desc limit ?"
        return [self._model(*row[:3]) for row in self._read(query, max(limit, 0))]

    def close(self) -> None:
        """See Registry. A second close does nothing."""
        with self._lock:
            self._db.close()

    def _read(self, query: str, value: int) -> list[tuple[int, bytes, str, bytes | None, str]]:
        """The rows that `query` gives for one value."""
        with self._lock:
            try:
                return list(self._db.execute(query, (max(min(value, 2**63 - 1), -(2**63)),)))
            except (apsw.Error, apsw.ConnectionClosedError) as error:
                raise _store_error(error, self._path) from error

    def _let_go(self) -> None:
        """Drop the head of the reflex model that is no longer among the newest `retained`."""
        self._db.execute(
            "update models set head = null where tier = 'reflex' and head is not null and version <= "
            "(select version from models order by version desc limit 1 offset ?)",
            (self._retained,),
        )

    def _model(self, version: int, card: bytes, card_digest: str) -> Model:
        """The model that a card describes, without its head."""
        if digest(card) != card_digest:
            raise CorruptError(f"the card of model {version} in {self._path} has rotted: restore a backup")
        return msgspec.json.decode(card, type=Model)

    def _check_format(self) -> None:
        """NewerFormatError if the file is of a format above ours."""
        found = int(self._db.pragma("user_version"))
        if found > FORMAT:
            raise NewerFormatError(f"{self._path} has format {found}, above {FORMAT}: update hotloop")


def _store_error(error: Exception, path: Path) -> StoreError:
    """What SQLite or the disk said, in hotloop's words."""
    if isinstance(error, apsw.FullError):
        return DiskFullError(f"the disk is full: the model was not added to {path}. Make room; try again.")
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return StoreBusyError(f"another process writes to {path}: stop it first")
    if isinstance(error, (apsw.CorruptError, apsw.NotADBError)):
        return CorruptError(f"{path} is damaged ({error}): rebuild it from the log with hotloop replay")
    return StoreError(f"{path} cannot be used: {error}")
