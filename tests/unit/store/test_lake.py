"""The embedded lake: group commit, memory and disk limits, rot, tidying, restarts and kills."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import threading

import pytest

from hotloop.config import StoreConfig
from hotloop.errors import (
    CorruptError,
    DiskFullError,
    InputError,
    NewerFormatError,
    NotFoundError,
    OverloadError,
    StoreBusyError,
    StoreError,
)
from hotloop.store import lake as lake_module
from hotloop.store import lance_table
from hotloop.store.lake import LanceLake
from hotloop.types import Embedding, digest

CONFIG = StoreConfig(free_bytes_min=1)


@pytest.fixture
def lake(tmp_path):
    lake = LanceLake(tmp_path / "lake", CONFIG)
    yield lake
    lake.close()


def blobs(count, size=500, seed=0):
    seeded = random.Random(seed)
    return [seeded.randbytes(size) for _ in range(count)]


class Gate:
    """Holds the writer at the table until it is opened; counts the rows of each append."""

    def __init__(self, lake, monkeypatch):
        self.free, self.reached, self.sizes = threading.Event(), threading.Event(), []
        true = lake._images.append

        def append(rows):
            self.reached.set()
            assert self.free.wait(10)
            self.sizes.append(rows.num_rows)
            return true(rows)

        monkeypatch.setattr(lake._images, "append", append)


def in_threads(calls):
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    return threads


def until(condition):
    with condition[0]:
        assert condition[0].wait_for(condition[1], timeout=10)


def test_puts_that_wait_share_one_append(lake, monkeypatch):
    """While one append is under way the puts of all other threads gather, and become one."""
    gate = Gate(lake, monkeypatch)
    first, *rest = blobs(13)
    threads = in_threads([lambda: lake.put([first])])
    assert gate.reached.wait(10)
    threads += in_threads([lambda blob=blob: lake.put([blob]) for blob in rest])
    until((lake._changed, lambda: len(lake._tasks) == 12))
    gate.free.set()
    for thread in threads:
        thread.join()
    assert gate.sizes == [1, 12]
    assert [lake.get(digest(blob)) for blob in [first, *rest]] == [first, *rest]


def test_the_same_bytes_are_written_once(lake, monkeypatch):
    """A repeat in one call, in another call, from another thread, or after a restart adds no row."""
    one, two = blobs(2)
    lake.put([one, one, two])
    lake.put([two, one])
    lake._recent.clear()  # as after a restart, or 100,000 others
    lake.put([one, two])
    gate = Gate(lake, monkeypatch)
    three, four = blobs(2, seed=1)
    threads = in_threads([lambda: lake.put([three])])
    assert gate.reached.wait(10)
    threads += in_threads([lambda: lake.put([three, four])] * 5)
    until((lake._changed, lambda: len(lake._tasks) == 5))
    gate.free.set()
    for thread in threads:
        thread.join()
    assert lake._images.dataset.count_rows() == 4


def test_a_group_has_a_limit_in_bytes(lake, monkeypatch):
    """Puts that would make too large an append are written in several."""
    monkeypatch.setattr(lake_module, "GROUP_BYTES_MAX", 1200)
    gate = Gate(lake, monkeypatch)
    threads = in_threads([lambda: lake.put(blobs(1, seed=9))])
    assert gate.reached.wait(10)
    threads += in_threads([lambda seed=seed: lake.put(blobs(1, seed=seed)) for seed in range(5)])
    until((lake._changed, lambda: len(lake._tasks) == 5))
    gate.free.set()
    for thread in threads:
        thread.join()
    assert gate.sizes == [1, 2, 2, 1]


def test_what_waits_has_a_limit_and_more_is_refused(lake, monkeypatch):
    """Beyond the limit OverloadError says when to come back; what waited is kept, and room is given back."""
    monkeypatch.setattr(lake_module, "PENDING_BYTES_MAX", 1200)
    gate = Gate(lake, monkeypatch)
    first, second, third = blobs(3)
    threads = in_threads([lambda: lake.put([first])])
    assert gate.reached.wait(10)
    threads += in_threads([lambda: lake.put([second])])
    until((lake._changed, lambda: len(lake._tasks) == 1))
    with pytest.raises(OverloadError) as caught:
        lake.put([third])
    assert caught.value.retry_after_s > 0
    gate.free.set()
    for thread in threads:
        thread.join()
    lake.tidy()  # by now the writer has given the room back
    assert lake.put([third]) == [digest(third)]
    assert lake._pending_bytes in (0, 500)


def test_one_image_above_the_limit_is_taken_when_nothing_waits(lake, monkeypatch):
    """The limit is on what waits: a single large image is no overload."""
    monkeypatch.setattr(lake_module, "PENDING_BYTES_MAX", 100)
    (name,) = lake.put(blobs(1))
    assert digest(lake.get(name)) == name


def test_memory_for_digests_is_bounded(lake, monkeypatch):
    """Only the newest digests are remembered; older images are still kept once, by the index."""
    monkeypatch.setattr(lake_module, "RECENT_DIGESTS_MAX", 5)
    lake.put(blobs(20))
    assert len(lake._recent) == 5
    lake.put(blobs(20))
    assert lake._images.dataset.count_rows() == 20


def test_images_are_found_through_index_and_tail(lake, monkeypatch):
    """Images from before and after indexing are found alike."""
    monkeypatch.setattr(lance_table, "UNTIDY_FRAGMENTS", 4)
    images = blobs(12)
    for number, image in enumerate(images):
        lake.put([image])
        if number in (5, 8):
            lake.tidy()
    assert [lake.get(digest(image)) for image in images] == images


def test_it_tidies_by_itself_when_it_is_quiet(lake, monkeypatch):
    """With enough small files and no work, the writer gathers them."""
    tidied = threading.Event()
    true = lake._images.tidy
    monkeypatch.setattr(lake._images, "tidy", lambda: (true(), tidied.set()))
    lake._images._untidy = 100
    lake.put(blobs(1))
    assert tidied.wait(10)
    assert lake.get(digest(blobs(1)[0])) == blobs(1)[0]


def test_it_tidies_under_load_when_it_is_overdue(lake, monkeypatch):
    """Four times the files, and it does not wait for a quiet moment."""
    monkeypatch.setattr(lake_module, "QUIET_S", 1000.0)
    tidied = threading.Event()
    true = lake._images.tidy
    monkeypatch.setattr(lake._images, "tidy", lambda: (true(), tidied.set()))
    lake._images._untidy = 4 * lance_table.UNTIDY_FRAGMENTS
    lake.put(blobs(1))
    assert tidied.wait(10)


def test_tidying_that_fails_loses_nothing_and_is_not_tried_in_a_loop(lake, monkeypatch):
    """After a failure it waits for more writes; puts and gets go on."""
    tries = []

    def fails():
        tries.append(1)
        raise DiskFullError("full")

    monkeypatch.setattr(lake._images, "tidy", fails)
    lake._images._untidy = 4 * lance_table.UNTIDY_FRAGMENTS
    images = blobs(5)
    for image in images:
        lake.put([image])
    assert [lake.get(digest(image)) for image in images] == images
    lake.close()
    assert len(tries) == 1


def test_the_room_for_the_log_is_kept(tmp_path):
    """Below the floor images and embeddings are refused, by DiskFullError; what is here can be read."""
    lake = LanceLake(tmp_path, CONFIG)
    (name,) = lake.put([b"early"])
    lake.embed([Embedding("p", name, "ok", (1.0,))])
    lake._free_bytes_min = 2**62
    with pytest.raises(DiskFullError, match="free_bytes_min"):
        lake.put([b"late"])
    with pytest.raises(DiskFullError):
        lake.embed([Embedding("p", name, "ok", (1.0,))])
    assert lake.put([b"early"]) == [name]
    assert lake.get(name) == b"early"
    lake._free_bytes_min = 1
    assert lake.get(lake.put([b"late"])[0]) == b"late"
    lake.close()


@pytest.mark.parametrize("limit_bytes", range(0, 3000, 271))
def test_a_full_disk_loses_nothing_acknowledged_and_it_goes_on(lake, limit_bytes):
    """Whatever the disk takes of a put, it is acknowledged and there, or refused; with room all goes on."""
    first, second, third = blobs(3, size=1500)
    lake.put([first])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        acknowledged = lake.put([second])
    except DiskFullError:
        acknowledged = []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [lake.get(name) for name in acknowledged] in ([], [second])
    assert limit_bytes > 1500 or acknowledged == []
    lake.put([second, third])
    assert [lake.get(digest(blob)) for blob in (first, second, third)] == [first, second, third]
    assert lake._images.dataset.count_rows() == 3


def test_rot_in_an_image_is_named_and_the_rest_is_readable(tmp_path):
    """A flipped bit in one image's bytes raises CorruptError with its digest; the others come back."""
    images = blobs(6, size=3000)
    lake = LanceLake(tmp_path, CONFIG)
    lake.put(images)
    lake.close()
    (path,) = (tmp_path / "images.lance" / "data").iterdir()
    content = bytearray(path.read_bytes())
    content[content.index(images[2]) + 77] ^= 1
    path.write_bytes(content)
    lake = LanceLake(tmp_path, CONFIG)
    with pytest.raises(CorruptError, match=digest(images[2])):
        lake.get(digest(images[2]))
    others = [image for image in images if image is not images[2]]
    assert [lake.get(digest(image)) for image in others] == others
    lake.close()


def test_an_unreadable_file_does_not_hide_the_others(tmp_path):
    """With one data file beyond reading, images in others come back, and new ones are taken."""
    images = blobs(4)
    lake = LanceLake(tmp_path, CONFIG)
    for image in images:
        lake.put([image])
    lake.close()
    for path in (tmp_path / "images.lance" / "data").iterdir():
        if images[1] in path.read_bytes():
            path.write_bytes(b"\0" * 100)
    lake = LanceLake(tmp_path, CONFIG)
    with pytest.raises(CorruptError, match="hotloop verify"):
        lake.get(digest(images[1]))
    others = [images[0], *images[2:]]
    assert [lake.get(digest(image)) for image in others] == others
    lake.put([images[1]])
    assert lake.get(digest(images[1])) == images[1]
    lake.close()


def test_a_rotten_index_hides_nothing(tmp_path, monkeypatch):
    """With the index beyond reading, every image is still found, file by file."""
    monkeypatch.setattr(lance_table, "UNTIDY_FRAGMENTS", 2)
    images = blobs(4)
    lake = LanceLake(tmp_path, CONFIG)
    for image in images:
        lake.put([image])
    lake.tidy()
    lake.close()
    for path in (tmp_path / "images.lance" / "_indices").rglob("*.lance"):
        path.write_bytes(b"\0" * path.stat().st_size)
    lake = LanceLake(tmp_path, CONFIG)
    assert [lake.get(digest(image)) for image in images] == images
    lake.close()


@pytest.mark.parametrize("place", [0, 30, -30])
def test_a_rotten_manifest_loses_no_image(tmp_path, place):
    """The older version is taken, and the images of files it does not know are put back, by their digests."""
    images = blobs(3)
    lake = LanceLake(tmp_path, CONFIG)
    for image in images:
        lake.put([image])
    lake.close()
    newest = min((tmp_path / "images.lance" / "_versions").glob("*.manifest"))
    content = bytearray(newest.read_bytes())
    content[place] ^= 16
    newest.write_bytes(content)
    lake = LanceLake(tmp_path, CONFIG)
    assert len(lake.repaired) == 1
    assert [lake.get(digest(image)) for image in images] == images
    lake.close()
    lake = LanceLake(tmp_path, CONFIG)
    assert lake.repaired == ()
    assert [lake.get(digest(image)) for image in images] == images
    lake.close()


def test_one_lake_has_one_owner(lake, tmp_path):
    """A second opening is refused while the first is open, and works after it."""
    with pytest.raises(StoreBusyError, match="stop it first"):
        LanceLake(tmp_path / "lake", CONFIG)
    lake.close()
    LanceLake(tmp_path / "lake", CONFIG).close()


def test_a_lake_of_a_newer_hotloop_is_refused(tmp_path):
    """The format's number above ours: nothing is touched."""
    LanceLake(tmp_path, CONFIG).close()
    (tmp_path / "lake.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(NewerFormatError, match="update hotloop"):
        LanceLake(tmp_path, CONFIG)
    assert json.loads((tmp_path / "lake.json").read_text()) == {"format": 2}
    (tmp_path / "lake.json").write_text(json.dumps({"format": 1}))
    LanceLake(tmp_path, CONFIG).close()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', "\0"])
def test_a_format_that_cannot_be_read_is_told(tmp_path, text):
    """A damaged lake.json raises CorruptError that says what it should hold."""
    (tmp_path / "lake.json").write_text(text)
    with pytest.raises(CorruptError, match="should say"):
        LanceLake(tmp_path, CONFIG)


def test_a_folder_that_is_a_file_is_told(tmp_path):
    """A path that cannot be a folder raises StoreError."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be used"):
        LanceLake(tmp_path / "file", CONFIG)


def test_a_closed_lake_refuses_and_closing_twice_is_harmless(tmp_path):
    """After close every writing call raises StoreError."""
    lake = LanceLake(tmp_path, CONFIG)
    lake.put([b"x"])
    lake.close()
    lake.close()
    for call in (lambda: lake.put([b"y"]), lambda: lake.embed([]), lake.tidy):
        with pytest.raises(StoreError, match="closed"):
            call()


def test_closing_finishes_what_waits(tmp_path, monkeypatch):
    """Puts that were handed over before close are written."""
    lake = LanceLake(tmp_path, CONFIG)
    gate = Gate(lake, monkeypatch)
    one, two = blobs(2)
    threads = in_threads([lambda: lake.put([one])])
    assert gate.reached.wait(10)
    threads += in_threads([lambda: lake.put([two])])
    until((lake._changed, lambda: len(lake._tasks) == 1))
    threads += in_threads([lake.close])
    until((lake._changed, lambda: lake._closing))
    gate.free.set()
    for thread in threads:
        thread.join()
    lake = LanceLake(tmp_path, CONFIG)
    assert [lake.get(digest(one)), lake.get(digest(two))] == [one, two]
    lake.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_dies_of_a_bug_tells_all_who_wait(tmp_path, monkeypatch):
    """An error that nobody foresaw leaves nobody waiting for ever."""
    lake = LanceLake(tmp_path, CONFIG)

    def bug(rows):
        raise ZeroDivisionError

    monkeypatch.setattr(lake._images, "append", bug)
    with pytest.raises(StoreError, match="restart hotloop"):
        lake.put([b"x"])
    with pytest.raises(StoreError):
        lake.put([b"y"])
    lake.close()
    LanceLake(tmp_path, CONFIG).close()


def test_nearest_as_of_a_version_survives_tidying(lake, monkeypatch):
    """Within the retention an old version answers as before, also after its files were gathered."""
    monkeypatch.setattr(lance_table, "UNTIDY_FRAGMENTS", 4)
    versions = [lake.embed([Embedding(f"p{i}", "", "", (float(i), 0.0))]) for i in range(6)]
    lake.tidy()
    assert lake.embed([Embedding("late", "", "", (0.0, 0.0))]) > versions[-1]
    for number, version in enumerate(versions):
        found = [near.prediction for near in lake.nearest((0.0, 0.0), 10, version)]
        assert found == [f"p{i}" for i in range(number + 1)]


def test_a_version_beyond_the_retention_is_not_found(tmp_path, monkeypatch):
    """Tidying removes embeddings' versions beyond the stated number, and says so when asked for one."""
    monkeypatch.setattr(lake_module, "EMBEDDING_VERSIONS", 2)
    lake = LanceLake(tmp_path, CONFIG)
    versions = [lake.embed([Embedding(f"p{i}", "", "", (float(i),))]) for i in range(4)]
    lake.tidy()
    assert len(lake.nearest((0.0,), 10, versions[2])) == 3
    with pytest.raises(NotFoundError, match="newest 2 are kept"):
        lake.nearest((0.0,), 10, versions[0])
    lake.close()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 1e39])
def test_a_vector_that_is_not_finite_is_refused(lake, number):
    """NaN, infinity and what float32 cannot hold raise InputError, added or asked for."""
    lake.embed([Embedding("p", "", "", (1.0, 2.0))])
    with pytest.raises(InputError, match="finite"):
        lake.embed([Embedding("q", "", "", (1.0, number))])
    with pytest.raises(InputError, match="finite"):
        lake.nearest((number, 1.0), 1)
    assert len(lake.nearest((1.0, 2.0), 9)) == 1


def test_erased_images_are_gone_from_every_file(lake, tmp_path):
    """Erasing takes the bytes, the embeddings and all versions that held them; the rest stays."""
    marker = b"planted-marker-" * 20
    gone, kept = lake.put([marker, b"kept" * 50])
    lake.embed([Embedding("p", gone, "ok", (1.0,)), Embedding("q", kept, "ok", (2.0,))])
    lake.embed([Embedding("r", kept, "ok", (3.0,))])
    assert lake.erase([gone, "no digest", "' OR 1=1"]) == 1
    with pytest.raises(NotFoundError):
        lake.get(gone)
    assert lake.get(kept) == b"kept" * 50
    assert [near.prediction for near in lake.nearest((0.0,), 9)] == ["q", "r"]
    files = [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    assert [path for path in files if b"planted-marker-" in path.read_bytes()] == []
    assert lake.put([marker]) == [gone]
    assert lake.get(gone) == marker


def test_erasing_nothing_is_no_work(lake):
    """No digest among the names: nothing happens."""
    lake.put([b"x"])
    version = lake._images.dataset.version
    assert lake.erase(["", "nothing", "x" * 64]) == 0
    assert lake._images.dataset.version == version


CHILD = """
import sys
from pathlib import Path
from hotloop.config import StoreConfig
from hotloop.store.lake import LanceLake
lake = LanceLake(Path(sys.argv[1]), StoreConfig())
for number in range(10_000):
    print(lake.put([b"%d" % number * 100])[0], flush=True)
"""


def test_a_killed_process_loses_nothing_acknowledged(tmp_path):
    """SIGKILL in the midst of putting: every digest that came out can be read afterwards."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    said = [child.stdout.readline().strip() for _ in range(12)]
    child.kill()
    said += [line for line in child.stdout.read().splitlines() if len(line) == 64]
    child.wait()
    child.stdout.close()
    lake = LanceLake(tmp_path, CONFIG)
    assert [digest(lake.get(name)) for name in said] == said
    assert len(said) >= 12
    lake.close()


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_text_that_is_not_unicode_is_refused_and_the_writer_lives(lake, text):
    """A lone surrogate raises InputError in the caller's thread; the next call is served."""
    for field in ("prediction", "digest", "label"):
        row = {"prediction": "p", "digest": "d", "label": "l", "vector": (1.0,), field: text}
        with pytest.raises(InputError, match="Unicode"):
            lake.embed([Embedding(**row)])
    assert lake.embed([Embedding("p\0", "", "é", (1.0,))]) == 1
    assert lake.nearest((1.0,), 1)[0].prediction == "p\0"


def test_no_embeddings_make_a_version_too(lake):
    """Versions rise by each call; an empty one changes nothing else."""
    first = lake.embed([Embedding("p", "", "", (1.0,))])
    assert lake.embed([]) > first
    assert len(lake.nearest((1.0,), 5)) == 1
