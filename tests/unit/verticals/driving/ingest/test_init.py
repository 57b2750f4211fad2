"""Ingest: told by content, once each, going on after what is broken and after a stop anywhere."""

from __future__ import annotations

import gzip
import importlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hotloop.errors import ConfigError, InputError, StoreError
from hotloop.types import digest
from hotloop.verticals.driving import ingest as module
from hotloop.verticals.driving.ingest import (
    Bounds,
    Ingested,
    Known,
    Reading,
    Refused,
    Settings,
    ingest,
    logs_in,
    main,
    read,
)
from hotloop.verticals.driving.lake import TrackLake
from hotloop.verticals.driving.privacy import Privacy
from hotloop.verticals.driving.tracks import Tracks

CSV = "id,x,y,step\n{0},0,0,0\n{0},1,0,0.1\n{0},2,0,0.2\n"
XML = (
    '<commonRoad timeStepSize="0.1" commonRoadVersion="2020a"><dynamicObstacle id="7"><type>car</type><shape><circle>'
    "<radius>1</radius></circle></shape><initialState><time><exact>0</exact></time><position><point><x>1</x><y>2</y>"
    "</point></position></initialState></dynamicObstacle></commonRoad>"
)


class Kept:
    """A table in memory, which may fail at one of its appends."""

    def __init__(self, region: str = "", fails_at: int = -1) -> None:
        self.region = region
        self.logs: dict[str, Tracks] = {}
        self.fails_at = fails_at

    def known(self) -> frozenset[str]:
        return frozenset(self.logs)

    def append(self, tracks: Tracks) -> bool:
        if len(self.logs) == self.fails_at:
            raise StoreError("the disk failed")
        new = tracks.digest not in self.logs
        self.logs.setdefault(tracks.digest, tracks)
        return new


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four good logs, two of them the same bytes, two broken ones, and what is no log."""
    place = tmp_path / "logs"
    (place / "more").mkdir(parents=True)
    (place / "a.csv").write_text(CSV.format("one"))
    (place / "b.csv.gz").write_bytes(gzip.compress(CSV.format("two").encode(), mtime=0))
    (place / "c.xml").write_text(XML)
    (place / "d.csv").write_text("nothing")
    (place / "more/a again.csv").write_text(CSV.format("one"))
    (place / "more/e.xml").write_text("<commonRoad")
    (place / "more/README.md").write_text("no log")
    return place


def test_all_come_in_and_the_broken_are_named(folder: Path) -> None:
    """The rest goes on; each is told to `progress` as it comes."""
    table, told = Kept(), []
    summary = ingest([folder], table, progress=lambda done, outcome: told.append((done, outcome.path.name)))
    assert [one.path.name for one in summary.ingested] == ["a.csv", "b.csv.gz", "c.xml"]
    assert [one.path.name for one in summary.known] == ["a again.csv"]
    assert [one.path.name for one in summary.refused] == ["d.csv", "e.xml"]
    assert "no rows" in summary.refused[0].why
    assert "broken XML" in summary.refused[1].why
    assert told == [(1, "a.csv"), (2, "b.csv.gz"), (3, "c.xml"), (4, "d.csv"), (5, "a again.csv"), (6, "e.xml")]
    assert str(summary) == "3 logs ingested (7 rows, 0.00 h), 1 known already, 2 refused"
    assert set(table.logs) == {digest((folder / name).read_bytes()) for name in ("a.csv", "b.csv.gz", "c.xml")}


def test_twice_is_once(folder: Path) -> None:
    """The second time nothing is new."""
    table = Kept()
    ingest([folder], table)
    again = ingest([folder], table)
    assert (again.ingested, len(again.known), len(again.refused)) == ((), 4, 2)


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_after_a_stop_anywhere_the_rest_comes_in(folder: Path, stop: int) -> None:
    """The disk fails at one log: the error goes up, what was in stays, and another run ends as one without a stop."""
    whole, table = Kept(), Kept(fails_at=stop)
    ingest([folder], whole)
    with pytest.raises(StoreError):
        ingest([folder], table)
    assert len(table.logs) == stop
    table.fails_at = -1
    ingest([folder], table)
    assert list(table.logs) == list(whole.logs)


def test_content_counts_before_the_name(tmp_path: Path) -> None:
    """XML that is called CSV, gzip that does not say so; a text that is nothing is refused."""
    for name, data in (("a.csv", XML.encode()), ("b.txt", XML.encode()), ("c.csv", gzip.compress(CSV.encode()))):
        (tmp_path / name).write_bytes(data)
        assert len(read(tmp_path / name)) > 0
    (tmp_path / "d.txt").write_text("hello")
    with pytest.raises(InputError, match=r"d\.txt: neither CommonRoad"):
        read(tmp_path / "d.txt")
    with pytest.raises(InputError, match=r"none\.xml: it cannot be read"):
        read(tmp_path / "none.xml")


def test_a_log_is_read_with_its_name_and_digest(folder: Path) -> None:
    """Of the bytes of the file, packed as they are."""
    out = read(folder / "b.csv.gz")
    assert (out.source, out.digest) == ("b.csv.gz", digest((folder / "b.csv.gz").read_bytes()))


def test_bounds_hold_for_each_log(folder: Path) -> None:
    """A log that is too large, packed or unpacked, is refused, and others come in."""
    bounds = Bounds(bytes_max=200, unpacked_bytes_max=40)
    summary = ingest([folder], Kept(), Settings(Reading(bounds)))
    why = {one.path.name: one.why.split(",")[0] for one in summary.refused}
    assert {name: why[name] for name in ("b.csv.gz", "c.xml")} == {
        "b.csv.gz": "b.csv.gz: more than 40 bytes once decompressed", "c.xml": "c.xml: more than 200 bytes",
    }  # fmt: skip
    assert [one.path.name for one in summary.ingested] == ["a.csv"]


def test_links_are_not_followed(tmp_path: Path, folder: Path) -> None:
    """A folder that is a link to itself ends."""
    (folder / "more/loop").symlink_to(folder)
    assert len(list(logs_in(folder))) == 6


def test_regions_travel_with_the_logs(folder: Path) -> None:
    """The table's by default; another one is refused by the table of a region."""
    table = Kept("eu")
    ingest([folder / "a.csv"], table)
    assert next(iter(table.logs.values())).region == "eu"


def test_a_table_refuses_a_region_and_others_go_on(folder: Path, tmp_path: Path) -> None:
    """Each log by its name."""
    summary = ingest([folder / "a.csv", folder / "c.xml"], TrackLake(tmp_path / "lake", "eu"), Settings(region="us"))
    assert ["'us'" in one.why for one in summary.refused] == [True, True]


def test_privacy_is_applied_before_anything_is_kept(folder: Path) -> None:
    """Names and places as the settings say; a log that is shorter than the ends is refused by name."""
    table = Kept()
    ingest([folder / "a.csv"], table, Settings(privacy=Privacy(grid_m=1000.0, drop_names=True)))
    (out,) = table.logs.values()
    assert [one.name for one in out.actors] == ["1"]
    assert out.source == f"log {out.digest[:12]}"
    summary = ingest([folder / "a.csv"], Kept(), Settings(privacy=Privacy(cut_s=5.0)))
    assert "a.csv: it lasts" in summary.refused[0].why


def test_a_library_that_is_not_there_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ConfigError with what to install, not a refusal of the log."""

    def gone(name: str) -> object:
        raise ModuleNotFoundError(name=name.rsplit(".", 1)[-1])

    monkeypatch.setattr(module.importlib, "import_module", gone)
    with pytest.raises(ConfigError, match=r"hotloop\[driving\]"):
        read(folder / "c.xml")
    monkeypatch.undo()
    assert importlib.import_module("lxml")


def test_the_command(folder: Path, tmp_path: Path) -> None:
    """Says each log and the sum; its status is 1 where one was refused; the table holds the logs."""
    said: list[str] = []
    assert main([folder], tmp_path / "lake", Settings(region="eu"), said.append) == 1
    assert len(said) == 7
    assert said[3].startswith(f"4: refused {folder}/d.csv: d.csv: ")
    assert main([folder / "a.csv"], tmp_path / "lake", Settings(region="eu"), said.append) == 0
    assert said[-2].endswith("a.csv: known already")
    assert len(TrackLake(tmp_path / "lake", "eu").known()) == 3


def test_every_real_log_comes_in(data_dir: Path) -> None:
    """22 CommonRoad, 33 of NGSIM, one segment of comma2k19: none refused, each by one digest."""
    table = Kept()
    summary = ingest([data_dir / "driving"], table)
    assert (len(summary.ingested), summary.known, summary.refused) == (56, (), ())
    assert all(isinstance(one, Ingested) and replace(one) == one for one in summary.ingested)
    assert not {Known, Refused} & {type(one) for one in summary.ingested}


def test_a_name_that_is_no_text_is_kept_as_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 (an old disk's names) become question marks; broken or not, nothing else stops."""
    place = tmp_path / "logs"
    place.mkdir()
    (place / os.fsdecode(b"stra\xdfe.csv")).write_text(CSV.format("one"))
    (place / os.fsdecode(b"stra\xdfe broken.csv")).write_text("nothing")
    (place / "z.csv").write_text(CSV.format("two"))
    lake, said = TrackLake(tmp_path / "table"), []
    summary = ingest([place], lake)
    assert (len(summary.ingested), len(summary.refused)) == (2, 1)
    assert lake.read(digest(CSV.format("one").encode())).source == "stra?e.csv"
    assert main([place], tmp_path / "table", say=said.append) == 1
    assert all(line.encode() for line in said)
    assert "stra?e broken.csv: no rows" in "\n".join(said)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """Nobody writes into it: opened, it would hold up all others for ever."""
    os.mkfifo(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text(CSV.format("one"))
    summary = ingest([tmp_path], Kept())
    assert [one.why for one in summary.refused] == ["a.csv: it is a pipe, which would be waited for; files are read"]
    assert len(summary.ingested) == 1


def test_a_link_that_leads_nowhere_is_refused_by_its_name(tmp_path: Path) -> None:
    """As any file that cannot be read."""
    (tmp_path / "a.csv").symlink_to(tmp_path / "gone.csv")
    (why,) = [one.why for one in ingest([tmp_path, tmp_path / "b.csv"], Kept()).refused if one.path.name == "a.csv"]
    assert why.startswith("a.csv: it cannot be read")


CUT = {"a.csv": CSV.format("one").encode(), "b.csv.gz": gzip.compress(CSV.format("one").encode(), mtime=0),
       "c.xml": XML.encode()}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_a_log_cut_short_anywhere_is_refused_by_name_or_has_less_of_the_same(tmp_path: Path, name: str) -> None:
    """What was never said does not come out: packed and marked-up files are refused at every length."""
    (tmp_path / name).write_bytes(CUT[name])
    whole = read(tmp_path / name)
    places = set(zip(whole.frame.tolist(), whole.x.tolist(), strict=True))
    refused = []
    for size in range(len(CUT[name])):
        (tmp_path / name).write_bytes(CUT[name][:size])
        try:
            part = read(tmp_path / name)
        except InputError as error:
            refused.append(str(error))
            continue
        assert name == "a.csv"
        rows = list(zip(part.frame.tolist(), part.x.tolist(), strict=True))
        assert set(rows[:-1]) <= places
        assert len(rows) < len(places) or size >= len(CUT[name]) - 3
    assert refused
    assert all(name in why for why in refused)


def segment(place: Path, **more: object) -> Path:
    """A segment of comma2k19 of one second at 10 m/s, by CAN alone."""
    can = place / "processed_log/CAN/speed"
    can.mkdir(parents=True)
    at = 100.0 + np.arange(0, 1.01, 0.01)
    for name, values in {"t": at, "value": np.full((len(at), 1), 10.0), **more}.items():
        with (can / name).open("wb") as file:
            np.save(file, values)
    return place


def test_a_segment_is_one_log_by_its_folders_names(tmp_path: Path) -> None:
    """Alone or among others; what lies within it is no log of its own; the digest is of what it holds."""
    one, two = segment(tmp_path / "route/7"), segment(tmp_path / "route/8")
    (one / "processed_log/CAN/notes.csv").write_text(CSV.format("one"))
    (tmp_path / "route/a.csv").write_text(CSV.format("two"))
    assert list(logs_in(tmp_path)) == [one, two, tmp_path / "route/a.csv"] or list(logs_in(tmp_path)) == [
        tmp_path / "route/a.csv", one, two
    ]  # fmt: skip
    assert list(logs_in(one)) == [one]
    tracks = read(one)
    assert (tracks.source, tracks.frames) == ("route/7", 11)
    assert tracks.digest == read(two).digest, "the same bytes in another folder are the same log"
    summary = ingest([tmp_path], Kept())
    assert (len(summary.ingested), len(summary.known)) == (2, 1)


def test_a_segments_digest_changes_with_any_byte_and_with_any_name(tmp_path: Path) -> None:
    """Not with where it lies; global_pos, as some releases have it, is global_pose."""
    one = segment(tmp_path / "route/7")
    before = read(one).digest
    (one / "global_pos").mkdir()
    for name, shape in (("times", (5,)), ("positions", (5, 3)), ("orientations", (5, 4))):
        with (one / f"global_pos/frame_{name}").open("wb") as file:
            np.save(file, np.arange(np.prod(shape), dtype=float).reshape(shape))
    with pytest.raises(InputError, match="route/7: global_pose holds no places on the Earth"):
        read(one)
    (one / "global_pos").rename(one / "elsewhere")
    assert read(one).digest == before
    other = segment(tmp_path / "route/9", value=np.full((101, 1), 10.5))
    assert read(other).digest != before


def test_a_segment_is_bounded_over_all_of_its_files(tmp_path: Path) -> None:
    """Two that fit by themselves and not together are refused; so is one that has none."""
    one = segment(tmp_path / "route/7")
    sizes = [path.stat().st_size for path in (one / "processed_log/CAN/speed").iterdir()]
    fits = Reading(Bounds(bytes_max=sum(sizes)))
    assert read(one, fits).frames == 11
    with pytest.raises(InputError, match=r"route/7: (t|value): more than \d+ bytes"):
        read(one, Reading(Bounds(bytes_max=sum(sizes) - 1)))
    (tmp_path / "route/8/processed_log/CAN").mkdir(parents=True)
    with pytest.raises(InputError, match="route/8: neither global_pose nor CAN/speed"):
        read(tmp_path / "route/8")


def test_a_table_that_had_it_first_makes_it_known(folder: Path) -> None:
    """Another process put the log in between looking and keeping: it is known, not ingested twice."""

    class Raced(Kept):
        def known(self) -> frozenset[str]:
            return frozenset()

    table = Raced()
    first, again = ingest([folder / "a.csv"], table), ingest([folder / "a.csv"], table)
    assert (len(first.ingested), len(again.ingested), len(again.known)) == (1, 0, 1)
