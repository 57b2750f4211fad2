"""A simulated line: its share of the boards, and a bench that gives each verdict once, in time order."""

from __future__ import annotations

import argparse
import queue
from itertools import islice

import pytest

from hotloop.types import Claim, Feedback, Observation, Prediction, Proposals
from hotloop.verticals.inspection import lines
from hotloop.verticals.inspection.boards import draw_board
from hotloop.verticals.inspection.labels import read_labels, save_deeppcb
from hotloop.verticals.inspection.lines import Bench
from hotloop.verticals.inspection.pieces import Truth

WAIT_S = 10.0  # for another thread; nothing takes this long


class Hub:
    """Takes feedback as the hub's client does."""

    def __init__(self):
        self.taken = queue.Queue()

    def feedback(self, feedback, device, sequence):
        """Keep it."""
        self.taken.put((feedback, device, sequence))

    def all(self):
        """What came until now, in order."""
        return [self.taken.get_nowait() for _ in range(self.taken.qsize())]


class Person:
    """Says of a piece what it is told to say, so much later."""

    name = "verifier-1"

    def __init__(self, *delays_s):
        self.delays_s = list(delays_s)

    def verdicts(self, prediction, truths):
        """One verdict for each delay: the truths."""
        claims = tuple(Claim(label=truth.label, region=truth.region) for truth in truths)
        return [
            (delay, Feedback(prediction=prediction.id, reviewer=self.name, claims=claims, evidence=f"{delay:g}"))
            for delay in self.delays_s
        ]


def prediction(key="line-1:1"):
    seen = Observation(id="o", site="s", line="line-1", at=0.0, digest="")
    return Prediction(
        id=key, observation=seen, version=1, outputs=(), confidence=1.0, proposals=Proposals(0, 0, b"")
    )


TRUTHS = (Truth("open", (1.0, 2.0, 30.0, 40.0)),)


def test_verdicts_go_out_in_time_order():
    """Whatever the order they were made in; on closing those that are left are given at once, each once."""
    hub, person = Hub(), Person(5000.0, 1000.0, 3000.0)
    bench = Bench(hub, person)
    bench.take(prediction("line-1:1"), TRUTHS)
    person.delays_s = [2000.0, 4000.0]
    bench.take(prediction("line-1:2"), ())
    bench.close()
    given = [feedback for feedback, _, _ in hub.all()]
    assert [feedback.evidence for feedback in given] == ["1000", "2000", "3000", "4000", "5000"]
    assert [feedback.prediction for feedback in given] == [f"line-1:{k}" for k in (1, 2, 1, 2, 1)]


def test_verdicts_of_one_moment_keep_their_order(monkeypatch):
    """Nothing is compared but the time and the order in which they came."""
    monkeypatch.setattr(lines.time, "monotonic", lambda: 100.0)
    hub = Hub()
    bench = Bench(hub, Person(7.0))
    for number in range(20):
        bench.take(prediction(f"line-1:{number}"), TRUTHS)
    bench.close()
    assert [feedback.prediction for feedback, _, _ in hub.all()] == [f"line-1:{k}" for k in range(20)]


def test_what_is_due_goes_without_waiting_for_the_end():
    """A verdict due now is at the hub while a later one still waits."""
    hub = Hub()
    bench = Bench(hub, Person(0.0, 9000.0))
    bench.take(prediction(), TRUTHS)
    feedback, device, _ = hub.taken.get(timeout=WAIT_S)
    assert (feedback.evidence, device) == ("0", "verifier-1")
    assert hub.taken.empty()
    bench.close()
    assert [feedback.evidence for feedback, _, _ in hub.all()] == ["9000"]


def test_a_sooner_verdict_overtakes_one_that_waits():
    """The bench looks again when a piece comes."""
    hub, person = Hub(), Person(9000.0)
    bench = Bench(hub, person)
    bench.take(prediction("line-1:1"), TRUTHS)
    person.delays_s = [0.0]
    bench.take(prediction("line-1:2"), TRUTHS)
    assert hub.taken.get(timeout=WAIT_S)[0].prediction == "line-1:2"
    bench.close()
    assert [feedback.prediction for feedback, _, _ in hub.all()] == ["line-1:1"]


def test_each_verdict_has_a_key_of_its_own_and_its_time(monkeypatch):
    """Rising sequences, the reviewer's words as they were, and the moment they were given."""
    monkeypatch.setattr(lines.time, "time", lambda: 1_000_000.0)
    hub = Hub()
    bench = Bench(hub, Person(1000.0, 2000.0))
    bench.take(prediction(), TRUTHS)
    bench.close()
    given = hub.all()
    sequences = [sequence for _, _, sequence in given]
    assert sequences == [10**12, 10**12 + 1]
    for feedback, _, _ in given:
        assert feedback.at == 1_000_000.0
        assert feedback.claims == (Claim(label="open", region=TRUTHS[0].region),)
        assert feedback.reviewer == "verifier-1"
        assert feedback.complete


def test_a_bench_with_nothing_to_say_closes():
    """A piece that is never looked at leaves no verdict."""
    hub = Hub()
    bench = Bench(hub, Person())
    bench.take(prediction(), TRUTHS)
    bench.close()
    assert hub.all() == []
    assert not bench._thread.is_alive()


def given(**changes):
    """The arguments of a line."""
    return argparse.Namespace(**{"data": None, "site_seed": 5, "number": 0, "lines": 2, "seconds": 1.0} | changes)


def test_lines_share_the_drawn_boards(monkeypatch):
    """Each draws every n-th seed from its own number on, of the one plant."""
    asked = []
    monkeypatch.setattr(lines, "plant_boards", lambda *args, **named: asked.append((args, named)) or iter("abc"))
    assert list(islice(lines.boards(given(number=1, lines=3)), 2)) == ["a", "b"]
    assert asked == [((5, 1), {"step": 3})]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Seven boards in DeepPCB's layout, the last two of which are kept from the lines."""
    monkeypatch.setattr(lines, "UNSEEN", 2)
    save_deeppcb(tmp_path, [draw_board(seed, size_px=128) for seed in range(7)])
    return tmp_path


def test_lines_share_a_folder_and_leave_its_end_unseen(folder):
    """Every piece but the last ones is shown by one line, once, in an order that repeats."""
    shown = [list(lines.boards(given(data=folder, number=number))) for number in range(2)]
    again = list(lines.boards(given(data=folder, number=0)))
    assert [board.payload.data for board in again] == [board.payload.data for board in shown[0]]
    wanted = sorted(piece.image.read_bytes() for piece in read_labels(folder).pieces[:5])
    assert sorted(board.payload.data for part in shown for board in part) == wanted
    assert {len(part) for part in shown} == {2, 3}
