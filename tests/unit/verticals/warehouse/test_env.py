"""The floor as a Gymnasium environment: its own checker, seeds, and that knowing more pays."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from hotloop.verticals.warehouse.env import WarehouseEnv
from hotloop.verticals.warehouse.floor import Truth
from hotloop.verticals.warehouse.layout import LayoutConfig


def small(**more):
    return WarehouseEnv(LayoutConfig(aisles=5), **{"orders": 40, "robots": 3} | more)


@pytest.mark.filterwarnings("ignore:.*(render|spec|unwrapped|infinity|precision|symmetric).*")
def test_it_passes_gymnasiums_own_check():
    """Spaces, seeds, returns."""
    check_env(small(), skip_render_check=True)


def played(env, action, seed=0):
    """An episode with one belief: seconds a line of all its trips."""
    env.reset(seed=seed)
    seconds = lines = 0.0
    over = False
    while not over:
        _, reward, over, cut, more = env.step(action)
        seconds, lines = seconds - reward * more["lines"], lines + more["lines"]
        assert not cut
    return seconds / lines, lines


def test_an_episode_ends_with_its_orders_and_follows_its_seed():
    """The same seed, the same lines and seconds; another one, others."""
    env = small()
    action = np.ones(env.layout.stretches, np.float32)
    first = played(env, action)
    assert first == played(env, action)
    assert first != played(env, action, 1)
    assert first[1] >= 40
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(action)
    with pytest.raises(gymnasium.error.ResetNeeded):
        small().step(action)


def test_who_knows_what_is_slow_is_quicker():
    """The true factors as the action, against what is planned."""
    layout = LayoutConfig(aisles=5)
    slow = np.ones(5 * 3 + 2 * 4)
    slow[[1, 4, 10]] = 8.0
    env = WarehouseEnv(layout, Truth(slow), orders=150, robots=2)
    knows = np.mean([played(env, slow.astype(np.float32), seed)[0] for seed in range(3)])
    plans = np.mean([played(env, np.ones_like(slow, np.float32), seed)[0] for seed in range(3)])
    assert knows < 0.95 * plans
