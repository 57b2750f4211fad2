"""`[driving]` of loop.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hotloop.config import LoopConfig, Section, own_table
from hotloop.verticals.driving.limits import MineConfig, RankConfig
from hotloop.verticals.driving.planner import PlannerConfig


class DrivingConfig(Section, frozen=True):
    """`[driving]`: rare and risky moments in recorded drives."""

    region: Annotated[str, Meta(max_length=64)] = ""  # where this loop is: others' drives are refused; "": none are
    start: str = ""  # a file with what was learned elsewhere, to begin with; "": nothing is known yet
    findings_max: Annotated[int, Meta(ge=1, le=256)] = 64  # of one segment: the worst ones
    bytes_max: Annotated[int, Meta(ge=1024)] = 32 * 2**20  # of one segment
    mine: MineConfig = MineConfig()
    rank: RankConfig = RankConfig()
    planner: PlannerConfig = PlannerConfig()


def settings_of(config: LoopConfig) -> DrivingConfig:
    """The table of a loop. ConfigError."""
    return own_table(config, "driving", DrivingConfig)
