"""Ingest: told by content, once each, going on after what is broken and after a stop anywhere."""

from __future__ import annotations

import gzip
import importlib
from dataclasses import replace
from pathlib import Path

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
