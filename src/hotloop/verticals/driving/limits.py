"""`[driving.mine]` and `[driving.rank]` of loop.toml: when a moment is a case, what may be spent on cases."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hotloop.config import Positive, Section, Share

Above = Annotated[float, Meta(gt=0)]


class MineConfig(Section, frozen=True):
    """`[driving.mine]`: from where on a moment is a case. A case goes on until its measure is `release` x better."""

    reach_m: Above = 60.0  # pairs whose middles are farther apart are not looked at
    ttc_s_max: Above = 2.0  # time to collision; twice this is how far contact is looked for
    closing_m_s_min: Above = 1.0  # slower than this, coming together is no case
    headway_s_max: Above = 0.6  # front bumper to the rear bumper ahead
    gap_m_max: Above = 0.5  # a near miss
    pet_s_max: Above = 1.5  # post-encroachment time of two that cross
    pedestrian_pet_s_max: Above = 3.0  # the same where one of them is on foot
    braking_m_s2_min: Above = 5.0
    jerk_m_s3_min: Above = 12.0
    cut_in_headway_s_max: Above = 1.0  # behind one who has just come into the path
    cut_in_s: Above = 3.0  # in which whoever came in was still beside the path
    surprise_min: Share = 0.999  # quantile of the predictor's error among calm moments
    novelty_min: Share = 0.5  # leverage of the scene, h / (1 + h)
    release: Annotated[float, Meta(ge=1)] = 1.25
    join_s: Annotated[float, Meta(ge=0)] = 1.0  # two episodes of a pair that are nearer than this are one
    seconds_min: Annotated[float, Meta(ge=0)] = 0.5  # of a track; a shorter one is not believed
    jump_m_s2_max: Above = 60.0  # a change of place that asks for more is no movement: the track is cut there
    pairs_chunk: Positive = 400_000  # pairs in memory at once (some 100 bytes each)
    findings_max: Positive = 20_000  # of one log; more are dropped, the least severe first, and counted


class RankConfig(Section, frozen=True):
    """`[driving.rank]`: what may be spent, and on what."""

    budget: Above = 100.0  # in what cost is in: seconds to simulate
    fixed_cost: Above = 1.0  # of each scene, besides its length
    before_s: Annotated[float, Meta(ge=0)] = 3.0  # of the log that are simulated before a case
    after_s: Annotated[float, Meta(ge=0)] = 3.0
    alike: Annotated[float, Meta(ge=0)] = 0.15  # scenes whose features differ by less (root mean square) are one
    alike_share: Share = 0.05  # what a scene is worth that is like one that was chosen
    audit_share: Share = 0.1  # of the budget, for what was not chosen, drawn with a known chance
    candidates_max: Positive = 20_000  # looked at; the most valuable ones
    seed: int = 0
