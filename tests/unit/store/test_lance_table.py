"""One Lance table: sync before acknowledging, undoing what failed, the way back from rot, tidying."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from hotloop.errors import CorruptError, DiskFullError, NotFoundError, StoreError
from hotloop.store import lance_table
from hotloop.store.lance_table import LanceTable, newest_to_merge, store_error


def rows(*numbers):
    return pa.table({"name": [f"n{number}" for number in numbers], "number": list(numbers)})


def numbers(table):
    return sorted(table.dataset.to_table()["number"].to_pylist())


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(lance_table, "UNTIDY_FRAGMENTS", 8)
    return LanceTable(tmp_path, "t", retained=3, index="name")


def manifests(table):
    return sorted((table.path / "_versions").glob("*.manifest"))


class Power:
    """What a power cut leaves: a file's bytes as of its last sync, if its name was synced too."""

    def __init__(self, root, skip=lambda path: False):
        self.root, self.skip, self.bytes, self.names = root, skip, {}, set()

    def sync(self, path):
        if self.root not in (path, *path.parents) or self.skip(path):
            return
        if path.is_dir():
            self.names |= set(path.iterdir())
        else:
            self.bytes[path] = path.read_bytes()

    def cut(self, target):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for path, content in self.bytes.items():
            chain = [path, *path.parents]
            if all(part in self.names for part in chain[: chain.index(self.root)]):
                place = target / path.relative_to(self.root)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        return target


def test_what_was_acknowledged_outlives_a_power_cut(tmp_path, monkeypatch):
    """After appends and tidying, a disk that lost all that was not synced has every acknowledged row."""
    (tmp_path / "live").mkdir()
    power = Power(tmp_path / "live")
    monkeypatch.setattr(lance_table, "sync", power.sync)
    monkeypatch.setattr(lance_table, "UNTIDY_FRAGMENTS", 8)
    live = LanceTable(tmp_path / "live", "t", retained=3, index="name")
    for number in range(16):
        live.append(rows(number))
        if number % 4 == 0:
            left = LanceTable(power.cut(tmp_path / "left"), "t", retained=3, index="name")
            assert numbers(left) == list(range(number + 1))
            assert left.repaired == ""
    live.tidy()
    left = LanceTable(power.cut(tmp_path / "left"), "t", retained=3, index="name")
    assert numbers(left) == list(range(16))
    assert left.dataset.to_table(filter="name = 'n13'")["number"].to_pylist() == [13]


@pytest.mark.parametrize(
    "kind",
    [
        lambda path: path.suffix == ".lance" and path.is_file(),
        lambda path: path.name == "data",
        lambda path: path.name == "t.lance",
        lambda path: path.name == "live",
        lambda path: path.suffix == ".manifest",
    ],
    ids=["data", "folder of data", "folder of the table", "folder of all", "manifest"],
)
def test_the_power_cut_finds_a_sync_that_is_missing(tmp_path, monkeypatch, kind):
    """Without the sync of data, of its folder, or of the manifest, an acknowledged row is lost."""
    (tmp_path / "live").mkdir()
    power = Power(tmp_path / "live", skip=kind)
    monkeypatch.setattr(lance_table, "sync", power.sync)
    LanceTable(tmp_path / "live", "t", retained=3).append(rows(1))
    try:
        found = numbers(LanceTable(power.cut(tmp_path / "left"), "t", retained=3))
    except (AttributeError, OSError, ValueError):
        found = []
    assert found == []


def test_a_version_above_the_mark_was_never_acknowledged(table, tmp_path):
    """A manifest whose mark was not written is dropped on opening, and its version is given again."""
    table.append(rows(1))
    before = (tmp_path / "t.mark").read_bytes()
    assert table.append(rows(2)) == 2
    (tmp_path / "t.mark").write_bytes(before)
    again = LanceTable(tmp_path, "t", retained=3)
    assert numbers(again) == [1]
    assert again.append(rows(3)) == 2
    assert numbers(LanceTable(tmp_path, "t", retained=3)) == [1, 3]


def test_a_first_append_that_was_cut_short_leaves_an_empty_table(table, tmp_path):
    """With a mark of version 0 nothing was acknowledged, whatever lies there."""
    before = (tmp_path / "t.mark").read_bytes()
    table.append(rows(1))
    (tmp_path / "t.mark").write_bytes(before)
    again = LanceTable(tmp_path, "t", retained=3)
    assert again.dataset is None
    assert again.append(rows(5)) == 1
    assert numbers(again) == [5]


@pytest.mark.parametrize("mark", [b"", b"rubbish", b"1 2 3", None])
def test_without_a_readable_mark_the_newest_version_is_taken(table, tmp_path, mark):
    """A torn, foreign or deleted mark loses nothing that lies there."""
    table.append(rows(1))
    table.append(rows(2))
    if mark is None:
        (tmp_path / "t.mark").unlink()
    else:
        (tmp_path / "t.mark").write_bytes(mark)
    again = LanceTable(tmp_path, "t", retained=3)
    assert numbers(again) == [1, 2]
    assert again.append(rows(3)) == 3


@pytest.mark.parametrize("place", [0, 20, 60, -20, -1])
def test_a_rotten_manifest_is_set_aside_and_an_older_version_taken(table, tmp_path, place):
    """One flipped bit in the newest manifest: it is named and moved; the file it alone knew is an orphan."""
    table.append(rows(1))
    table.append(rows(2))
    newest = manifests(table)[0]
    content = bytearray(newest.read_bytes())
    content[place] ^= 4
    newest.write_bytes(content)
    again = LanceTable(tmp_path, "t", retained=3)
    assert numbers(again) == [1]
    assert "version 2" in again.repaired
    assert [path.name for path in (tmp_path / "t.rotten").iterdir()] == [newest.name]
    assert len(again.orphans()) == 1
    assert LanceTable(tmp_path, "t", retained=3).repaired == ""


def test_orphans_are_none_as_a_rule(table):
    """Every data file belongs to the snapshot."""
    assert table.orphans() == []
    table.append(rows(1))
    assert table.orphans() == []


@pytest.mark.parametrize("limit_bytes", [0, 60, 300, 700, 900, 1200, 1500])
def test_a_full_disk_undoes_the_append_and_it_goes_on(table, tmp_path, limit_bytes):
    """Wherever the disk ends, either the append is done or DiskFullError undoes it; with room it goes on."""
    table.append(rows(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        done = [1] if table.append(rows(1)) else []
    except DiskFullError:
        done = []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert numbers(table) == [0, *done]
    table.append(rows(2))
    assert numbers(table) == [0, *done, 2]
    assert numbers(LanceTable(tmp_path, "t", retained=3)) == [0, *done, 2]


def test_a_disk_too_small_for_one_byte_refuses(table):
    """The limits above do reach the disk's end."""
    table.append(rows(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(DiskFullError, match="Make room"):
            table.append(rows(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_sync_that_fails_undoes_the_append(table, tmp_path, monkeypatch):
    """An error of fsync is no success: the row is gone, and comes once when it is sent again."""
    table.append(rows(0))
    true = lance_table.sync

    def fails(path):
        if path.suffix == ".manifest":
            raise OSError(5, "Input/output error")
        true(path)

    monkeypatch.setattr(lance_table, "sync", fails)
    with pytest.raises(StoreError, match="check the disk"):
        table.append(rows(1))
    monkeypatch.setattr(lance_table, "sync", true)
    assert numbers(table) == [0]
    table.append(rows(1))
    assert numbers(LanceTable(tmp_path, "t", retained=3)) == [0, 1]


def test_an_undoing_that_fails_is_done_before_the_next_write(table, tmp_path, monkeypatch):
    """While the disk refuses everything nothing is acknowledged; when it is back nothing is there twice."""
    table.append(rows(0))
    true = lance_table.sync

    def fails(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(lance_table, "sync", fails)
    for _ in range(3):
        with pytest.raises(StoreError):
            table.append(rows(1))
    assert numbers(table) == [0]
    monkeypatch.setattr(lance_table, "sync", true)
    table.append(rows(1))
    assert numbers(LanceTable(tmp_path, "t", retained=3)) == [0, 1]


def test_tidying_gathers_indexes_cleans_and_loses_nothing(table, tmp_path):
    """Many small files become few, old versions go but for the retained, and the index finds each row."""
    for number in range(30):
        table.append(rows(number))
    assert table.untidy == 30
    table.tidy()
    assert table.untidy == 0
    assert numbers(table) == list(range(30))
    assert len(table.dataset.get_fragments()) == 1
    assert "ScalarIndexQuery" in table.dataset.scanner(filter="name = 'n7'").explain_plan()
    assert len(manifests(table)) <= 3
    for number in range(30, 34):
        table.append(rows(number))
    table.tidy()
    assert len(list((table.path / "data").iterdir())) == len(table.dataset.get_fragments()) == 5
    assert table.dataset.to_table(filter="name = 'n33'")["number"].to_pylist() == [33]
    assert numbers(LanceTable(tmp_path, "t", retained=3)) == list(range(34))


def test_tidying_again_and_again_keeps_every_row_indexed(table):
    """Each round indexes what came since, in a number of segments that grows with the logarithm."""
    for turn in range(8):
        for number in range(3):
            table.append(rows(turn * 3 + number))
        table.tidy()
    told = table.dataset.stats.index_stats("name_idx")
    assert told["num_unindexed_rows"] == 0
    assert sum(told["num_indexed_rows_per_delta"]) == 24
    assert len(told["num_indexed_rows_per_delta"]) <= 5
    assert [table.dataset.count_rows(filter=f"name = 'n{number}'") for number in range(24)] == [1] * 24


def test_tidying_an_empty_table_does_nothing(table):
    """There is nothing to gather before the first append."""
    table.tidy()
    assert table.dataset is None
    assert table.erase("number = 1") == 0


def test_a_snapshot_does_not_change_under_its_reader(table):
    """What a reader took stays as it was through appends and tidying."""
    for number in range(9):
        table.append(rows(number))
    taken = table.dataset
    table.append(rows(9))
    table.tidy()
    assert sorted(taken.to_table()["number"].to_pylist()) == list(range(9))
    assert numbers(table) == list(range(10))


def test_old_versions_open_until_they_are_beyond_the_retention(table):
    """`at` gives the newest `retained` versions after tidying; others, and those to come, are not found."""
    versions = [table.append(rows(number)) for number in range(5)]
    assert [table.at(version).count_rows() for version in versions] == [1, 2, 3, 4, 5]
    table.tidy()
    for version in (versions[0], 0, -1, 10**6):
        with pytest.raises(NotFoundError, match="newest 3 are kept"):
            table.at(version)


def test_an_old_version_that_has_rotted_is_named(table):
    """A manifest of an older version that cannot be opened raises CorruptError and harms nothing else."""
    table.append(rows(1))
    table.append(rows(2))
    manifests(table)[1].write_bytes(b"\0" * 40)
    with pytest.raises(CorruptError, match="version 1"):
        table.at(1)
    assert numbers(table) == [1, 2]


def test_erasing_leaves_no_trace_in_any_file(table, tmp_path):
    """After erasing, no byte of the rows is on the disk, in no version."""
    secret = "planted-marker-0123456789"
    table.append(pa.table({"name": [secret, "n1"], "number": [7, 1]}))
    table.append(rows(2))
    table.tidy()
    assert table.erase(f"name = '{secret}'") == 1
    assert numbers(table) == [1, 2]
    table.tidy()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert numbers(LanceTable(tmp_path, "t", retained=3)) == [1, 2]


@pytest.mark.parametrize(
    ("sizes", "fresh", "merged"),
    [([], 5, 0), ([99], 5, 0), ([99, 5], 5, 1), ([99, 5, 5], 5, 2), ([99, 9, 5], 5, 2), ([8, 4, 2, 1], 1, 4)],
)
def test_segments_are_merged_so_that_sizes_stay_geometric(sizes, fresh, merged):
    """The newest segments no larger than what follows them are merged."""
    assert newest_to_merge(sizes, fresh) == merged


def test_merging_costs_a_logarithm():
    """A thousand rounds make at most ten segments, and each row is rewritten about ten times."""
    sizes, written = [], 0
    for _ in range(1000):
        count = newest_to_merge(sizes, 1)
        merged = 1 + sum(sizes[len(sizes) - count :])
        sizes = [*sizes[: len(sizes) - count], merged]
        written += merged
        assert len(sizes) <= 10
    assert sum(sizes) == 1000
    assert written <= 1000 * 11


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(28, "No space left on device"), DiskFullError),
        (OSError("LanceError(IO): File too large (os error 27)"), DiskFullError),
        (ValueError("Generic: No space left on device (os error 28)"), DiskFullError),
        (OSError(5, "Input/output error"), StoreError),
        (RuntimeError("odd"), StoreError),
    ],
)
def test_errors_are_told_in_hotloops_words(error, kind):
    """A full disk is told from a failing one, also when Lance says so in text."""
    told = store_error(error, "writing 3 rows")
    assert type(told) is kind
    assert "writing 3 rows" in str(told)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    """A table in a folder that is not there raises StoreError, in words."""
    with pytest.raises(StoreError, match="opening"):
        LanceTable(tmp_path / "nowhere", "t", retained=3)
    assert os.listdir(tmp_path) == []
    assert Path(tmp_path).exists()


@pytest.mark.parametrize("short_bytes", [1, 4, 300])
def test_a_file_that_the_disk_took_only_a_part_of_is_no_success(table, tmp_path, monkeypatch, short_bytes):
    """Lance does not notice when its last write fails: a data file without its end is a full disk."""
    table.append(rows(0))
    true = lance_table.lance_module().write_dataset

    class Short:
        def __getattr__(self, name):
            return getattr(true_module, name)

        @staticmethod
        def write_dataset(*args, **named):
            written = true(*args, **named)
            path = table.path / "data" / written.get_fragments()[-1].data_files()[0].path
            os.truncate(path, path.stat().st_size - short_bytes)
            return written

    true_module = lance_table.lance_module()
    with monkeypatch.context() as patched:
        patched.setattr(lance_table, "lance_module", Short)
        with pytest.raises(DiskFullError):
            table.append(rows(1))
    assert numbers(table) == [0]
    table.append(rows(1))
    assert numbers(LanceTable(tmp_path, "t", retained=3)) == [0, 1]


def test_a_cut_file_that_ends_like_a_whole_one_is_no_success(table, monkeypatch):
    """An image may hold Lance's own end mark where the disk ended: the length tells."""
    true_module = lance_table.lance_module()

    class Short:
        def __getattr__(self, name):
            return getattr(true_module, name)

        @staticmethod
        def write_dataset(*args, **named):
            written = true_module.write_dataset(*args, **named)
            path = table.path / "data" / written.get_fragments()[-1].data_files()[0].path
            content = path.read_bytes()
            path.write_bytes(content[: content.index(b"LANC") + 4])
            return written

    with monkeypatch.context() as patched:
        patched.setattr(lance_table, "lance_module", Short)
        with pytest.raises(DiskFullError):
            table.append(pa.table({"name": ["LANC" * 1000], "number": [1]}))
    assert table.dataset is None
    table.append(rows(2))
    assert numbers(table) == [2]


def test_readers_keep_their_snapshot_while_a_failed_write_is_undone(table, monkeypatch):
    """At no moment of undoing is what was acknowledged out of sight."""
    table.append(rows(0))
    seen = []
    true = lance_table.sync

    def fails(path):
        seen.append(numbers(table))
        if path.suffix == ".manifest":
            raise OSError(28, "No space left on device")
        true(path)

    monkeypatch.setattr(lance_table, "sync", fails)
    with pytest.raises(DiskFullError):
        table.append(rows(1))
    assert len(seen) >= 3
    assert all(found == [0] for found in seen)


@pytest.mark.parametrize("work", [lambda table: table.tidy(), lambda table: table.erase("number < 5")])
@pytest.mark.parametrize("limit_bytes", [10, 400, 700])
def test_tidying_or_erasing_on_a_full_disk_changes_nothing(table, tmp_path, work, limit_bytes):
    """What could not be rewritten stays as it was; with room it is done."""
    for number in range(10):
        table.append(rows(number))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        with pytest.raises(StoreError):
            work(table)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert numbers(table) == list(range(10))
    table.tidy()
    assert table.erase("number < 5") == 5
    assert numbers(table) == list(range(5, 10))
    assert numbers(LanceTable(tmp_path, "t", retained=3)) == list(range(5, 10))


def test_an_index_that_has_rotted_is_made_anew_by_tidying(table, tmp_path):
    """The index follows from the rows: tidying heals it."""
    for number in range(9):
        table.append(rows(number))
    table.tidy()
    for path in (table.path / "_indices").rglob("*.lance"):
        path.write_bytes(bytes(path.stat().st_size))
    again = LanceTable(tmp_path, "t", retained=3, index="name")
    again.append(rows(9))
    again.tidy()
    assert [again.dataset.count_rows(filter=f"name = 'n{number}'") for number in range(10)] == [1] * 10
    assert "ScalarIndexQuery" in again.dataset.scanner(filter="name = 'n7'").explain_plan()
