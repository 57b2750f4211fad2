"""TRUST 12: three hostile reviewers of ten, random or aimed, on real boards and tiles: no class falls, the whole
rises.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hotloop.config import LoopConfig
from hotloop.loading import load_vertical
from hotloop.testing.poison import Piece, Plan, defended, poisoned
from hotloop.types import Proposals


def drawn(count, seed=0):
    """Vectors of three kinds, as pieces: what always runs."""
    rng, labels = np.random.default_rng(seed), ("ok", "dent", "crack")
    means = np.array([[0.0, 0.0, 2.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    kinds = rng.integers(0, 3, count)
    x = means[kinds] + rng.normal(0, 0.5, (count, 3))
    return [
        Piece(Proposals(1, 3, row.astype("<f4").tobytes(), kind="f4"), ((labels[kind], None),))
        for row, kind in zip(x, kinds, strict=True)
    ]


def check_drawn(attack="aimed", seed=0):
    """Liars are found, nobody else is; the worst class stays within 15 points; the whole does not fall."""
    config = LoopConfig(vertical="vectors", tables={"vectors": dict(labels=["ok", "dent", "crack"], columns=3)})
    plan = Plan(hostile=3, attack=attack, seed=seed)
    found = poisoned(load_vertical(config), config, drawn(700), drawn(300, 1), plan)
    assert found.worst >= -0.15, f"the worst class fell by {-100 * found.worst:.0f} points"
    assert found.last_all >= found.first_all - 0.01
    assert found.promoted_share >= 0.85
    assert found.liars_found == 3
    assert found.wrongly == 0


@pytest.mark.parametrize("attack", ["random", "aimed"])
def test_three_liars_of_ten_do_no_harm(attack):
    """On drawn vectors, where nothing else stands in the way."""
    check_drawn(attack)


def test_without_trust_they_would():
    """The same liars, five of ten and no defence: a class falls. The suite can see harm where there is some."""
    config = LoopConfig(vertical="vectors", tables={"vectors": dict(labels=["ok", "dent", "crack"], columns=3)})
    plan = Plan(hostile=6, attack="aimed")
    found = poisoned(load_vertical(config), defended(config, "none"), drawn(700), drawn(300, 1), plan)
    assert found.worst < -0.15


@pytest.mark.parametrize("attack", ["random", "aimed"])
@pytest.mark.parametrize("data", ["deeppcb", "magnetic-tile"])
def test_on_real_pieces(data_dir, data, attack):
    """The bars of the row: worst class >= -15 points, final >= first, honest words learned >= 85 %."""
    pytest.importorskip("torch")
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from bench.poison import boards, tiles

    vertical, config, pieces, test = (boards if data == "deeppcb" else tiles)(data_dir, 330)
    found = poisoned(vertical, config, pieces, test, Plan(hostile=3, attack=attack))
    assert found.worst >= -0.15
    assert found.last_all >= found.first_all
    assert found.promoted_share >= 0.85
    assert found.wrongly == 0
