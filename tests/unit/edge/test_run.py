"""What a line says of what stands beside it."""

from __future__ import annotations

import msgspec
import pytest

from hotloop.adapters.camera import CameraState
from hotloop.adapters.mqtt_line import MqttState
from hotloop.edge.run import Stand
from hotloop.types import LineReport

REPORT = LineReport(line="line-1", site="s", version=3, dropped={"unflagged: too old": 2})


class Beside:
    """A camera, or a broker's side, in some state."""

    def __init__(self, state):
        self.state = lambda: state


def camera(trouble):
    return Beside(CameraState("0", 1, 1, 0, 0, ended=False, trouble=trouble))


def broker(trouble):
    return Beside(MqttState(False, trouble, 0, 0, 0, 0, {"answer: too many wait for the broker": 4}, {}))


def test_alone_a_line_speaks_for_itself():
    """There is nothing to add."""
    assert Stand().reported(REPORT) == REPORT


@pytest.mark.parametrize(
    ("own", "of_broker", "of_camera", "said"),
    [
        ("", "", "", ""),
        ("", "", "it gives no frames", "camera: it gives no frames"),
        ("", "the broker is away", "it gives no frames", "the broker is away"),
        ("the hub refuses", "the broker is away", "it gives no frames", "the hub refuses"),
    ],
)
def test_the_worst_trouble_is_reported(own, of_broker, of_camera, said):
    """The hub, then the broker, then the camera; what the broker lost is counted with what the spool lost."""
    stand = Stand(camera(of_camera), broker(of_broker))
    found = stand.reported(msgspec.structs.replace(REPORT, trouble=own))
    assert found.trouble == said
    assert found.dropped == {"unflagged: too old": 2, "answer: too many wait for the broker": 4}
