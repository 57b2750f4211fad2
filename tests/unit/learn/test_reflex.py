"""The reflex: the laws of a learner, sites left out, suspicion, and a state refused if not its own."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from hotloop.config import LearnConfig
from hotloop.errors import ModelError
from hotloop.learn import Moments, Reflex
from hotloop.learn.reflex import SITES_MAX
from hotloop.testing.checks.learner import LAWS, Law
from hotloop.types import (
    Change,
    Claim,
    Example,
    Feedback,
    Floats,
    Head,
    Observation,
    Prediction,
    Proposals,
    Rows,
    digest,
)

LABELS = ("dent", "scratch", "bend")
COLUMNS = 8
SITES = ("berlin", "lima", "osaka")
START = Head(LABELS, np.random.default_rng(0).normal(size=(COLUMNS, 3)), (0.5, 0.6, 0.7))


def teach(example: Example) -> Rows:
    """A row for each proposal; each verdict on one makes its target the mean of what was said."""
    x = example.prediction.proposals.array()
    y, w = np.zeros((len(x), len(LABELS))), np.zeros(len(x))
    for feedback in example.feedback:
        for claim in feedback.claims:
            if claim.label is not None and claim.output is not None:
                y[claim.output, LABELS.index(claim.label)] += 1 / len(example.feedback)
                w[claim.output] += 0.5
    return Rows(x[w > 0], y[w > 0], w[w > 0])


def example(seed: int, site: str = "", verdicts: int = 1, rows: int = 4) -> Example:
    """A seeded example; its prediction and its verdicts follow from the seed."""
    rng = np.random.default_rng(seed)
    seen = Observation(id=f"o{seed}", site=site or SITES[seed % 3], line="l", at=0.0, digest="0")
    data = rng.normal(size=(rows, COLUMNS)).astype("<f2").tobytes()
    prediction = Prediction(
        id=f"p{seed}",
        observation=seen,
        version=1,
        outputs=(),
        confidence=1.0,
        proposals=Proposals(rows, COLUMNS, data),
    )
    said = tuple(
        Feedback(
            prediction=prediction.id,
            reviewer=f"r{reviewer}",
            claims=tuple(Claim(row, LABELS[rng.integers(3)]) for row in range(rows)),
        )
        for reviewer in range(verdicts)
    )
    return Example(prediction, said)


def news(*examples: Example) -> list[Change]:
    return [Change(offset, None, one) for offset, one in enumerate(examples, 1)]


def make(start: Head = START, **config: float) -> Reflex:
    return Reflex(teach, start, LearnConfig(**config))


def taught(*examples: Example) -> Reflex:
    reflex = make()
    reflex.learn(news(*examples))
    return reflex


def refit(*examples: Example) -> Floats:
    """The head by the definition."""
    rows = [teach(one) for one in examples]
    A, B = np.eye(COLUMNS), np.array(START.weights)
    for block in rows:
        A += (block.x.T * block.w) @ block.x
        B += (block.x.T * block.w) @ block.y
    return np.linalg.solve(A, B)


def near(head: Head, weights: Floats) -> bool:
    return bool(np.allclose(head.weights, weights, rtol=1e-9, atol=1e-10))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_it_keeps_the_law(law: Law) -> None:
    """Each law of the Learner port holds."""
    law(make, lambda seed, count: news(*(example(1000 * seed + i) for i in range(count))))


def test_it_starts_as_the_start_head() -> None:
    """Before anything is learned: the start's weights, labels and thresholds."""
    head = make().head()
    assert near(head, START.weights)
    assert (head.labels, head.thresholds) == (LABELS, START.thresholds)


def test_the_head_is_the_refit() -> None:
    """Weights by verdict count, several sites, several rows: what the definition says."""
    examples = [example(i, verdicts=1 + i % 3) for i in range(20)]
    reflex = taught(*examples)
    assert near(reflex.head(), refit(*examples))
    assert reflex.count == 80


def test_a_second_reviewer_changes_only_the_rows_they_differ_on() -> None:
    """Rows that `before` and `after` teach alike are not taken out and put back: their bits stay."""
    one = example(1, rows=4)
    claims = list(one.feedback[0].claims)
    claims[2] = Claim(2, next(label for label in LABELS if label != claims[2].label))
    changed = Example(one.prediction, (msgspec.structs.replace(one.feedback[0], claims=tuple(claims)),))
    reflex = taught(one, example(2))
    applied = []
    apply = reflex._moments.apply
    reflex._moments.apply = lambda steps: (
        applied.extend((sign, len(rows.w)) for sign, rows in steps),
        apply(steps),
    )[1]
    reflex.learn([Change(3, one, changed)])
    assert applied == [(-1, 1), (1, 1)]
    assert near(reflex.head(), refit(changed, example(2)))


def test_a_second_reviewer_who_agrees_adds_weight() -> None:
    """Where `before` and `after` differ in nothing but weight, the rows are still exchanged."""
    one = example(1)
    agreed = Example(
        one.prediction, (*one.feedback, msgspec.structs.replace(one.feedback[0], reviewer="zoe"))
    )
    reflex = taught(one, example(2))
    reflex.learn([Change(3, one, agreed)])
    assert near(reflex.head(), refit(agreed, example(2)))


def test_more_or_fewer_rows_than_before_are_exchanged() -> None:
    """A verdict that grows by claims, or loses them, is replaced whole."""
    full = example(3, rows=4)
    short = Example(
        full.prediction, (msgspec.structs.replace(full.feedback[0], claims=full.feedback[0].claims[:2]),)
    )
    reflex = taught(short)
    reflex.learn([Change(2, short, full)])
    assert near(reflex.head(), refit(full))
    reflex.learn([Change(3, full, short)])
    assert near(reflex.head(), refit(short))
    assert reflex.count == 2


@pytest.mark.parametrize("site", SITES)
def test_a_site_left_out_equals_never_having_seen_it(site: str) -> None:
    """After learning, changing, unlearning: the head of all other sites' examples; ours stays as it was."""
    examples = [example(i) for i in range(30)]
    reflex = taught(*examples)
    reflex.unlearn(examples[:5])
    reflex.learn([Change(31, examples[6], example(6, verdicts=2))])
    kept = [*examples[5:6], example(6, verdicts=2), *examples[7:]]
    before = reflex.state()
    others = [one for one in kept if one.prediction.observation.site != site]
    assert near(reflex.leave_out(site), refit(*others))
    assert near(reflex.head(), refit(*kept))
    assert reflex.state() == before


def test_an_example_that_turns_out_to_be_of_another_site_moves_there() -> None:
    """The same rows from another site: the head stays, what is left out does not."""
    lima, osaka, first = example(1, site="lima"), example(1, site="osaka"), example(0)
    reflex = taught(first, lima)
    reflex.learn([Change(3, lima, osaka)])
    assert near(reflex.head(), refit(first, osaka))
    assert near(reflex.leave_out("lima"), refit(first, osaka))
    assert near(reflex.leave_out("osaka"), refit(first))


def test_a_site_that_taught_nothing_is_left_out_without_a_difference() -> None:
    """The head that never saw a new site is the head; with nothing learned it is the start."""
    assert near(make().leave_out("nowhere"), START.weights)
    reflex = taught(example(0), example(1))
    assert near(reflex.leave_out("nowhere"), reflex.head().weights)
    only = taught(example(0))
    assert near(only.leave_out("berlin"), START.weights)


def test_sites_are_bounded_and_those_that_come_later_share_one() -> None:
    """Beyond SITES_MAX sites the sums are pooled and left out together; memory and state stop growing."""
    examples = [example(i, site=f"s{i}") for i in range(SITES_MAX + 3)]
    reflex = taught(*examples)
    assert len(reflex._others) == SITES_MAX - 1
    assert near(reflex.leave_out("s0"), refit(*examples[1:]))
    assert near(reflex.leave_out("s63"), refit(*examples[:63], *examples[64:]))
    for pooled in ("s64", "s66"):
        assert near(reflex.leave_out(pooled), refit(*examples[:64]))
    other = make()
    other.restore(reflex.state())
    assert near(other.leave_out("s65"), refit(*examples[:64]))
    size = len(reflex.state())
    reflex.learn(news(*(example(i, site=f"s{i}") for i in range(100, 110))))
    assert len(reflex.state()) == size


def test_a_liar_is_suspicious() -> None:
    """Of examples that follow one rule, the one with wrong verdicts has the largest suspicion."""
    truth = np.random.default_rng(5).normal(size=(COLUMNS, 3))
    honest = []
    for seed in range(60):
        one = example(seed)
        best = (one.prediction.proposals.array() @ truth).argmax(1)
        claims = tuple(Claim(row, LABELS[label]) for row, label in enumerate(best))
        honest.append(Example(one.prediction, (msgspec.structs.replace(one.feedback[0], claims=claims),)))
    worst = tuple(
        Claim(row, LABELS[label])
        for row, label in enumerate((honest[7].prediction.proposals.array() @ truth).argmin(1))
    )
    lie = Example(honest[7].prediction, (msgspec.structs.replace(honest[7].feedback[0], claims=worst),))
    reflex = taught(*honest[:7], lie, *honest[8:])
    doubts = [reflex.suspicion(one) for one in (*honest[:7], lie, *honest[8:])]
    assert int(np.argmax(doubts)) == 7


def test_suspicion_is_the_residual_by_the_head_that_never_saw_the_example() -> None:
    """Equal to unlearning it and looking; all of its rows are left out at once, so copies do not vouch."""
    examples = [example(i) for i in range(12)]
    reflex = taught(*examples)
    found = reflex.suspicion(examples[4])
    rows = teach(examples[4])
    reflex.unlearn([examples[4]])
    assert found == pytest.approx(float(np.abs(rows.y - rows.x @ reflex.head().weights).max()), rel=1e-9)


def test_what_teaches_nothing_is_neither_learned_nor_suspicious() -> None:
    """An example without rows leaves every bit alone."""
    silent = Example(example(1).prediction, ())
    reflex = taught(example(2))
    before = reflex.state()
    reflex.learn(news(silent))
    reflex.unlearn([silent])
    reflex.learn([Change(9, silent, silent), Change(10, None, None)])
    assert reflex.state() == before
    assert reflex.suspicion(silent) == 0.0


def test_leverage_falls_where_something_was_learned() -> None:
    """What was learned is less new than before; the same as the moments' own."""
    reflex = make()
    rows = teach(example(1))
    before = reflex.leverage(rows.x)
    reflex.learn(news(example(1)))
    assert (reflex.leverage(rows.x) < before).all()
    moments = Moments(COLUMNS, 3, 1.0)
    moments.learn(rows)
    assert np.allclose(reflex.leverage(rows.x), moments.leverage(rows.x))


def test_a_batch_is_learned_whole_or_not_at_all() -> None:
    """One change that cannot be learned refuses its batch, and nothing of it stays."""
    reflex = taught(example(1))
    before = reflex.state()
    huge = np.full((1, COLUMNS), 60_000.0).astype("<f2").tobytes()
    stranger = example(2, rows=1)
    stranger = Example(
        msgspec.structs.replace(stranger.prediction, proposals=Proposals(1, COLUMNS, huge)), stranger.feedback
    )
    with pytest.raises(ModelError, match="never learned"):
        reflex.learn([*news(example(3)), Change(5, stranger, None)])
    with pytest.raises(ModelError, match="never learned"):
        reflex.unlearn([example(1), stranger])
    assert reflex.state() == before


def test_a_vertical_whose_rows_do_not_fit_is_refused() -> None:
    """Rows of another width than the start head: ModelError, by name, and nothing is learned."""
    wide = Reflex(lambda _: Rows(np.ones((1, 9)), np.ones((1, 3)), np.ones(1)), START, LearnConfig())
    with pytest.raises(ModelError, match=r"\(n, 8\)"):
        wide.learn(news(example(1)))
    assert wide.count == 0


@pytest.mark.parametrize("head", [replace(START, labels=("dent",)), replace(START, thresholds=(0.5,))])
def test_a_start_head_must_be_whole(head: Head) -> None:
    """As many labels and thresholds as columns."""
    with pytest.raises(ModelError, match="make them equal"):
        make(head)


@pytest.mark.parametrize(
    "other",
    [
        make(ridge=2.0),
        make(seed=1),
        make(replace(START, labels=("dent", "scratch", "crack"))),
        make(replace(START, thresholds=(0.5, 0.6, 0.8))),
        make(replace(START, weights=START.weights + 1e-9)),
        make(replace(START, weights=np.vstack([START.weights, START.weights]))),
    ],
)
def test_a_state_of_another_recipe_is_refused(other: Reflex) -> None:
    """Another ridge, seed, label, threshold, prior or width: ModelError, and nothing changes."""
    before = other.state()
    with pytest.raises(ModelError, match="another recipe"):
        other.restore(taught(example(1)).state())
    assert other.state() == before


def test_a_damaged_state_is_refused() -> None:
    """Flipped or cut anywhere, or sealed rightly over something else: ModelError."""
    state = taught(*(example(i) for i in range(6))).state()
    rng = np.random.default_rng(1)
    for place in rng.integers(1, len(state), 200):
        flipped = bytearray(state)
        flipped[place] ^= 1 << rng.integers(0, 8)
        with pytest.raises(ModelError):
            make().restore(state[:place])
        with pytest.raises(ModelError):
            make().restore(bytes(flipped))
    for other in (b"", b"\x80", b"\xff" * 9):
        with pytest.raises(ModelError, match="cannot be read"):
            make().restore(digest(other).encode() + other)
