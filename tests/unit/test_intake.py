"""What comes in over HTTP is checked before it is acknowledged."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from hotloop import intake
from hotloop.errors import RequestError
from hotloop.types import (
    Claim,
    Event,
    Feedback,
    Judgement,
    Live,
    Notice,
    Observation,
    Output,
    Prediction,
    Proposals,
    Release,
)

HOSTILE_NAMES = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "a\\b",
    "-x",
    "_x",
    "a b",
    "a\n",
    "a\x00",
    "é",
    "a" * 65,
    "%2e%2e",
    "a:b",
    "~",
]
DIGEST = "0" * 64


def prediction(**changes: Any) -> Prediction:
    """A prediction that is in order, but for the changes."""
    given: dict[str, Any] = {
        "id": "line-1:1",
        "observation": Observation(id="line-1:1", site="s", line="line-1", at=1.0, digest=DIGEST),
        "version": 1,
        "outputs": (Output("ok", 0.5),),
        "confidence": 0.5,
        "proposals": Proposals(1, 2, b"\x00" * 4),
        **changes,
    }
    return Prediction(**given)


def sees(**changes: Any) -> Prediction:
    """A prediction of an observation with changes."""
    return prediction(observation=msgspec.structs.replace(prediction().observation, **changes))


def feedback(**changes: Any) -> Feedback:
    """A feedback that is in order, but for the changes."""
    given: dict[str, Any] = {"prediction": "line-1:1", "reviewer": "ann", "claims": (Claim(0, "ok"),), **changes}
    return Feedback(**given)


def taken(body: Any) -> None:
    """Check one event."""
    intake.events([Event("line-1", 1, body)])


@pytest.mark.parametrize("text", HOSTILE_NAMES)
def test_hostile_names_are_refused_everywhere(text: str) -> None:
    """Line, site, reviewer and device take names only."""
    for check in (
        lambda: intake.name(text, "line"),
        lambda: intake.device_name(text),
        lambda: taken(sees(line=text)),
        lambda: taken(sees(site=text)),
        lambda: taken(feedback(reviewer=text)),
        lambda: taken(Live(line=text, version=1)),
        lambda: intake.events([Event(text, 1, feedback())]),
    ):
        with pytest.raises(RequestError):
            check()


@pytest.mark.parametrize("text", ["", "a/b", "..", "a b", "\x00", "a" * 129, "é", ":a", "a\n"])
def test_hostile_ids_are_refused(text: str) -> None:
    """Predictions and observations are named with ids only."""
    for check in (
        lambda: intake.identifier(text, "id"),
        lambda: taken(prediction(id=text)),
        lambda: taken(sees(id=text)),
        lambda: taken(feedback(prediction=text)),
    ):
        with pytest.raises(RequestError):
            check()


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "../" + "0" * 61, "0" * 64 + "\n"])
def test_hostile_digests_are_refused(text: str) -> None:
    """A digest is 64 small hex digits and nothing else."""
    with pytest.raises(RequestError):
        intake.content_digest(text, "digest")
    for field in ("digest", "reference"):
        with pytest.raises(RequestError):
            taken(sees(**{field: text}))


@pytest.mark.parametrize("device", ["hub", "engine", "audit", "audit-0011"])
def test_nobody_writes_as_the_hub(device: str) -> None:
    """The hub's own devices cannot be used from outside: their keys would collide."""
    with pytest.raises(RequestError, match="own"):
        intake.events([Event(device, 1, feedback())])
    with pytest.raises(RequestError, match="own"):
        intake.key(f"{device}:1")


@pytest.mark.parametrize("name", ["hub:7", "labels:2", "audit-0f:1"])
def test_ids_of_the_hubs_predictions_are_its_own(name: str) -> None:
    """The first prediction under an id stands, so that no line may give one that the hub would give."""
    with pytest.raises(RequestError, match="only the hub"):
        intake.events([Event("line-1", 1, prediction(id=name))])


@pytest.mark.parametrize("sequence", [-1, 2**63, 10**40])
def test_sequences_fit_the_log(sequence: int) -> None:
    """A sequence number that the log's integers cannot hold is refused at the door."""
    with pytest.raises(RequestError, match="sequence"):
        intake.events([Event("line-1", sequence, feedback())])


@pytest.mark.parametrize(
    "body",
    [
        prediction(),
        prediction(proposals=Proposals(0, 0, b""), outputs=()),
        prediction(proposals=Proposals(1, 1, b"\x00" * 4, kind="f4")),
        prediction(proposals=Proposals(1, 2, b"\x00" * 4, ((0.0, 0.0, 1.0, 1.0),))),
        feedback(),
        feedback(claims=(Claim(None, "hole", (0.0, 1.0, 2.0, 3.0)), Claim(value=1.5))),
        Live(line="line-1", version=3),
        Notice(subject="spool", text="full"),
    ],
    ids=lambda b: type(b).__name__,
)
def test_what_a_line_sends_is_taken(body: Any) -> None:
    """Predictions, feedback, acknowledgements and notices that are in order pass."""
    taken(body)


@pytest.mark.parametrize(
    "body",
    [
        Release(version=2, parent=1, tier="reflex", digest="", learned_to=1),
        Judgement(
            candidate=2, champion=1, decision="promote", reason="", count=0, difference=0.0, e_value=1.0, learned_to=1
        ),
    ],
    ids=lambda b: type(b).__name__,
)
def test_a_line_cannot_judge_or_release(body: Any) -> None:
    """What only the hub says is refused from a line, so that no line can forge a release."""
    with pytest.raises(RequestError, match="hub's own"):
        taken(body)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_but_finite_ones(value: float) -> None:
    """NaN and infinity are refused wherever a number stands."""
    bodies = [
        prediction(at=value),
        prediction(confidence=value),
        prediction(propensity=value),
        prediction(outputs=(Output("ok", value),)),
        prediction(outputs=(Output("ok", 0.5, (0.0, value)),)),
        prediction(proposals=Proposals(1, 1, np.array([value], "<f2").tobytes())),
        prediction(proposals=Proposals(1, 1, np.array([value], "<f4").tobytes(), kind="f4")),
        prediction(proposals=Proposals(1, 2, b"\x00" * 4, ((value,),))),
        sees(at=value),
        feedback(at=value),
        feedback(claims=(Claim(value=value),)),
        feedback(claims=(Claim(0, "ok", (value, 0.0)),)),
        Live(line="line-1", version=1, at=value),
        Notice(subject="s", text="t", at=value),
    ]
    for body in bodies:
        with pytest.raises(RequestError):
            taken(body)


@pytest.mark.parametrize(
    "body",
    [
        prediction(confidence=1.1),
        prediction(confidence=-0.1),
        prediction(propensity=2.0),
        prediction(version=-1),
        prediction(version=2**63),
        prediction(outputs=(Output("ok", 1.5),)),
        prediction(outputs=(Output("x" * 201, 0.5),)),
        prediction(outputs=(Output("ok", 0.5, None, 1),)),
        prediction(outputs=(Output("ok", 0.5, None, -1),)),
        prediction(outputs=(Output("ok", 0.5, (0.0,) * 65),)),
        prediction(outputs=(Output("ok", 0.5),) * 10_001),
        prediction(proposals=Proposals(1, 2, b"\x00" * 3)),
        prediction(proposals=Proposals(-1, -2, b"\x00" * 4)),
        prediction(proposals=Proposals(10**30, 10**30, b"")),
        prediction(proposals=Proposals(1, 2, b"\x00" * 4, ((1.0,), (2.0,)))),
        prediction(proposals=Proposals(1, 1, np.array([2e6], "<f4").tobytes(), kind="f4")),
        prediction(proposals=Proposals(10_001, 0, b"")),
        feedback(evidence="x" * 4001),
        feedback(claims=(Claim(-1, "ok"),)),
        feedback(claims=(Claim(10**30, "ok"),)),
        feedback(claims=(Claim(0, "x" * 201),)),
        feedback(claims=(Claim(0, "ok"),) * 10_001),
        Live(line="line-1", version=-1),
        Live(line="line-1", version=2**70),
        Notice(subject="x" * 201, text=""),
        Notice(subject="x", text="x" * 4001),
    ],
    ids=range(26),
)
def test_what_cannot_be_is_refused(body: Any) -> None:
    """Scores outside [0, 1], features that are not all there, indices of nothing, texts without end."""
    with pytest.raises(RequestError):
        taken(body)


def test_the_event_at_fault_is_named() -> None:
    """In a batch, the message says which event is wrong."""
    with pytest.raises(RequestError, match=r"^event 1: "):
        intake.events([Event("line-1", 1, feedback()), Event("line-1", 2, feedback(reviewer=""))])


@pytest.mark.parametrize(
    ("header", "key"),
    [("cell-7:42", ("cell-7", 42)), ("a:0", ("a", 0)), (f"a:{2**63 - 1}", ("a", 2**63 - 1))],
)
def test_an_idempotency_key_is_device_and_sequence(header: str, key: tuple[str, int]) -> None:
    """The header is split at its last colon."""
    assert intake.key(header) == key


@pytest.mark.parametrize(
    "header",
    ["", "a", ":1", "a:", "a:-1", "a:+1", "a:1.0", "a: 1", "a:1 ", f"a:{2**63}", "a:" + "9" * 5000, "a:b:1", "a:١"],
)
def test_other_idempotency_keys_are_refused(header: str) -> None:
    """What is no device and whole number is a RequestError that shows the form."""
    with pytest.raises(RequestError):
        intake.key(header)
