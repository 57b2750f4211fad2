"""What tests of every ring share: where the real data is, if it is here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hotloop.errors import NotFoundError
from hotloop.testing.mosquitto import Mosquitto


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets that HOTLOOP_DATA names; without it the test is skipped."""
    if not os.environ.get("HOTLOOP_DATA"):
        pytest.skip("real data is needed: set HOTLOOP_DATA to the folder that holds it")
    return Path(os.environ["HOTLOOP_DATA"])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real broker, running; without mosquitto the test is skipped."""
    try:
        found = Mosquitto(tmp_path / "broker")
    except NotFoundError as error:
        pytest.skip(str(error))
    found.start()
    yield found
    found.stop()
