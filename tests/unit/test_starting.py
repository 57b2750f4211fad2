"""Labels to start from: through the loop like anything else, once each."""

from __future__ import annotations

import pytest

from hotloop.errors import DiskFullError, LabelError
from hotloop.starting import REVIEWER, import_labels
from hotloop.types import Claim, Feedback, Payload, Prediction


def tracked(pieces, what, count):
    """Shows no progress, but checks that there would be some to show."""
    assert what
    assert count == len(pieces)
    yield from pieces


def give(loop, count):
    """Let the loop's vertical have labels for `count` pieces."""

    def piece(number):
        x = (number - count / 2 + 0.25, 1.0)
        return lambda: (Payload(str(list(x)).encode()), (Claim(label="worn" if x[0] > 0 else "ok"),))

    loop.vertical.labelled = lambda: [piece(number) for number in range(count)]


def test_a_vertical_without_labels_has_nothing_to_import(stand):
    """Most loops begin cold."""
    assert import_labels(stand().engine, tracked) == 0


def test_each_piece_is_predicted_verified_and_learned(stand):
    """By the reviewer "labels", so that it can be traced and unlearned like any verdict."""
    loop = stand()
    give(loop, 40)
    assert import_labels(loop.engine, tracked) == 40
    feedback = loop.bodies(Feedback)
    assert {one.reviewer for one in feedback} == {REVIEWER}
    assert len({one.prediction for one in feedback}) == len(loop.bodies(Prediction)) == 40
    assert not loop.engine.behind
    assert loop.sense((9.0, 1.0))[0].outputs[0].label == "worn"
    assert loop.sense((-9.0, 1.0))[0].outputs[0].label == "ok"


def test_they_share_few_releases(stand):
    """A turn every 16 pieces: a start must not publish a model for each."""
    loop = stand()
    give(loop, 40)
    import_labels(loop.engine, tracked)
    assert len(loop.releases) - 1 == 3


def test_a_second_start_learns_only_what_is_new(stand):
    """Keys are made of the content: nothing counts twice, also after a restart."""
    loop = stand()
    give(loop, 10)
    import_labels(loop.engine, tracked)
    loop.engine.close()
    loop.start()
    version = loop.engine.model.version
    assert import_labels(loop.engine, tracked) == 0
    assert loop.engine.model.version == version
    assert len(loop.bodies(Feedback)) == 10


@pytest.mark.parametrize("place", range(6))
def test_a_start_that_was_cut_goes_on_where_it_was(stand, place):
    """The disk fills between any two appends, also between a prediction and its label: each counts once."""
    loop = stand()
    give(loop, 3)
    loop.log.fails = [None] * place + [DiskFullError("full")]
    with pytest.raises(DiskFullError):
        import_labels(loop.engine, tracked)
    loop.start()
    import_labels(loop.engine, tracked)
    assert len(loop.bodies(Prediction)) == len(loop.bodies(Feedback)) == 3
    assert loop.engine.lineage.now.reflex.count == 3


def test_a_piece_that_cannot_be_read_is_named(stand):
    """The error of the label reader passes through; what came before is kept."""
    loop = stand()
    give(loop, 2)
    pieces = loop.vertical.labelled()

    def broken():
        raise LabelError("labels.txt, line 3: not a box")

    loop.vertical.labelled = lambda: [*pieces, broken]
    with pytest.raises(LabelError, match="line 3"):
        import_labels(loop.engine, tracked)
    assert len(loop.bodies(Feedback)) == 2
