"""`[driving]`: what stands there is taken, what does not is as documented, what cannot be is refused with its key."""

from __future__ import annotations

import pytest

from hotloop.config import LoopConfig, parse
from hotloop.errors import ConfigError
from hotloop.verticals.driving.limits import MineConfig, RankConfig
from hotloop.verticals.driving.planner import PlannerConfig, RulePlanner
from hotloop.verticals.driving.settings import DrivingConfig, settings_of
from hotloop.verticals.driving.task import vertical


def test_without_a_table_all_is_as_documented():
    """No region, nothing known, and the parts' own defaults."""
    found = settings_of(LoopConfig(vertical="driving"))
    assert found == DrivingConfig()
    assert (found.region, found.start, found.findings_max) == ("", "", 64)
    assert (found.mine, found.rank) == (MineConfig(), RankConfig())


def test_a_table_of_toml_is_read():
    """Tables in the table, too."""
    text = 'vertical = "driving"\n[driving]\nregion = "eu"\nfindings_max = 9\n[driving.mine]\nttc_s_max = 1.5\n'
    found = settings_of(parse(text))
    assert (found.region, found.findings_max, found.mine.ttc_s_max) == ("eu", 9, 1.5)
    assert found.rank == RankConfig()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("region = 5", "driving.region"), ("findings_max = 257", "findings_max"), ("bytes_max = 1", "bytes_max"),
        ("nothing = 1", "nothing"), ('region = "' + "x" * 65 + '"', "driving.region"), ("mine = 3", "driving.mine"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(line, words):
    """By key."""
    with pytest.raises(ConfigError, match=words):
        settings_of(parse(f'vertical = "driving"\n[driving]\n{line}\n'))


def test_the_planner_of_the_table_is_the_one_that_is_tried():
    """Its parameters come from `[driving.planner]`; others are refused by key, and so is a planner of no name."""
    task = vertical(parse('vertical = "driving"\n[driving.planner]\nheadway_s = 2.5\n'))
    planner = task.planner()
    assert isinstance(planner, RulePlanner)
    assert planner.config == PlannerConfig(headway_s=2.5)
    with pytest.raises(ConfigError, match="no planner 'mine'"):
        task.planner("mine")
    with pytest.raises(ConfigError, match=r"driving\.planner\.brake"):
        settings_of(parse('vertical = "driving"\n[driving.planner]\nbrake = 20.0\n'))
