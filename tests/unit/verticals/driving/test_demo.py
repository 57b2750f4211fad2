"""The demo's parts: what the expert says, the scenes that are made, and that nothing judged was ever mined from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hotloop.errors import ConfigError
from hotloop.types import Output
from hotloop.verticals.driving import demo
from hotloop.verticals.driving.demo import common_of, drive, scenes_of, seat_of
from hotloop.verticals.driving.finding import Finding
from hotloop.verticals.driving.scenario import COMMON
from hotloop.verticals.driving.scenario_xml import from_xml
from hotloop.verticals.driving.tuning import Effort


def finding(case="cut-in", actors=(3, 4), peak=100):
    return Finding(case, 0.5, 0.5, "s", actors, peak - 5, peak, peak + 5, "w")


def test_who_has_to_cope_takes_the_seat():
    """The one that was cut in on; else the subject."""
    assert seat_of(finding()) == 4
    assert seat_of(finding("hard braking", (3,))) == 3
    assert seat_of(finding("pedestrian crossing")) == 3
    assert seat_of(finding(actors=(3,))) == 3


def test_a_drive_has_cases_and_is_the_same_for_its_number():
    """Streets and highways by turns."""
    one, same, other = drive(2), drive(2), drive(3)
    assert (one.x == same.x).all()
    assert (one.source, other.source) == ("street 2", "highway 3")
    assert any(actor.name.startswith("planted") for actor in one.actors)


def test_scenes_are_made_of_what_can_be_driven():
    """At most so many; who is in the log too briefly, or nobody at all, is left out."""
    tracks = drive(3)
    found = [(tracks, finding(peak=100)), (tracks, finding(actors=())), (tracks, finding(peak=10**6))]
    assert len(scenes_of(found, 5)) == 1
    assert len(scenes_of([found[0]] * 4, 2)) == 2
    common = common_of([tracks, drive(2)], 6)
    assert len(common) == 6
    assert {scene.case for scene in common} == {COMMON}


def test_the_expert_wants_some_kinds():
    """What he wants he names, some of it as worse; what he does not is nothing."""
    assert demo._claim(0, Output("jerk", 0.9)).label is None
    assert demo._claim(1, Output("cut-in", 0.9)).label == "cut-in"
    worse = demo._claim(2, Output("pedestrian crossing", 0.5))
    assert (worse.output, worse.label, worse.value) == (2, "pedestrian crossing", 1.0)


def test_data_of_ones_own_is_refused(tmp_path):
    """It drives its own traffic."""
    with pytest.raises(ConfigError, match="leave --data out"):
        demo.demo(data=Path("here"), seconds=1.0, lines=1, folder=tmp_path)


def test_the_whole_of_it_in_small(tmp_path, monkeypatch, capsys):
    """The queue gets better, scenes and pictures are there, and scenes that judge are of drives that were not mined."""
    for name, value in {"_UNSEEN": 2, "_SCENES_MAX": 3, "_COMMON_MAX": 2, "_EFFORT": Effort(1, 5)}.items():
        monkeypatch.setattr(demo, name, value)
    held = []
    judged = demo.trial
    monkeypatch.setattr(demo, "trial", lambda scenes, *rest: (held.extend(scenes), judged(scenes, *rest))[1])
    demo.demo(data=None, seconds=1.0, lines=2, folder=tmp_path)
    for name in ("findings.png", "queue.png", "planner.png", "waterfall.png", "report.txt"):
        assert (tmp_path / name).stat().st_size > 500
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert "driving-demo" in report.values()
    mined = [from_xml(path.read_bytes()) for path in sorted((tmp_path / "scenarios").glob("*.xml"))]
    assert len(mined) == 3
    assert {one.name.split(":")[0] for one in mined}.isdisjoint({one.name.split(":")[0] for one in held})
    told = capsys.readouterr().out
    rows = {line.split("│")[1].strip(): line.split("│")[2:5] for line in told.splitlines() if line.count("│") == 5}
    names = "by severity alone", "after the verdicts"
    before, after = ([int(part.strip(" %")) for part in rows[name]] for name in names)
    assert all(now >= then for then, now in zip(before, after, strict=True))
    assert after[0] > before[0]
