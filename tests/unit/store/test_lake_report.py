"""`verify_lake`: everything is read and hashed; what is rotten is named, and only that."""

from __future__ import annotations

import random

import pytest

from hotloop.config import StoreConfig
from hotloop.errors import NewerFormatError, NotFoundError, StoreBusyError, StoreError
from hotloop.store import lake_report, lance_table
from hotloop.store.lake import LanceLake
from hotloop.store.lake_report import verify_lake
from hotloop.types import Embedding, digest

CONFIG = StoreConfig(free_bytes_min=1)
IMAGES = [random.Random(seed).randbytes(1000) for seed in range(8)]


@pytest.fixture
def folder(tmp_path):
    """A lake of two files of four images, and three embeddings."""
    lake = LanceLake(tmp_path / "lake", CONFIG)
    lake.put(IMAGES[:4])
    lake.put(IMAGES[4:])
    lake.embed([Embedding(f"p{i}", digest(IMAGES[i]), "ok", (float(i), 1.0)) for i in range(3)])
    lake.close()
    return tmp_path / "lake"


def file_of(folder, image):
    (found,) = [path for path in (folder / "images.lance" / "data").iterdir() if image in path.read_bytes()]
    return found


def flip(path, place, bit=1):
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(content)


def test_a_whole_lake_is_whole(folder):
    """Everything is counted, nothing is named."""
    report = verify_lake(folder)
    assert (report.images, report.embeddings) == (8, 3)
    assert report.ok
    assert str(report) == f"{folder}: 8 images and 3 embeddings as written"


def test_a_new_lake_is_whole(tmp_path):
    """An empty folder verifies as an empty lake."""
    report = verify_lake(tmp_path)
    assert (report.images, report.embeddings, report.ok) == (0, 0, True)


def test_a_rotten_image_is_named_alone(folder):
    """One flipped bit in an image's bytes: its digest, and no other."""
    path = file_of(folder, IMAGES[5])
    flip(path, path.read_bytes().index(IMAGES[5]) + 500)
    report = verify_lake(folder)
    assert report.rotten == (digest(IMAGES[5]),)
    assert f"7 images and 3 embeddings as written; rotten: {digest(IMAGES[5])}" in str(report)
    assert report.images == 7
    assert not report.ok


def test_an_unreadable_file_is_named_and_the_rest_counted(folder):
    """A file that is no longer Lance: its name, and the four images of the other one."""
    path = file_of(folder, IMAGES[0])
    path.write_bytes(b"\0" * 64)
    report = verify_lake(folder)
    assert report.images == 4
    assert any(path.name in text for text in report.unreadable)


def test_images_around_an_unreadable_one_are_counted(folder, monkeypatch):
    """When a file cannot be read in one go, each of its images is tried: only the lost are named."""
    true = lake_report.bytes_of

    def all_at_once(part):
        raise OSError("a page cannot be decoded")

    def one_by_one(snapshot, name, part):
        if name == digest(IMAGES[2]):
            raise OSError("a page cannot be decoded")
        return true(snapshot, name, part)

    monkeypatch.setattr(lake_report, "_hash_all", all_at_once)
    monkeypatch.setattr(lake_report, "bytes_of", one_by_one)
    report = verify_lake(folder)
    assert report.images == 7
    assert report.rotten == (digest(IMAGES[2]),)
    assert len(report.unreadable) == 2


def test_a_missing_file_is_named(folder):
    """A data file that someone deleted."""
    path = file_of(folder, IMAGES[0])
    path.unlink()
    report = verify_lake(folder)
    assert any(path.name in text for text in report.unreadable)
    assert report.images == 4


def test_unreadable_embeddings_are_named(folder):
    """Rot in the vectors' file is found as well."""
    (path,) = (folder / "embeddings.lance" / "data").iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    report = verify_lake(folder)
    assert any(path.name in text for text in report.unreadable)
    assert (report.images, report.embeddings) == (8, 0)


def test_a_rotten_index_is_named_though_the_bytes_are_whole(folder, monkeypatch):
    """An index that finds nothing is told apart from images that are lost."""
    monkeypatch.setattr(lance_table, "UNTIDY_FRAGMENTS", 2)
    lake = LanceLake(folder, CONFIG)
    lake.tidy()
    lake.close()
    for path in (folder / "images.lance" / "_indices").rglob("*.lance"):
        path.write_bytes(b"\0" * 50)
    report = verify_lake(folder)
    assert report.images == 8
    assert report.rotten == ()
    assert any("misses 8 images" in text for text in report.unreadable)


def test_a_rotten_manifest_is_told(folder):
    """What opening had to set right is part of the report."""
    flip(min((folder / "images.lance" / "_versions").glob("*.manifest")), 40)
    report = verify_lake(folder)
    assert any("manifest of version 2" in text for text in report.unreadable)


def test_no_flip_is_a_silent_loss(folder):
    """30 flips anywhere in the images' files: an image that no longer comes back is always in the report."""
    seeded = random.Random(7)
    files = sorted(path for path in (folder / "images.lance" / "data").iterdir())
    found = 0
    for _ in range(30):
        path = seeded.choice(files)
        place, bit = seeded.randrange(path.stat().st_size), 1 << seeded.randrange(8)
        flip(path, place, bit)
        lake = LanceLake(folder, CONFIG)
        lost = [image for image in IMAGES if not _comes_back(lake, image)]
        lake.close()
        report = verify_lake(folder)
        assert not (lost and report.ok), (path, place, bit)
        assert len(lost) <= 4, "a flip in one file harms no other"
        found += bool(lost)
        flip(path, place, bit)
    assert found > 15
    assert verify_lake(folder).ok


def _comes_back(lake, image):
    try:
        return lake.get(digest(image)) == image
    except (StoreError, NotFoundError):
        return False


def test_a_lake_in_use_is_not_verified(folder):
    """While a process has it open, its files change: StoreBusyError says to stop it."""
    lake = LanceLake(folder, CONFIG)
    with pytest.raises(StoreBusyError):
        verify_lake(folder)
    lake.close()
    assert verify_lake(folder).ok


def test_a_newer_format_is_not_verified(folder):
    """Verifying a lake of a newer hotloop would only tell lies."""
    (folder / "lake.json").write_text('{"format": 99}')
    with pytest.raises(NewerFormatError):
        verify_lake(folder)
