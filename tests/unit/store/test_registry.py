"""The embedded registry: what it keeps whole, what it lets go, rot, formats, full disks, speed's price."""

from __future__ import annotations

import resource
import threading

import apsw
import msgspec
import pytest

from hotloop.errors import (
    CorruptError,
    DiskFullError,
    ModelError,
    NewerFormatError,
    NotFoundError,
    StoreBusyError,
    StoreError,
)
from hotloop.store.registry import SqliteRegistry
from hotloop.testing.checks.registry import model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "registry.sqlite"


@pytest.fixture
def registry(path):
    registry = SqliteRegistry(path, 3)
    yield registry
    registry.close()


def of_tier(version, tier):
    return msgspec.structs.replace(model(version), tier=tier)


def change(path, statement, *values):
    connection = apsw.Connection(str(path))
    connection.execute(statement, values)
    connection.close()


def test_the_newest_reflex_heads_are_kept_and_older_ones_are_rebuilt_from_the_log(registry):
    """Of ten reflex models with three retained, seven have a card only; the error says how to go on."""
    for version in range(1, 11):
        registry.add(model(version))
    assert [registry.get(version) for version in (8, 9, 10)] == [model(version) for version in (8, 9, 10)]
    for version in range(1, 8):
        with pytest.raises(NotFoundError, match=f"hotloop replay --to {version}"):
            registry.get(version)
    assert [one.version for one in registry.history(20)] == list(range(10, 0, -1))


@pytest.mark.parametrize("tier", ["start", "refresh", "consolidate", "rollback"])
def test_models_of_other_tiers_are_kept_whole(registry, tier):
    """What took minutes to make, or what a way back leads to, is never let go."""
    registry.add(of_tier(1, tier))
    for version in range(2, 12):
        registry.add(model(version))
    assert registry.get(1) == of_tier(1, tier)


def test_a_reflex_head_is_let_go_by_count_of_all_models(registry):
    """The newest `retained` models of any tier are whole: a refresh between them counts as one."""
    for version, tier in enumerate(["reflex", "reflex", "refresh", "reflex"], start=1):
        registry.add(of_tier(version, tier))
    with pytest.raises(NotFoundError, match="let go"):
        registry.get(1)
    assert registry.get(2) == model(2)


def test_a_smaller_retention_lets_go_with_the_next_model(path):
    """Opened with another setting, the registry follows it as soon as a model comes."""
    wide = SqliteRegistry(path, 100)
    for version in range(1, 9):
        wide.add(model(version))
    wide.close()
    narrow = SqliteRegistry(path, 2)
    assert narrow.get(1) == model(1)
    narrow.add(model(9))
    with pytest.raises(NotFoundError):
        narrow.get(7)
    assert narrow.get(8) == model(8)
    narrow.close()


def test_what_is_retained_survives_reopening(path):
    """After reopening, the same heads are there and the same are not."""
    registry = SqliteRegistry(path, 2)
    for version in range(1, 5):
        registry.add(model(version))
    registry.close()
    registry = SqliteRegistry(path, 2)
    assert registry.get(4) == model(4)
    with pytest.raises(NotFoundError):
        registry.get(2)
    registry.close()


def test_a_rotten_head_is_named_and_the_rest_is_readable(registry, path):
    """One changed byte in a head: CorruptError with its version; the others and the history are whole."""
    registry.add(model(1))
    registry.add(model(2))
    change(path, "update models set head = cast('hexd' as blob) where version = 1")
    with pytest.raises(CorruptError, match=r"model 1 .* replay --to 1"):
        registry.get(1)
    assert registry.get(2) == model(2)
    assert len(registry.history(5)) == 2


def test_a_rotten_card_is_named(registry, path):
    """A card that is not what was added raises CorruptError, in `get` and in the history."""
    registry.add(model(1))
    registry.add(model(2))
    forged = "cast(replace(cast(card as text), 'seed 1', 'seed 7') as blob)"
    change(path, f"update models set card = {forged} where version = 1")
    for call in (lambda: registry.get(1), lambda: registry.history(5)):
        with pytest.raises(CorruptError, match="card of model 1"):
            call()
    assert registry.get(2) == model(2)


def test_history_leaves_the_heads_out(registry):
    """A list of cards is small, whatever the heads weigh."""
    registry.add(model(1, b"x" * 100_000))
    (card,) = registry.history(1)
    assert card == model(1, b"")


@pytest.mark.parametrize("limit", [0, -1, -(2**70)])
def test_a_history_of_none_is_empty(registry, limit):
    """No limit below one gives all."""
    registry.add(model(1))
    assert registry.history(limit) == []


def test_numbers_beyond_sqlites_are_answered(registry):
    """A version or limit larger than 64 bits is not found, or gives all there is."""
    registry.add(model(1))
    for version in (2**63, 2**70, -(2**70)):
        with pytest.raises(NotFoundError):
            registry.get(version)
    assert len(registry.history(2**70)) == 1


def test_a_registry_of_a_newer_hotloop_is_refused(path):
    """The format's number above ours: nothing is touched."""
    SqliteRegistry(path, 3).close()
    change(path, "pragma user_version = 2")
    with pytest.raises(NewerFormatError, match="update hotloop"):
        SqliteRegistry(path, 3)


def test_a_file_that_is_no_database_is_told(path):
    """Foreign bytes raise CorruptError that says how to go on, and stay as they are."""
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 100)
    before = path.read_bytes()
    with pytest.raises(CorruptError, match="hotloop replay"):
        SqliteRegistry(path, 3)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    """A folder that is a file raises StoreError."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be used"):
        SqliteRegistry(tmp_path / "file" / "registry.sqlite", 3)


def test_another_writer_is_told_from_a_fault(registry, path):
    """While another process writes, StoreBusyError; nothing is added, and later it goes on."""
    registry.add(model(1))
    registry._db.set_busy_timeout(1)
    other = apsw.Connection(str(path))
    other.execute("begin immediate")
    with pytest.raises(StoreBusyError, match="stop it first"):
        registry.add(model(2))
    other.execute("rollback")
    other.close()
    assert registry.latest() == 1
    registry.add(model(2))
    assert registry.get(2) == model(2)


@pytest.mark.parametrize("limit_bytes", [0, 100, 5_000, 20_000, 40_000])
def test_a_full_disk_refuses_a_model_and_it_goes_on(registry, path, limit_bytes):
    """A model is added whole or not at all; with room again the same version can be added."""
    registry.add(model(1))
    big = model(2, bytes(100_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        with pytest.raises((DiskFullError, StoreError)):
            registry.add(big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert registry.latest() == 1
    registry.add(big)
    assert (registry.get(1), registry.get(2)) == (model(1), big)


def test_a_closed_registry_says_so(registry):
    """After close every call on the file raises StoreError; closing twice is harmless."""
    registry.add(model(1))
    registry.close()
    registry.close()
    for call in (lambda: registry.get(1), lambda: registry.add(model(2)), lambda: registry.history(1)):
        with pytest.raises(StoreError):
            call()


def test_reading_goes_on_while_models_are_added(path):
    """A thread that reads sees whole models of rising versions while another adds them."""
    registry = SqliteRegistry(path, 1000)
    registry.add(model(1))
    seen = []
    done = threading.Event()

    def read():
        while not done.is_set():
            version = registry.latest()
            seen.append((version, registry.get(version) == model(version)))

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(2, 200):
        registry.add(model(version))
    done.set()
    reader.join()
    assert all(whole for _, whole in seen)
    assert [version for version, _ in seen] == sorted(version for version, _ in seen)
    registry.close()


def test_the_first_word_on_a_version_is_the_last(registry, path):
    """Refused models, of the same or a lower version, leave no byte in the table."""
    registry.add(model(5, b"first"))
    for version in (5, 4, 1, 0, -3):
        with pytest.raises(ModelError, match="never changed"):
            registry.add(model(version, b"second"))
    assert list(registry._db.execute("select version, head from models")) == [(5, b"first")]


def test_it_does_not_wait_for_the_disk(registry):
    """A release waits for no sync, since the log can rebuild it; the writer keeps no reader out (WAL)."""
    assert registry._db.pragma("synchronous") == 1
    assert registry._db.pragma("journal_mode") == "wal"
