"""Where a hub that starts stands with its rollout, from what the log says."""

from __future__ import annotations

import pytest

from hotloop.rollout.staged import Stage, Standing, standing
from hotloop.types import Command, Staged


def step(action, first, backbone, **more):
    return Staged(action=action, first=first, backbone=backbone, **more)


def order(name, line):
    return Command(order=name, by="ann", line=line)


def test_pins_come_and_go():
    """Other orders change nothing; unpinning who is not pinned neither."""
    stage = Stage().told(order("pin", "a")).told(order("pin", "b")).told(order("unpin", "a"))
    assert stage.pinned == {"b"}
    assert stage.told(order("unpin", "c")) == stage
    assert stage.told(Command(order="freeze", by="ann")) is stage


BEGIN, OFFER = step("begin", 5, "B"), step("offer", 5, "B", number=2, lines=("a", "b"))
EVERYWHERE, BACK = step("everywhere", 5, "B"), step("roll back", 5, "B")
TWO, THREE = [(0, "A"), (5, "B")], [(0, "A"), (5, "B"), (9, "C")]


@pytest.mark.parametrize(
    ("steps", "backbones", "expected"),
    [
        ([], [(0, "A")], Standing(0, None)),
        ([], TWO, Standing(0, None)),  # a log of before rollouts were logged
        ([BEGIN], TWO, Standing(4, BEGIN)),
        ([BEGIN, OFFER], TWO, Standing(4, OFFER)),
        ([BEGIN, OFFER, EVERYWHERE], TWO, Standing(0, None)),
        ([BEGIN, OFFER, BACK], TWO, Standing(4, BACK)),
        ([BEGIN, OFFER], [*TWO, (9, "A")], Standing(0, None)),  # rolled back
        ([BEGIN, OFFER, EVERYWHERE], THREE, Standing(8, None)),  # of the third nothing is logged yet
        ([BEGIN, OFFER, EVERYWHERE, step("begin", 9, "C")], THREE, Standing(8, step("begin", 9, "C"))),
        ([BEGIN, EVERYWHERE, step("everywhere", 9, "C")], [*THREE, (12, "B")], Standing(11, None)),
        ([BEGIN, EVERYWHERE, step("begin", 9, "C")], [*THREE, (12, "B")], Standing(0, None)),
    ],
)
def test_where_the_fleet_stands(steps, backbones, expected):
    """The last version that every line may have, and the step that was taken last."""
    stage = Stage()
    for one in steps:
        stage = stage.went(one)
    assert standing(stage, backbones) == expected
