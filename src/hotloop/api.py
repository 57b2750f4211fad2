"""hotloop without a server: open a loop, predict, give feedback. The next prediction has learned it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotloop.config import LoopConfig, check_name, from_tables, load, resolve
from hotloop.engine import Engine, Receipt
from hotloop.errors import ConfigError, HotloopError, InputError
from hotloop.feedback import right, verdict
from hotloop.loading import load_vertical
from hotloop.measure import Report
from hotloop.store.embedded import open_embedded
from hotloop.types import Feedback, Payload, Prediction, Region

Sensed: TypeAlias = str | Path | bytes | Sequence[float] | NDArray[Any]
Truth: TypeAlias = bool | str | Iterable[tuple[str, Region | None]]


class Loop:
    """One loop in this process. Close it, or use it as a context: `with hotloop.open(...) as loop:`."""

    def __init__(self, config: LoopConfig) -> None:
        self.config = config
        vertical = load_vertical(config)
        ports = open_embedded(config)
        try:
            self.engine = Engine(config, vertical, ports)
        except HotloopError:
            for port in (ports.lake, ports.registry, ports.log):  # another try must find them free
                port.close()
            raise

    def predict(self, sensed: Sensed, *, reference: Sensed | None = None, line: str = "line-1") -> Prediction:
        """What the model says of a vector, an image (path, bytes, or uint8 array (H, W) or (H, W, 3)).

        `reference` is the template that an image is compared with. InputError if it cannot be read.
        """
        payload = Payload(as_bytes(sensed), reference=None if reference is None else as_bytes(reference))
        return self.engine.observe(payload, line)

    def feedback(self, prediction: Prediction | str, truth: Truth, *, reviewer: str = "me") -> Receipt:
        """Say what is true of a prediction; it is learned when this returns.

        `truth` is True (all of it is right), one label for the whole piece, or the list of (label, region)
        that are there: an empty list says that the piece is good.
        """
        check_name(reviewer, "reviewer")
        now = self.engine.clock.now()
        if isinstance(truth, bool):
            given = self._agreed(prediction, reviewer, now, agreed=truth)
        else:
            name = prediction if isinstance(prediction, str) else prediction.id
            truths = [(truth, None)] if isinstance(truth, str) else list(truth)
            given = verdict(name, truths, reviewer, now)
        receipt = self.engine.feedback(given)
        self.learn()
        return receipt

    def learn(self) -> int:
        """Turn until everything in the log is learned; the version that answers then."""
        self.engine.catch_up()
        return self.engine.model.version

    def report(self) -> Report:
        """How the loop is doing: precision, recall, verdict-to-live, TTI."""
        return self.engine.report()

    def close(self) -> None:
        """Release everything. What was given is kept."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _agreed(self, prediction: Prediction | str, reviewer: str, now: float, *, agreed: bool) -> Feedback:
        """The verdict "right", or "none of it is there"."""
        if isinstance(prediction, str):
            bodies = [record.event.body for record in self.engine.trace(prediction)]
            known = next((body for body in bodies if isinstance(body, Prediction)), None)
            if known is None:
                raise InputError(f"{prediction} is not known here: give the truth itself instead of {agreed}")
            prediction = known
        return right(prediction, reviewer, now) if agreed else verdict(prediction.id, [], reviewer, now)


def open(where: str | Path, **settings: Any) -> Loop:  # noqa: A001  (hotloop.open is how a loop is opened)
    """Open the loop of a `loop.toml`, or of a folder with settings given here.

    `settings` are keys of loop.toml: top-level ones (`vertical`, `site`), whole tables as dicts (`gate={...}`),
    and, for short, the keys of the vertical's own table (`labels=[...]`, `columns=3`, `task="image"`).
    ConfigError says what does not fit.
    """
    path = Path(where)
    if path.suffix == ".toml":
        if settings:
            raise ConfigError(f"{path} says it all: open it without further settings, or open a folder with them")
        return Loop(load(path))
    if not (path / "loop.toml").exists():
        return Loop(settled(path, settings))
    return open(path / "loop.toml", **settings)


def settled(folder: Path, settings: dict[str, Any]) -> LoopConfig:
    """A configuration whose stores are in `folder`. ConfigError names a setting that there is not."""
    top = {field.name for field in msgspec.structs.fields(LoopConfig)}
    vertical = settings.get("vertical", "inspection")
    own = {key: value for key, value in settings.items() if key not in top and key != vertical}
    tables = {"vertical": vertical} | {key: value for key, value in settings.items() if key not in own}
    for table, more in (("store", {"folder": str(folder.resolve())}), (vertical, own)):
        given = tables.get(table, {})
        if isinstance(given, dict):  # what is none is named by the check
            tables[table] = {**more, **given}
    return resolve(from_tables(tables, "hotloop.open"), folder)


def as_bytes(sensed: Sensed) -> bytes:
    """The payload of what a sensor gave: a file's bytes, an array as PNG, a vector as a JSON list."""
    if isinstance(sensed, bytes):
        return sensed
    if isinstance(sensed, str | Path):
        try:
            return Path(sensed).read_bytes()
        except OSError as error:
            raise InputError(f"{sensed} cannot be read: {error}") from error
    try:
        array = np.asarray(sensed)
        if array.ndim == 1:
            return msgspec.json.encode([float(value) for value in array])
    except (TypeError, ValueError) as error:
        raise InputError(f"a vector is a list of numbers: {error}") from error
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise InputError(f"an image is uint8 (H, W) or (H, W, 3); this one is {array.dtype} {array.shape}")
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()
