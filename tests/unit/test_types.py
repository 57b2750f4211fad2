"""The words: digests, features as bytes, and records that survive being written."""

from __future__ import annotations

import hashlib

import msgspec
import numpy as np
import pytest

from hotloop import types
from hotloop.errors import ModelError
from hotloop.types import (
    Asked,
    Candidate,
    Claim,
    Command,
    Declined,
    Event,
    Feedback,
    Judgement,
    Live,
    Notice,
    Observation,
    Output,
    Prediction,
    Proposals,
    Rederived,
    Release,
    Selection,
    Staged,
    digest,
)

SEEN = Observation(id="o", site="s", line="l", at=1.5, digest="d" * 64)
BODIES = [
    Prediction(
        id="p",
        observation=SEEN,
        version=3,
        outputs=(Output("open", 0.75, (1.0, 2.0, 3.0, 4.0), 1),),
        confidence=0.75,
        proposals=Proposals(1, 2, b"\0\x3c\0\x40", ((1.0, 2.0, 3.0, 4.0),)),
    ),
    Feedback(prediction="p", reviewer="ann", claims=(Claim(0, None), Claim(label="open")), complete=False),
    Judgement(
        candidate=2, champion=1, decision="refuse", reason="worse", count=30, difference=0.2, e_value=40.0, learned_to=9
    ),
    Release(version=2, parent=1, tier="reflex", digest="d", learned_to=9),
    Live(line="l", version=2),
    Declined(line="line-1", version=3, stays=2, reason="it hung"),
    Notice(subject="log", text="mended"),
    Command(order="unlearn", by="ann", reason="why", selection=Selection(reviewer="bob", since=1.0)),
    Candidate(
        tier="refresh", backbone="b", features="f", count=3, trained_to=9, seconds=1.5, reason="200 new verified pieces"
    ),
    Rederived(backbone="b", features="f", count=3),
    Asked(prediction="p", propensity=0.01),
    Staged(action="offer", first=7, backbone="b", number=1, lines=("line-1",), reason="canary: 1 of 9 lines"),
]


def test_a_digest_is_the_sha256_in_hex():
    """Known values, so that logs of other programs can be compared."""
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest(b"board") == hashlib.sha256(b"board").hexdigest()


@pytest.mark.parametrize(("kind", "dtype"), [("f2", "<f2"), ("f4", "<f4")])
def test_features_come_back_as_they_were_put(kind, dtype):
    """Bytes of either kind become a float64 array, row by row."""
    wanted = np.arange(6).reshape(2, 3) / 4
    found = Proposals(2, 3, wanted.astype(dtype).tobytes(), kind=kind).array()
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, wanted)


def test_features_are_a_copy():
    """Whoever changes the array does not change the record."""
    proposals = Proposals(1, 2, np.zeros(2, "<f2").tobytes())
    proposals.array()[0, 0] = 9
    assert proposals.array()[0, 0] == 0


def test_nothing_worth_judging_is_an_empty_array():
    """A piece without proposals has zero rows."""
    assert Proposals(0, 7, b"").array().shape == (0, 7)


@pytest.mark.parametrize(
    ("rows", "columns", "size"), [(1, 2, 3), (1, 2, 8), (2, 2, 4), (-1, -2, 4), (-1, 2, 0), (1, 0, 2)]
)
def test_features_of_another_size_are_no_features(rows, columns, size):
    """Sizes that do not multiply out are named, negative ones too."""
    with pytest.raises(ModelError, match=f"{rows} x {columns}"):
        Proposals(rows, columns, b"\0" * size).array()


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_an_event_is_the_same_after_the_log(body):
    """Encoded and decoded, each kind of body is equal and of its own type."""
    event = Event("line-1", 7, body)
    found = msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event)
    assert found == event
    assert type(found.body) is type(body)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_records_cannot_be_changed(body):
    """What is logged stays what it was."""
    with pytest.raises(AttributeError):
        body.at = 9.0


def test_each_body_has_a_tag_of_its_own():
    """Kinds are told apart by a word, so that a new one never reads as an old one."""
    tags = [type(body).__struct_config__.tag for body in BODIES]
    assert tags == [type(body).__name__.lower() for body in BODIES]
    assert {type(body) for body in BODIES} == set(types.Body.__args__)


@pytest.mark.parametrize("wrong", ['"claims":[],"compleet":false', '"claims":[{"lable":"x"}]'])
def test_a_misspelt_key_of_a_verdict_is_refused(wrong):
    """It would otherwise teach by its default, which may be the opposite of what was meant."""
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(f'{{"prediction":"p","reviewer":"r",{wrong}}}', type=Feedback)
