"""A watched folder: each payload once, whole, with its template, and a reason where it cannot be used."""

from __future__ import annotations

import json
import os

import pytest

from hotloop.adapters.folder import WatchedFolder
from hotloop.config import SenseConfig
from hotloop.errors import DiskFullError, ModelError, StoreError, TemplateError, UnreadableImageError
from hotloop.types import Observation, Output, Prediction, Proposals


class Observer:
    """Stands for the engine: remembers what it was given; `fails` is raised once."""

    def __init__(self):
        self.seen = []
        self.fails = None

    def __call__(self, payload, line):
        if self.fails:
            error, self.fails = self.fails, None
            raise error
        self.seen.append((payload.data, payload.media_type, payload.reference, line))
        return Prediction(
            id=f"hub:{len(self.seen)}",
            observation=Observation(id="o", site="s", line=line, at=0.0, digest="d"),
            version=3,
            outputs=(Output("open", 0.5, (1.0, 2.0, 3.0, 4.0)),),
            confidence=0.5,
            proposals=Proposals(0, 0, b""),
        )


@pytest.fixture
def observer():
    return Observer()


@pytest.fixture
def watched(tmp_path, observer):
    def make(**settings):
        return WatchedFolder(SenseConfig(folder=str(tmp_path), **settings), observer)

    return make


def answer(path):
    return json.loads(path.with_name(path.name + ".hotloop.json").read_bytes())


def polled(folder):
    """Two polls: one sees a file, the next that it has stopped growing."""
    return folder.poll() + folder.poll()


def test_a_payload_is_answered_beside_it(watched, observer, tmp_path):
    """The answer names prediction, version and outputs."""
    (tmp_path / "a.png").write_bytes(b"image")
    assert polled(watched(line="belt-7")) == 1
    assert observer.seen == [(b"image", "image/png", None, "belt-7")]
    found = answer(tmp_path / "a.png")
    assert (found["prediction"], found["version"]) == ("hub:1", 3)
    assert found["outputs"] == [{"label": "open", "score": 0.5, "region": [1.0, 2.0, 3.0, 4.0], "proposal": 0}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.png.hotloop.json"]


def test_each_payload_is_answered_once(watched, observer, tmp_path):
    """Not at the next poll, and not after a restart."""
    (tmp_path / "a.png").write_bytes(b"image")
    folder = watched()
    assert polled(folder) + polled(folder) + polled(watched()) == 1
    assert len(observer.seen) == 1


def test_an_image_that_the_model_cannot_take_does_not_keep_back_the_next(watched, observer, tmp_path):
    """It is answered with the reason; those after it in the folder come in the same poll."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"image")
    observer.fails = ModelError("the model cannot be run on it")
    assert polled(watched()) == 2
    assert answer(tmp_path / "a.png")["error"] == "ModelError"
    assert answer(tmp_path / "b.png")["version"] == 3


def test_a_file_that_grows_is_not_read(watched, observer, tmp_path):
    """Only after two polls of one size, and never while it is empty."""
    path, folder = tmp_path / "a.png", watched()
    path.write_bytes(b"")
    assert polled(folder) == 0
    for size in (1, 2, 3):
        path.write_bytes(b"x" * size)
        assert folder.poll() == 0
    assert folder.poll() == 1
    assert observer.seen[0][0] == b"xxx"


def test_files_come_in_the_order_of_their_names(watched, observer, tmp_path):
    """So that a copied folder replays as it was taken."""
    for name in ("b.jpg", "a.JPEG", "c.bmp", "d.json"):
        (tmp_path / name).write_bytes(name.encode())
    assert polled(watched()) == 4
    assert [(data, kind) for data, kind, *_ in observer.seen] == [
        (b"a.JPEG", "image/jpeg"),
        (b"b.jpg", "image/jpeg"),
        (b"c.bmp", "image/bmp"),
        (b"d.json", "application/json"),
    ]


def test_other_files_are_left_alone(watched, observer, tmp_path):
    """Texts, folders, answers and halves of answers are no payloads."""
    for name in ("notes.txt", "a.png.hotloop.json", "a.png.hotloop.json.part", "noending"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert polled(watched()) == 0
    assert observer.seen == []


def test_an_image_is_compared_with_the_template_beside_it(watched, observer, tmp_path):
    """X_test with X_temp, X with X_temp, of whatever kind; templates themselves are no payloads."""
    for name in ("1_test.png", "1_temp.png", "2.png", "2_temp.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    assert polled(watched()) == 2
    assert [(data, reference) for data, _, reference, _ in observer.seen] == [
        (b"1_test.png", b"1_temp.png"),
        (b"2.png", b"2_temp.jpg"),
    ]


def test_one_template_may_stand_for_all(watched, observer, tmp_path):
    """[sense] reference wins over what lies beside."""
    golden = tmp_path.parent / "golden.png"
    golden.write_bytes(b"golden")
    (tmp_path / "1_test.png").write_bytes(b"image")
    (tmp_path / "1_temp.png").write_bytes(b"other")
    assert polled(watched(reference=str(golden))) == 1
    assert observer.seen[0][2] == b"golden"


def test_without_templates_every_image_is_a_payload(watched, observer, tmp_path):
    """An empty suffix says that there are no templates."""
    (tmp_path / "1_temp.png").write_bytes(b"image")
    assert polled(watched(reference_suffix="")) == 1
    assert observer.seen[0][2] is None


def test_a_missing_template_is_said_beside_the_image(watched, observer, tmp_path):
    """With what was sought, and how to try again."""
    path = tmp_path / "1_test.png"
    path.write_bytes(b"image")
    folder = watched()
    observer.fails = TemplateError("none came with the image")
    assert polled(folder) == 1
    assert answer(path)["error"] == "TemplateError"
    observer.fails = None
    assert "1_temp.png" in answer(path)["detail"]
    (tmp_path / "1_temp.png").write_bytes(b"template")
    path.with_name("1_test.png.hotloop.json").unlink()
    assert polled(folder) == 1
    assert answer(path)["prediction"] == "hub:1"


def test_a_template_that_cannot_be_read_is_said_beside_the_image(watched, tmp_path):
    """A path that is not there does not stop the folder."""
    path = tmp_path / "1.png"
    path.write_bytes(b"image")
    polled(watched(reference=str(tmp_path / "gone.png")))
    assert answer(path)["error"] == "InputError"
    assert "gone.png" in answer(path)["detail"]


def test_an_image_that_cannot_be_used_is_said_beside_it_and_the_next_goes_on(watched, observer, tmp_path):
    """The reason takes the answer's place."""
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"image")
    observer.fails = UnreadableImageError("cut short")
    assert polled(watched()) == 2
    assert answer(tmp_path / "a.png") == {"error": "UnreadableImageError", "detail": "cut short"}
    assert answer(tmp_path / "b.png")["prediction"] == "hub:1"


def test_when_the_disk_is_full_the_image_is_not_done(watched, observer, tmp_path):
    """The error goes to whoever polls; the image is taken when there is room."""
    (tmp_path / "a.png").write_bytes(b"image")
    folder = watched()
    observer.fails = DiskFullError("full")
    folder.poll()
    with pytest.raises(DiskFullError):
        folder.poll()
    assert not (tmp_path / "a.png.hotloop.json").exists()
    assert polled(folder) == 1


def test_an_answer_that_cannot_be_written_is_an_error(watched, tmp_path):
    """A folder in the answer's place, say: a StoreError with the path."""
    (tmp_path / "a.png").write_bytes(b"image")
    (tmp_path / f".hotloop-{os.getpid()}.part").mkdir()
    folder = watched()
    folder.poll()
    with pytest.raises(StoreError, match=r"a.png.hotloop.json was not written"):
        folder.poll()


def test_an_answer_that_cannot_be_written_is_kept_and_written_later(watched, observer, tmp_path):
    """The piece is looked at once, and the pieces after it do not wait."""
    blocked = tmp_path / f".hotloop-{os.getpid()}.part"
    blocked.mkdir()
    for name in ("a.png", "b.png", "gone.png"):
        (tmp_path / name).write_bytes(b"image")
    folder = watched()
    folder.poll()
    for _ in range(3):
        with pytest.raises(StoreError, match=r"a.png.hotloop.json was not written"):
            folder.poll()
    assert len(observer.seen) == 3, "each once"
    (tmp_path / "gone.png").unlink()
    blocked.rmdir()
    assert folder.poll() == 2
    assert [answer(tmp_path / name)["prediction"] for name in ("a.png", "b.png")] == ["hub:1", "hub:2"]
    assert len(observer.seen) == 3, "still once"


def test_an_answer_is_not_given_to_another_piece(watched, observer, tmp_path):
    """While the disk took no answer, the piece was replaced: the new one is looked at."""
    blocked = tmp_path / f".hotloop-{os.getpid()}.part"
    blocked.mkdir()
    (tmp_path / "a.png").write_bytes(b"image")
    folder = watched()
    folder.poll()
    with pytest.raises(StoreError):
        folder.poll()
    (tmp_path / "a.png").write_bytes(b"other")
    blocked.rmdir()
    assert polled(folder) == 1
    assert [seen[0] for seen in observer.seen] == [b"image", b"other"]
    assert answer(tmp_path / "a.png")["prediction"] == "hub:2"


def test_a_name_that_is_no_text_does_not_stop_the_others(watched, observer, tmp_path):
    """Files come from all kinds of machines."""
    strange = os.fsencode(tmp_path) + b"/\xe9_test.png"
    with open(strange, "wb") as file:
        file.write(b"image")
    (tmp_path / "z_test.png").write_bytes(b"image")
    (tmp_path / "z_temp.png").write_bytes(b"image")
    observer.fails = TemplateError("it does not fit")
    assert polled(watched()) == 2
    beside = [path for path in tmp_path.iterdir() if path.name.endswith(".hotloop.json")]
    assert len(beside) == 2
    assert len(observer.seen) == 1


def test_a_name_that_is_too_long_is_said_once(watched, observer, tmp_path, caplog):
    """Its answer could have no name; those that just fit are answered."""
    (tmp_path / ("x" * 249 + ".png")).write_bytes(b"image")
    fits = "y" * (255 - len(".png.hotloop.json")) + ".png"
    (tmp_path / fits).write_bytes(b"image")
    folder = watched()
    assert polled(folder) + polled(folder) == 1
    assert answer(tmp_path / fits)["prediction"] == "hub:1"
    assert [record.message.endswith("too long for an answer beside it") for record in caplog.records] == [True]


def test_a_folder_that_is_away_is_an_error_and_then_goes_on(watched, observer, tmp_path):
    """A network share that comes back is read on."""
    hidden = tmp_path.with_name("hidden")
    (tmp_path / "a.png").write_bytes(b"image")
    folder = watched()
    folder.poll()
    tmp_path.rename(hidden)
    with pytest.raises(StoreError, match="watched folder cannot be read"):
        folder.poll()
    hidden.rename(tmp_path)
    assert polled(folder) == 1


def test_a_file_that_vanishes_between_two_looks_is_forgotten(watched, observer, tmp_path, monkeypatch):
    """Whoever tidies the folder at the same time does no harm."""
    gone, stays = tmp_path / "a.png", tmp_path / "b.png"
    gone.write_bytes(b"image")
    stays.write_bytes(b"image")
    folder = watched()
    found = folder.is_payload

    def vanishing(path):
        is_payload = found(path)
        if path == gone:
            gone.unlink(missing_ok=True)
        return is_payload

    monkeypatch.setattr(folder, "is_payload", vanishing)
    assert polled(folder) == 1
    assert len(observer.seen) == 1


def test_a_file_that_stays_empty_is_said_to_be_unreadable(watched, observer, tmp_path):
    """A fresh empty file is left alone; one that was empty for a while gets the reason like any other."""
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    folder = watched()
    assert polled(folder) == 0
    os.utime(path, (1.0, 1.0))
    observer.fails = UnreadableImageError("0 bytes are no PNG")
    assert polled(folder) == 1
    assert answer(path)["error"] == "UnreadableImageError"
