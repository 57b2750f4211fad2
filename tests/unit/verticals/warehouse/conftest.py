"""Small warehouses for tests."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.verticals.warehouse.layout import Layout, LayoutConfig


@pytest.fixture
def layout():
    """Six aisles of 30 m in three stretches each."""
    return Layout(LayoutConfig(aisles=6))


def drawn(rng, layout, most=6):
    """Some places."""
    count = int(rng.integers(1, most + 1))
    aisles = rng.integers(0, layout.config.aisles, count)
    return [(int(aisle), round(float(rng.uniform(0, layout.length_m)), 2)) for aisle in aisles]


@pytest.fixture
def rng():
    return np.random.default_rng(0)
