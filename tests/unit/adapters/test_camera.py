"""A camera: its newest frame is answered, it may go away and come back, a file ends."""

from __future__ import annotations

import logging
import sys
import threading
import time

import cv2
import numpy as np
import pytest

from hotloop.adapters import camera as module
from hotloop.adapters.camera import Camera, is_file, library, shown
from hotloop.config import LoopConfig, SenseConfig, load, resolve
from hotloop.errors import ConfigError, ModelError


def frame(number):
    """A frame that says its number by its grey."""
    return np.full((32, 48, 3), number, np.uint8)


def number_of(payload):
    """Which frame a payload is."""
    return int(cv2.imdecode(np.frombuffer(payload.data, np.uint8), cv2.IMREAD_COLOR)[0, 0, 0])


class Fake:
    """A camera that gives frames as told: an entry is what an opening gives, None one that fails."""

    def __init__(self, *openings):
        self.openings, self.opened, self.released, self.more = list(openings), 0, 0, threading.Event()

    def __call__(self):
        self.opened += 1
        found = self.openings.pop(0) if self.openings else None
        if found is None:
            return None
        self.frames = iter(found)
        return self

    def read(self):
        found = next(self.frames, None)
        if callable(found):
            found = found()
        return found is not None, found

    def release(self):
        self.released += 1


class Line:
    """Who answers: remembers frames; `held` keeps it busy, `fails` are raised."""

    def __init__(self):
        self.seen, self.payloads, self.fails = [], [], []
        self.held = threading.Event()
        self.held.set()

    def __call__(self, payload):
        self.held.wait(5)
        if self.fails:
            raise self.fails.pop(0)
        self.seen.append(number_of(payload))
        self.payloads.append(payload)


@pytest.fixture
def line():
    return Line()


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def silent(stop):
    """A read that brings nothing until the test is over."""
    return lambda: stop.wait(9) and None


@pytest.fixture
def look(line, stop, monkeypatch):
    """Runs cameras in threads, with short pauses, and stops them."""
    monkeypatch.setattr(module, "_PAUSE_S", 0.01)
    threads = []

    def make(opened=None, **settings):
        made = Camera(SenseConfig(**{"camera": "0", "camera_s": 0.0, **settings}), line, opened)
        threads.append(threading.Thread(target=made.run, args=(stop,)))
        threads[-1].start()
        return made

    yield make
    stop.set()
    line.held.set()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def until(found, limit_s=5.0):
    deadline = time.monotonic() + limit_s
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def video(tmp_path):
    """A real file of eight frames, MJPG in AVI."""
    path = tmp_path / "belt.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 40.0, (48, 32))
    for number in range(8):
        writer.write(frame(30 * number))
    writer.release()
    return path


def test_a_video_is_answered_frame_by_frame_and_ends(look, line, video):
    """At its own pace, once."""
    began = time.monotonic()
    camera = look(camera=str(video))
    until(lambda: camera.state().ended)
    assert time.monotonic() - began >= 7 / 40.0
    until(lambda: camera.state().pieces + camera.state().passed_over == 8)
    state = camera.state()
    assert (state.frames, state.refused, state.trouble) == (8, 0, "")
    assert line.seen == sorted(line.seen)
    assert line.seen[-1] > 200, "the last frame is answered too"
    assert {payload.media_type for payload in line.payloads} == {"image/png"}


def test_a_still_belt_makes_one_piece(look, line):
    """And a change makes another."""
    frames = [frame(10)] * 5 + [frame(200)] * 5

    def one(number):
        time.sleep(0.01)
        return frames[number]

    camera = look(Fake([lambda n=n: one(n) for n in range(10)]), camera_change=0.5)
    until(lambda: camera.state().frames == 10 and len(line.seen) == 2)
    assert line.seen == [10, 200]


def test_pieces_keep_their_distance(look, line):
    """Frames that come sooner are none."""
    camera = look(Fake([lambda n=n: (time.sleep(0.01), frame(n))[1] for n in range(20)]), camera_s=60.0)
    until(lambda: camera.state().frames == 20)
    assert line.seen == [0]


def test_a_busy_line_gets_the_newest_frame_and_what_it_missed_is_counted(look, line):
    """No queue is built."""
    line.held.clear()
    made = []

    def second():
        until(lambda: made and made[0]._newest is None)
        return frame(1)

    fake = Fake([frame(0), second, *(frame(n) for n in range(2, 10)), lambda: line.held.wait(5) and None])
    made.append(look(fake))
    camera = made[0]
    until(lambda: camera.state().frames == 10)
    assert camera.state().passed_over == 8
    line.held.set()
    until(lambda: len(line.seen) == 2)
    assert line.seen == [0, 9]


def test_a_camera_that_goes_away_is_opened_until_it_is_back(look, line, silent, caplog):
    """It is said once that it went, and once that it came."""
    with caplog.at_level(logging.WARNING, "hotloop.camera"):
        wait = threading.Event()
        camera = look(Fake([frame(1)], None, None, [], [lambda: wait.wait(5) and frame(2), silent]))
        until(lambda: camera.state().trouble == "it gives no frames" and camera._opened.opened == 5)
        wait.set()
        until(lambda: line.seen == [1, 2])
    assert camera.state().trouble == ""
    assert [("opened again" in r.getMessage(), "is there again" in r.getMessage()) for r in caplog.records] == [
        (True, False), (False, True)
    ]  # fmt: skip
    assert camera._opened.released == 2


def test_pauses_grow(line, monkeypatch):
    """A camera that is away for a day is not asked a hundred times a second."""
    waited = []

    class Stop:
        """Counts what it is waited for, and is set at the seventh."""

        def is_set(self):
            return len(waited) >= 7

        def wait(self, seconds):
            waited.append(seconds)

    fake = Fake()
    Camera(SenseConfig(camera="0"), line, fake)._look(Stop())
    assert waited == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]
    assert fake.opened == 7


def test_a_frame_that_cannot_be_answered_is_counted_and_the_next_is_tried(look, line, silent, caplog):
    """Why is in the state until one is answered, and once in the log."""
    line.fails = [ModelError("no template"), ModelError("no template")]
    go, made = threading.Event(), []
    with caplog.at_level(logging.WARNING, "hotloop.camera"):
        second = lambda: (until(lambda: made and made[0].state().refused == 1), frame(1))[1]
        made.append(look(Fake([frame(0), second, lambda: (go.wait(5), frame(2))[1], silent])))
        camera = made[0]
        until(lambda: camera.state().refused == 2)
        assert "no template" in camera.state().trouble
        go.set()
        until(lambda: camera.state().pieces == 1)
    assert camera.state().trouble == ""
    assert len(caplog.records) == 1


def test_each_piece_has_the_template_for_all(look, line, silent, tmp_path):
    """The one of [sense] reference; one that is not there is said."""
    template = tmp_path / "t.png"
    camera = look(Fake([frame(0), silent]), reference=str(template))
    until(lambda: "template" in camera.state().trouble)
    template.write_bytes(b"flawless")
    look(Fake([frame(0), silent]), reference=str(template))
    until(lambda: line.payloads)
    assert line.payloads[0].reference == b"flawless"


def test_what_is_no_frame_is_refused(look, line, silent):
    """A driver that gives nonsense does not stop the line."""
    camera = look(Fake([np.zeros((0, 0), np.uint8), silent]))
    until(lambda: camera.state().refused == 1)


def test_a_camera_that_cannot_be_is_refused_at_the_start(line, tmp_path):
    """A file that is not there; a pipeline without GStreamer."""
    with pytest.raises(ConfigError, match="is not there"):
        Camera(SenseConfig(camera=str(tmp_path / "none.avi")), line)
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        with pytest.raises(ConfigError, match="GStreamer"):
            Camera(SenseConfig(camera="gst:videotestsrc ! appsink"), line)


def test_a_camera_that_is_not_there_is_waited_for(look):
    """A number without a device, an address that nobody answers at, a file that is no video."""
    for source in ("97", "http://127.0.0.1:9/stream"):
        camera = look(camera=source)
        until(lambda camera=camera: camera.state().trouble == "it cannot be opened")


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    """As a setting that cannot be used."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"hotloop\[camera\]"):
        library()


@pytest.mark.parametrize(
    ("source", "words", "file"),
    [
        ("0", "0", False),
        ("rtsp://ann:secret@cam.plant:554/live?key=1", "rtsp://cam.plant:554/live", False),
        ("http://cam/x", "http://cam/x", False),
        ("http://[bad/x", "a stream", False),
        ("gst:rtspsrc location=rtsp://a:b@c ! appsink", "gst:...", False),
        ("/dev/video0", "/dev/video0", False),
        ("/var/belt.avi", "/var/belt.avi", True),
    ],
)
def test_a_source_is_shown_without_what_is_secret(source, words, file):
    """And a file is known from a camera."""
    assert (shown(source), is_file(source)) == (words, file)


def test_a_file_is_seen_from_the_settings_and_a_camera_is_not(tmp_path):
    """Relative paths are relative to loop.toml's folder."""
    (tmp_path / "loop.toml").write_text("[sense]\ncamera = 'belt.avi'\n")
    found = load(tmp_path / "loop.toml")
    assert found.sense.camera == str(tmp_path / "belt.avi")
    for source in ("", "0", "rtsp://cam/1", "gst:x", "/dev/video2"):
        assert resolve(LoopConfig(sense=SenseConfig(camera=source)), tmp_path).sense.camera == source
