"""Which recordings are tuned on and which are held out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scenes

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest import read
from hotloop.verticals.driving.sides import groups, of, recording_of, shared, sides
from hotloop.verticals.driving.tracks import Actor, Tracks

NONE = np.zeros(0)
NO_ROWS = np.zeros(0, np.int64)


def log(name, *vehicles, width=1.8):
    """A recording of these vehicles: their names."""
    actors = tuple(Actor(one, "car", 4.5, width) for one in vehicles)
    return Tracks(actors, NO_ROWS, NO_ROWS, NONE, NONE, NONE, NONE, NONE, 0.1, name)


def chain(first, count):
    """Recordings in a row, each of which shares a vehicle with the next one."""
    return [log(f"{first}{k:02d}", f"{first}v{k}", f"{first}v{k + 1}") for k in range(count)]


def vehicles_of(logs, names):
    chosen = [one for one in logs if one.source in names]
    return {(a.name, a.kind, round(a.length, 2), round(a.width, 2)) for one in chosen for a in one.actors}


def test_a_vehicle_is_shared_by_name_kind_and_size():
    """The same number on another vehicle, as in another survey, is another one."""
    links = shared([log("a", "1", "2"), log("b", "2", "3"), log("c", "3", width=2.1), log("d", "9")])
    assert links == {"a": {"b"}, "b": {"a"}, "c": set(), "d": set()}
    truck = replace(log("t"), actors=(Actor("1", "truck", 4.5, 1.8),))
    assert shared([log("a", "1"), truck])["t"] == set()


def test_a_millimetre_is_no_other_vehicle():
    """Sizes are compared to the centimetre: a file may round them."""
    assert shared([log("a", "1", width=1.8), log("b", "1", width=1.8004)])["a"] == {"b"}


def test_two_recordings_of_one_name_are_refused():
    """A scene is found again by its recording's name."""
    with pytest.raises(InputError, match="2 recordings with 1 names"):
        shared([log("a", "1"), log("a", "2")])


def test_what_hangs_together_by_others_is_one_group():
    """The first and the last of a chain share nobody, and are in one group all the same; the largest comes first."""
    logs = [*chain("b", 2), *chain("a", 5), log("z", "alone")]
    assert [len(one) for one in groups(shared(logs))] == [5, 2, 1]
    assert groups(shared(logs[::-1])) == groups(shared(logs))


@pytest.mark.parametrize("sizes", [(22, 7, 2, 1, 1), (3, 3, 3), (9, 1), (1,) * 20])
def test_no_vehicle_is_on_both_sides(sizes):
    """Whatever the groups are; and each recording is on one side."""
    logs = [one for k, size in enumerate(sizes) for one in chain("abcdefghijklmnopqrstu"[k], size)]
    found = sides(shared(logs))
    assert not vehicles_of(logs, found.tune) & vehicles_of(logs, found.held)
    assert sorted(found.tune + found.held) == sorted(one.source for one in logs)
    assert found.held


@pytest.mark.parametrize("sizes", [(22, 7, 2, 1, 1), (10, 10, 2), (1,) * 20])
def test_settings_are_chosen_by_vehicles_that_they_were_not_tried_on(sizes):
    """Neither part is empty, nothing of what is held out is in them, and who is dropped is told."""
    logs = [one for k, size in enumerate(sizes) for one in chain("abcdefghijklmnopqrstu"[k], size)]
    found = sides(shared(logs))
    assert found.fit
    assert found.choose
    assert not vehicles_of(logs, found.fit) & vehicles_of(logs, found.choose)
    assert sorted(found.fit + found.choose + found.dropped) == sorted(found.tune)


def test_a_single_group_is_cut_at_its_end_and_the_seam_is_dropped():
    """Of ten in a row the last two choose, and the one before them, which shares a vehicle with them, is dropped."""
    found = sides(shared([*chain("a", 10), *chain("b", 4)]))
    assert found.held == tuple(f"b{k:02d}" for k in range(4))
    assert found.choose in ((("a00", "a01")), ("a08", "a09"))
    assert found.dropped == (("a02",) if found.choose[0] == "a00" else ("a07",))
    assert len(found.fit) == 7


def test_shares_are_as_wanted_where_groups_allow_it():
    """Twenty recordings that share nobody: eight are held out, of the others a fifth chooses."""
    found = sides(shared([log(f"r{k:02d}", f"v{k}") for k in range(20)]))
    assert (len(found.tune), len(found.held)) == (12, 8)
    assert (len(found.fit), len(found.choose), len(found.dropped)) == (10, 2, 0) or len(found.choose) == 3


def test_the_order_of_recordings_does_not_matter():
    """A side is a matter of names and vehicles."""
    logs = [*chain("a", 9), *chain("b", 3), *chain("c", 2)]
    assert sides(shared(logs)) == sides(shared(logs[::-1]))


def test_one_group_alone_cannot_be_held_out():
    """It is said instead of cut."""
    with pytest.raises(InputError, match="none can be held out"):
        sides(shared(chain("a", 6)))


def test_scenes_are_found_by_their_recording():
    """Also perturbed ones, and where the recording's name holds a colon."""
    assert recording_of("us101.csv:17:30~4.1") == "us101.csv"
    assert recording_of("c:/drive.csv:17:30") == "c:/drive.csv"
    made = [replace(scenes.road(1.0), name=f"rec{k}:a:0") for k in range(4)]
    assert [one.name for one in of(made, ("rec1", "rec3"))] == ["rec1:a:0", "rec3:a:0"]


def test_overlapping_snippets_of_a_survey_are_on_one_side():
    """NGSIM US-101: 33 snippets are five groups, by the vehicles that the files themselves name."""
    if not os.environ.get("HOTLOOP_DATA"):
        pytest.skip("HOTLOOP_DATA does not point to the recorded drives")
    logs = [read(path) for path in sorted(Path(os.environ["HOTLOOP_DATA"]).glob("driving/ngsim-us101/*.csv.gz"))]
    assert [len(one) for one in groups(shared(logs))] == [22, 7, 2, 1, 1]
    found = sides(shared(logs))
    assert (len(found.tune), len(found.held)) == (22, 11)
    assert not vehicles_of(logs, found.tune) & vehicles_of(logs, found.held)
    assert not vehicles_of(logs, found.fit) & vehicles_of(logs, found.choose)
