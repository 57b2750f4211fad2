"""Which release comes next, and when: every branch."""

from __future__ import annotations

import msgspec
import pytest

from hotloop.config import RolloutConfig
from hotloop.errors import ModelError
from hotloop.rollout import as_release, next_release, wait_s
from hotloop.types import Judgement, Model, digest

MODEL = Model(
    version=5, parent=4, tier="reflex", backbone="", head=b"head", labels=("a",), recipe="r", learned_to=17, at=3.5
)
PROMOTE = Judgement(
    candidate=5, champion=4, decision="promote", reason="fine", count=30, difference=0.0, e_value=1.0, learned_to=17
)


def changed(record, **parts):
    return msgspec.structs.replace(record, **parts)


@pytest.mark.parametrize(
    ("last", "now", "wanted"),
    [(10.0, 10.0, 0.5), (10.0, 10.2, 0.3), (10.0, 10.5, 0.0), (10.0, 99.0, 0.0), (-1e9, 0.0, 0.0)],
)
def test_releases_keep_their_distance(last, now, wanted):
    """The rest of the interval is waited, and never less than nothing."""
    assert wait_s(last, now, RolloutConfig(interval_s=0.5)) == pytest.approx(wanted)


def test_without_an_interval_there_is_no_wait():
    """0 lets each release out at once."""
    assert wait_s(10.0, 10.0, RolloutConfig(interval_s=0.0)) == 0.0


def test_a_promoted_model_is_released_as_what_it_is():
    """Version, parent, tier, offset and time are the model's; the digest is of the head's bytes; to everybody."""
    found = next_release(MODEL, PROMOTE)
    assert found == as_release(MODEL)
    assert (found.version, found.parent, found.tier, found.learned_to, found.at) == (5, 4, "reflex", 17, 3.5)
    assert found.digest == digest(b"head")
    assert found.stage == "everywhere"


@pytest.mark.parametrize("version", [4, 3, 0])
def test_a_version_that_does_not_rise_is_not_released(version):
    """Not even if it was judged well: a line would refuse it."""
    with pytest.raises(ModelError, match=f"version {version} does not rise above 4"):
        next_release(changed(MODEL, version=version), PROMOTE)


@pytest.mark.parametrize("decision", ["refuse", "hold"])
def test_what_was_not_promoted_is_not_released(decision):
    """The reason of the gate is in the error."""
    with pytest.raises(ModelError, match="much worse"):
        next_release(MODEL, changed(PROMOTE, decision=decision, reason="much worse"))


@pytest.mark.parametrize("tier", ["reflex", "refresh", "consolidate", "rollback"])
def test_what_was_not_judged_is_not_released(tier):
    """No tier goes round the gate."""
    with pytest.raises(ModelError, match="was not judged"):
        next_release(changed(MODEL, tier=tier), None)


def test_the_first_model_needs_no_judgement():
    """There is nothing to judge it against."""
    first = changed(MODEL, version=1, parent=0, tier="start")
    assert next_release(first, None).tier == "start"


def test_a_start_model_may_be_judged_too():
    """A judgement is never ignored, whatever the tier."""
    with pytest.raises(ModelError):
        next_release(changed(MODEL, tier="start"), changed(PROMOTE, decision="refuse"))
