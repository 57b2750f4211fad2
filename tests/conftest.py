"""What tests of every ring share: where the real data is, if it is here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from hotloop.errors import NotFoundError
from hotloop.testing.mosquitto import Mosquitto

hypothesis.settings.register_profile("hotloop", deadline=None)  # a busy machine is no finding
hypothesis.settings.load_profile("hotloop")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets that HOTLOOP_DATA names; without it the test is skipped."""
    if not os.environ.get("HOTLOOP_DATA"):
        pytest.skip("real data is needed: set HOTLOOP_DATA to the folder that holds it")
    return Path(os.environ["HOTLOOP_DATA"])


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Makes real brokers, and ends them; without mosquitto the test is skipped."""
    made: list[Mosquitto] = []

    def make(*settings: str, **more: int) -> Mosquitto:
        try:
            made.append(Mosquitto(tmp_path / f"broker-{len(made)}", settings, **more))
        except NotFoundError as error:
            pytest.skip(str(error))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def broker(brokers: Callable[..., Mosquitto]) -> Mosquitto:
    """A real broker, running."""
    found = brokers()
    found.start()
    return found
