"""Where to look, in the whole loop: doubts first, audits in between, and what may pass."""

from __future__ import annotations

import msgspec
import numpy as np

from hotloop.config import ReviewConfig
from hotloop.looking import Looking, rows_of, unsure
from hotloop.types import Asked, Proposals


def test_the_unsure_come_first_and_the_verified_not_at_all(stand):
    """Pieces on the border before pieces far from it; what was verified is gone."""
    loop = stand()
    loop.taught(60, group=5)
    clear = [loop.sense(x)[0] for x in ((2.0, 2.0), (-2.0, -2.0))]
    border, truth = loop.sense((0.02, -0.01))
    loop.settle()
    pieces, passes = loop.engine.review(3)
    assert pieces[0][0] == border.id
    assert {name for name, _, _ in pieces[1:]} == {one.id for one in clear}
    assert pieces[0][1] > pieces[1][1]
    assert "pass" in passes
    loop.say(border, truth)
    loop.settle()
    assert border.id not in {name for name, _, _ in loop.engine.review(9)[0]}


def test_what_is_new_is_said_to_be_new(stand):
    """Far from all that was seen, the reason is novelty."""
    loop = stand()
    loop.taught(60, group=5)
    loop.sense((0.0, 0.01))
    far, _ = loop.sense((40.0, 41.0))
    loop.settle()
    reasons = {name: reason for name, _, reason in loop.engine.review(5)[0]}
    assert reasons[far.id] == "new"


def test_the_audit_is_drawn_logged_and_asked_for(stand, monkeypatch):
    """Of pieces without an output the stated share, once each, with its chance in the log; a restart draws nobody
    anew.
    """
    loop = stand(review=ReviewConfig(audit_share=0.3))
    monkeypatch.setattr(type(loop.vertical), "answer", lambda self, proposals, head: ())
    made = [loop.sense()[0] for _ in range(60)]
    loop.settle()
    asked = loop.bodies(Asked)
    assert 8 <= len(asked) <= 30
    assert {one.propensity for one in asked} == {0.3}
    assert {one.prediction for one in asked} <= {one.id for one in made}
    reasons = [reason for _, _, reason in loop.engine.review(60)[0]]
    assert reasons[: len(asked)] == ["audit"] * len(asked)
    loop.engine.close()
    again = loop.start()
    again.turn()
    assert len(loop.bodies(Asked)) == len(asked)
    report = again.report()
    assert (report.audit.unflagged, report.audit.asked) == (60, len(asked))


def test_memory_is_bounded():
    """The oldest unverified pieces, and the oldest draws, are let go."""
    looking = Looking(ReviewConfig(queue_max=2))
    for name in "abc":
        looking.asked(name)
    assert list(looking._audits) == ["b", "c"]
    looking.done("b")
    assert list(looking._audits) == ["c"]


def test_a_piece_that_teaches_nothing_is_not_unsure(stand):
    """No proposals, or those of another model: no doubt, no error."""
    loop = stand()
    piece, _ = loop.sense((1.0, 1.0))
    learned = loop.engine.lineage.now
    assert len(rows_of(piece, learned)) == 1
    strange = msgspec.structs.replace(piece, proposals=Proposals(1, 9, b"\0" * 18))
    doubt, leverage, vector = unsure(strange, learned)
    assert (doubt, leverage) == (0.0, 0.0)
    np.testing.assert_array_equal(vector, 0.0)
    assert Looking(ReviewConfig()).next(5, learned) == []


def test_verified_pieces_calibrate_what_may_pass(stand):
    """After enough of them the sure ones may, and the words say how many."""
    loop = stand(review=ReviewConfig(error_max=0.2))
    loop.taught(200, group=5)
    assert "may pass without a human" in loop.engine.review(1)[1]
