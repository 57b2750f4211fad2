"""A camera as a sensor, opened with OpenCV: its newest frame is a piece, when one is due and something has changed.

One thread takes each frame as it comes and keeps the newest; another asks for it, answers it and asks again. So a slow
model builds no queue: the frames that it passes over are counted. A camera that goes away is opened again with growing
pauses. A video file is played once, at its own pace.
"""

from __future__ import annotations

import importlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from hotloop.config import SenseConfig
from hotloop.errors import ConfigError, HotloopError, InputError
from hotloop.sense.frames import Frame, is_piece
from hotloop.types import Payload

_TIMEOUT_MS = 5000  # a stream that gives nothing for so long is opened anew
_PAUSE_S, _PAUSE_S_MAX = 0.2, 10.0
_PER_SECOND = 25.0  # frames of a file that does not say
_QUICK = 1  # of PNG's nine levels: lossless all the same
_log = logging.getLogger("hotloop.camera")


class Capture(Protocol):
    """An open camera: what of `cv2.VideoCapture` is used."""

    def read(self) -> tuple[bool, Frame | None]:
        """The next frame; False when there is none any more."""
        ...

    def release(self) -> None:
        """Close it."""
        ...


class CameraState(msgspec.Struct, frozen=True):
    """How a camera is: `passed_over` frames came while a piece was answered, `refused` could not be answered."""

    source: str
    frames: int
    pieces: int
    passed_over: int
    refused: int
    ended: bool
    trouble: str


class Camera:
    """Answers the pieces that a camera sees, with `observe`, until it is stopped or its file ends."""

    def __init__(
        self,
        config: SenseConfig,
        observe: Callable[[Payload], object],
        opened: Callable[[], Capture | None] | None = None,
    ) -> None:
        """`opened` gives an open camera, or None if it is not there; by default OpenCV's. ConfigError if it is not
        installed, or there is no such file.
        """
        self._config, self._observe = config, observe
        self._cv2 = library()
        self._file = is_file(config.camera)
        self._opened = opened or self._open
        self._source = shown(config.camera)
        if opened is None:
            self._check()
        self._came = threading.Condition()
        self._newest: Frame | None = None
        self._frames = self._pieces = self._passed_over = self._refused = 0
        self._trouble = self._unanswered = ""
        self._ended = False

    def run(self, stop: threading.Event) -> None:
        """Look until `stop`, or the end of a file."""
        looking = threading.Thread(target=self._look, args=(stop,), name="hotloop-camera", daemon=True)
        looking.start()
        last: Frame | None = None
        last_s = 0.0
        while (frame := self._next(stop)) is not None:
            if is_piece(frame, last, time.monotonic() - last_s, self._config.camera_s, self._config.camera_change):
                last, last_s = frame, time.monotonic()
                self._answer(frame)
        looking.join(2.0)

    def state(self) -> CameraState:
        """How it is."""
        with self._came:
            return CameraState(
                self._source,
                self._frames,
                self._pieces,
                self._passed_over,
                self._refused,
                self._ended,
                self._trouble or self._unanswered,
            )

    # one frame

    def _next(self, stop: threading.Event) -> Frame | None:
        """The newest frame that was not looked at yet; None at the end."""
        with self._came:
            while self._newest is None and not self._ended and not stop.is_set():
                self._came.wait(0.2)
            frame, self._newest = self._newest, None
            return None if stop.is_set() else frame

    def _answer(self, frame: Frame) -> None:
        try:
            self._observe(self._payload(frame))
            why = ""
        except HotloopError as error:  # this frame alone: the next ones must not wait for it
            why = f"a frame could not be answered: {error}"
        if why and not self._unanswered:
            _log.warning("camera %s: %s", self._source, why)
        with self._came:
            self._unanswered = why
            self._refused += bool(why)
            self._pieces += not why

    def _payload(self, frame: Frame) -> Payload:
        try:
            whole, data = self._cv2.imencode(".png", frame, [self._cv2.IMWRITE_PNG_COMPRESSION, _QUICK])
        except self._cv2.error as error:
            raise InputError(f"the frame is no picture: {error}") from error
        if not whole:
            raise InputError("the frame could not be made a PNG")
        return Payload(data.tobytes(), "image/png", self._reference())

    def _reference(self) -> bytes | None:
        if not self._config.reference:
            return None
        try:
            return Path(self._config.reference).read_bytes()
        except OSError as error:
            raise InputError(f"the template cannot be read ({error}): see [sense] reference") from error

    # the camera

    def _look(self, stop: threading.Event) -> None:
        """Open, and open again, until stopped or the end of a file."""
        pause = _PAUSE_S
        while not stop.is_set():
            capture = self._opened()
            before = self._frames
            if capture is not None:
                self._read(capture, stop)
                capture.release()
            if self._frames > before:
                pause = _PAUSE_S
                if self._file:
                    break
            if not stop.is_set():
                self._troubled("it gives no frames" if capture is not None else "it cannot be opened")
                stop.wait(pause)
                pause = min(2 * pause, _PAUSE_S_MAX)
        with self._came:
            self._ended = True
            self._came.notify_all()

    def _read(self, capture: Capture, stop: threading.Event) -> None:
        """Keep the newest frame, until there are no more."""
        pace_s = 1.0 / self._per_second(capture) if self._file else 0.0
        next_s = time.monotonic()
        while not stop.is_set():
            there, frame = capture.read()
            if not there or frame is None:
                return
            with self._came:
                self._frames += 1
                self._passed_over += self._newest is not None
                self._newest = frame
                if self._trouble:
                    _log.warning("camera %s is there again", self._source)
                    self._trouble = ""
                self._came.notify_all()
            next_s += pace_s
            stop.wait(max(0.0, next_s - time.monotonic()) if pace_s else 0.0)

    def _per_second(self, capture: Capture) -> float:
        said = float(getattr(capture, "get", lambda _: 0.0)(self._cv2.CAP_PROP_FPS))
        return said if 0.1 <= said <= 1000.0 else _PER_SECOND

    def _troubled(self, words: str) -> None:
        if not self._trouble:
            _log.warning("camera %s: %s: it is opened again until it is there", self._source, words)
        with self._came:
            self._trouble = words

    def _check(self) -> None:
        """ConfigError for what can never be opened."""
        camera = self._config.camera
        if self._file and not Path(camera).exists():
            raise ConfigError(f"sense.camera {camera} is not there: give a number, a URL, or a video file")
        if camera.startswith("gst:") and not self._cv2.videoio_registry.hasBackend(self._cv2.CAP_GSTREAMER):
            raise ConfigError(
                "sense.camera is a GStreamer pipeline, and this OpenCV was built without GStreamer: use the "
                "system's OpenCV (apt install python3-opencv), or an rtsp:// address"
            )

    def _open(self) -> Capture | None:
        """The camera, open; None if it is not there."""
        cv2, camera = self._cv2, self._config.camera
        patience = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT_MS]
        try:
            if camera.isdecimal():
                capture = cv2.VideoCapture(int(camera))
            elif camera.startswith("gst:"):
                capture = cv2.VideoCapture(camera.removeprefix("gst:"), cv2.CAP_GSTREAMER)
            elif self._file or camera.startswith("/dev/"):
                capture = cv2.VideoCapture(camera)
            else:
                capture = cv2.VideoCapture(camera, cv2.CAP_FFMPEG, patience)
        except cv2.error as error:
            _log.info("camera %s: %s", self._source, error)
            return None
        found: Capture = capture
        return found if capture.isOpened() else None


def library() -> ModuleType:
    """OpenCV. ConfigError if it is not installed."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it would say is said here, once
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise ConfigError('sense.camera needs OpenCV: pip install "hotloop[camera]"') from error


def is_file(camera: str) -> bool:
    """Whether that is a video file: it ends, a camera only goes away."""
    return not (camera.isdecimal() or "://" in camera or camera.startswith(("gst:", "/dev/")))


def shown(camera: str) -> str:
    """A camera's address without the password that may be in it."""
    if "://" not in camera or camera.startswith("gst:"):
        return camera if not camera.startswith("gst:") else "gst:..."
    try:
        found = urlsplit(camera)
        port = f":{found.port}" if found.port else ""
    except ValueError:
        return "a stream"
    return f"{found.scheme}://{found.hostname or ''}{port}{found.path}"
