"""The moments: stream equals batch, unlearning equals never having seen, and bytes that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import ModelError, NewerFormatError
from hotloop.learn import moments as source
from hotloop.learn.moments import COLUMNS_MAX, SIZE_MAX, Moments, Sums
from hotloop.types import Floats, Rows

KINDS = ("plain", "badly scaled", "collinear", "repeated", "unweighted")
quickly = settings(deadline=None, max_examples=40, derandomize=True, database=None)


@dataclass(frozen=True)
class Problem:
    """Rows to learn, with the ridge and the prior they are learned under."""

    rows: Rows
    ridge: float
    prior: Floats
    seed: int

    def moments(self) -> Moments:
        return Moments(*self.prior.shape, self.ridge, self.prior)

    def learned(self, *rows: Rows) -> Moments:
        moments = self.moments()
        for block in rows or (self.rows,):
            moments.learn(block)
        return moments

    def refit(self, rows: Rows) -> Floats:
        """The head by the definition, with another solver and other sums."""
        A = self.ridge * np.eye(len(self.prior)) + (rows.x.T * rows.w) @ rows.x
        return np.linalg.solve(A, self.ridge * self.prior + (rows.x.T * rows.w) @ rows.y)

    def shuffled(self) -> np.ndarray:
        return np.random.default_rng(self.seed + 1).permutation(len(self.rows.w))


def problem(seed: int, kind: str = "plain", n: int = 40, d: int = 12, c: int = 3) -> Problem:
    """A seeded problem; `kind` says what is nasty about its features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    if kind == "badly scaled":
        x *= 10.0 ** rng.uniform(-2, 2, d)
    if kind == "collinear":
        x = x[:, :2] @ rng.normal(size=(min(d, 2), d)) + 1e-6 * x
    if kind == "repeated":
        x = x[rng.integers(0, min(n, 3), n)]
    w = np.ones(n) if kind == "unweighted" else rng.uniform(0.1, 3.0, n)
    ridge = float(10.0 ** rng.uniform(-1, 1))
    return Problem(Rows(x, rng.normal(size=(n, c)), w), ridge, rng.normal(size=(d, c)), seed)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Problems of every kind and of sizes with fewer and with more rows than columns."""
    return problem(
        draw(st.integers(0, 2**31)),
        draw(st.sampled_from(KINDS)),
        n=draw(st.integers(2, 60)),
        d=draw(st.integers(1, 24)),
        c=draw(st.integers(1, 4)),
    )


def part(rows: Rows, chosen: object) -> Rows:
    return Rows(rows.x[chosen], rows.y[chosen], rows.w[chosen])


def one(rows: Rows, place: int) -> Rows:
    return part(rows, slice(place, place + 1))


def error(found: Floats, right: Floats) -> float:
    """Relative error in the Frobenius norm."""
    return float(np.linalg.norm(found - right) / max(np.linalg.norm(right), 1e-300))


@quickly
@given(problems())
def test_stream_equals_batch_equals_the_definition(p: Problem) -> None:
    """Row by row, in any order, or at once: the head is the refit's."""
    stream = p.learned(*(one(p.rows, i) for i in p.shuffled()))
    right = p.refit(p.rows)
    assert error(stream.weights(), right) <= 1e-8
    assert error(p.learned().weights(), right) <= 1e-8
    assert stream.count == len(p.rows.w)


@quickly
@given(problems())
def test_unlearning_equals_never_having_seen(p: Problem) -> None:
    """Half of the rows, taken out one by one in any order, leave the head of the other half."""
    order = p.shuffled()
    out, kept = order[: len(order) // 2], order[len(order) // 2 :]
    moments = p.learned()
    for place in out:
        moments.unlearn(one(p.rows, place))
    assert error(moments.weights(), p.refit(part(p.rows, kept))) <= 1e-8
    assert moments.count == len(kept)


@quickly
@given(problems())
def test_unlearning_everything_leaves_the_prior(p: Problem) -> None:
    """With all taken out again the head is the one it started from."""
    moments = p.learned()
    moments.unlearn(p.rows)
    assert error(moments.weights(), p.prior) <= 1e-8
    assert moments.count == 0


@quickly
@given(problems())
def test_merging_equals_the_union(p: Problem) -> None:
    """Two sites' moments add up to those of all rows, with the prior counted once; subtracting undoes it."""
    half = len(p.rows.w) // 2
    ours, theirs = p.learned(part(p.rows, slice(half))), p.learned(part(p.rows, slice(half, None)))
    ours.merge(theirs)
    assert error(ours.weights(), p.refit(p.rows)) <= 1e-8
    assert ours.count == len(p.rows.w)
    ours.subtract(theirs.sums)
    assert error(ours.weights(), p.refit(part(p.rows, slice(half)))) <= 1e-8


@quickly
@given(problems(), st.floats(0, 1))
def test_forgetting_scales_the_evidence_and_not_the_prior(p: Problem, gamma: float) -> None:
    """Scaling by gamma is the same as rows of gamma times the weight; the ridge and the prior stay."""
    moments = p.learned()
    moments.scale(gamma)
    assert error(moments.weights(), p.refit(replace(p.rows, w=p.rows.w * gamma))) <= 1e-8


@quickly
@given(problems())
def test_leave_one_out_equals_the_refit_without_each_row(p: Problem) -> None:
    """The residual e / (1 - w h) is the one by the head that never saw the row."""
    found = p.learned().leave_one_out(p.rows)
    for place in range(len(p.rows.w)):
        others = part(p.rows, np.arange(len(p.rows.w)) != place)
        right = p.rows.y[place] - p.rows.x[place] @ p.refit(others)
        assert np.allclose(found[place], right, rtol=1e-7, atol=1e-8)


@quickly
@given(problems(), st.integers(0, 20))
def test_leave_all_out_equals_the_refit_without_the_block(p: Problem, count: int) -> None:
    """The residuals of several rows by the head that saw none of them."""
    block, others = part(p.rows, slice(count)), part(p.rows, slice(count, None))
    right = block.y - block.x @ p.refit(others)
    assert np.allclose(p.learned().leave_all_out(block), right, rtol=1e-7, atol=1e-8)


@quickly
@given(problems())
def test_leaving_a_site_out_equals_the_refit_without_it(p: Problem) -> None:
    """`without` is the head that never saw a site, and leaves the moments as they were."""
    sites = np.random.default_rng(p.seed).integers(0, 3, len(p.rows.w))
    moments = p.learned()
    before = moments.to_bytes()
    for site in range(3):
        alone = p.learned(part(p.rows, sites == site))
        assert error(moments.without(alone).weights(), p.refit(part(p.rows, sites != site))) <= 1e-8
        assert error(moments.with_only(alone).weights(), p.refit(part(p.rows, sites == site))) <= 1e-8
    assert moments.to_bytes() == before


@quickly
@given(problems())
def test_leverage_is_what_it_is_defined_to_be(p: Problem) -> None:
    """It is xᵀ A⁻¹ x, after a stream of learning and unlearning, of learned rows and of new ones."""
    moments = p.learned(*(one(p.rows, i) for i in p.shuffled()))
    out = part(p.rows, slice(0, len(p.rows.w) // 3))
    for place in range(len(out.w)):
        moments.unlearn(one(out, place))
    kept = part(p.rows, slice(len(out.w), None))
    A = p.ridge * np.eye(len(p.prior)) + (kept.x.T * kept.w) @ kept.x
    probes = np.vstack([p.rows.x, np.random.default_rng(p.seed).normal(size=(5, len(p.prior)))])
    right = np.einsum("nd,dn->n", probes, np.linalg.solve(A, probes.T))
    assert np.allclose(moments.leverage(probes), right, rtol=1e-7, atol=1e-10)


def test_a_thousand_unlearned_verdicts_leave_no_trace() -> None:
    """TRUST 11: 1,000 random verdicts, unlearned in random order, equal never having seen them."""
    rng = np.random.default_rng(11)
    p = problem(11, "badly scaled", n=1, d=48, c=5)
    scales = 10.0 ** rng.uniform(-1, 1, 48)
    verdicts = []
    for _ in range(1500):
        n = int(rng.integers(1, 9))
        verdicts.append(
            Rows(rng.normal(size=(n, 48)) * scales, rng.normal(size=(n, 5)), rng.uniform(0.1, 2, n))
        )
    moments = p.learned(*verdicts)
    out = rng.permutation(1500)[:1000]
    for place in out:
        moments.unlearn(verdicts[place])
    never = p.learned(*(verdicts[i] for i in sorted(set(range(1500)) - set(out.tolist()))))
    assert error(moments.weights(), never.weights()) <= 1e-8
    assert error(moments.leverage(verdicts[0].x), never.leverage(verdicts[0].x)) <= 1e-8
    assert moments.count == never.count


def test_a_head_does_not_depend_on_how_calls_were_batched() -> None:
    """The same blocks in one call or in many, with or without leverage asked between: the same bits."""
    p = problem(3, n=60)
    blocks = [(1, part(p.rows, slice(i, i + 4))) for i in range(0, 60, 4)] + [
        (-1, part(p.rows, slice(8, 12)))
    ]
    at_once, singly, by_three = p.moments(), p.moments(), p.moments()
    at_once.apply(blocks)
    for block in blocks:
        singly.apply([block])
        singly.leverage(p.rows.x)
    for i in range(0, len(blocks), 3):
        by_three.apply(blocks[i : i + 3])
        by_three.weights()
    assert at_once.to_bytes() == singly.to_bytes() == by_three.to_bytes()
    assert at_once.weights().tobytes() == singly.weights().tobytes() == by_three.weights().tobytes()


def test_a_restart_goes_on_to_the_same_bits() -> None:
    """Moments restored from bytes give the same head, now and after more is learned and unlearned."""
    p = problem(4, n=60)
    moments = p.learned(part(p.rows, slice(40)))
    twin = Moments.from_bytes(moments.to_bytes())
    assert twin.weights().tobytes() == moments.weights().tobytes()
    for both in (moments, twin):
        both.learn(part(p.rows, slice(40, None)))
        both.unlearn(part(p.rows, slice(10)))
    assert twin.weights().tobytes() == moments.weights().tobytes()
    assert twin.to_bytes() == moments.to_bytes()
    assert (twin.ridge, twin.count) == (moments.ridge, 50)


def test_a_verdict_costs_no_factorisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning, unlearning and leverage of a few rows go by Woodbury: O(d²), however many came before."""
    p = problem(5, n=60, d=40)
    moments = p.learned(part(p.rows, slice(50)))
    moments.leverage(p.rows.x)
    monkeypatch.setattr(source, "dpotrf", None)
    moments.learn(part(p.rows, slice(50, 60)))
    moments.unlearn(one(p.rows, 3))
    moments.leverage(p.rows.x[:3])


def test_an_inverse_that_drifted_is_derived_anew() -> None:
    """An error in A⁻¹, of whatever cause, does not outlive the next verdict."""
    p = problem(6, n=60, d=20)
    moments = p.learned(part(p.rows, slice(59)))
    moments.leverage(p.rows.x)
    assert moments._inverse is not None
    moments._inverse *= 1 + 1e-6
    moments.learn(one(p.rows, 59))
    assert error(moments.leverage(p.rows.x), p.learned().leverage(p.rows.x)) <= 1e-10


@pytest.mark.parametrize("size", [1e2, 1e4, 9e5])
def test_a_dominant_row_can_be_taken_out(size: float) -> None:
    """A row that is nearly all there is in its direction (1 - h near 0) comes out, to its own rounding."""
    p = problem(7, n=10, d=12)
    big = Rows(np.full((1, 12), size / np.sqrt(12)), np.ones((1, 3)), np.ones(1))
    moments = p.learned()
    right = moments.leverage(p.rows.x)
    moments.learn(big)
    moments.leverage(p.rows.x)
    moments.unlearn(big)
    allowed = max(1e-10, 1e-15 * size**2)
    assert error(moments.weights(), p.refit(p.rows)) <= allowed
    assert error(moments.leverage(p.rows.x), right) <= allowed


def test_an_inverse_is_not_updated_across_a_pivot_that_is_its_own_rounding() -> None:
    """What an inverse that is good to a thousandth says of a pivot of a tenth is not believed: it is derived anew."""
    p = problem(7, n=10, d=12)
    kept, doubted = p.learned(), p.learned()
    for moments in (kept, doubted):
        moments.leverage(p.rows.x)
    doubted._drift_max = 1e-3
    for moments in (kept, doubted):
        moments.unlearn(one(p.rows, 3))
    assert kept._inverse is not None
    assert doubted._inverse is None
    assert error(doubted.leverage(p.rows.x), kept.leverage(p.rows.x)) <= 1e-10


def test_rows_that_were_never_learned_are_not_unlearned() -> None:
    """ModelError, and every bit stays as it was, when A would no longer be positive definite."""
    p = problem(8, n=5, d=12)
    moments = p.learned()
    before, head = moments.to_bytes(), moments.weights().tobytes()
    stranger = Rows(100 * np.ones((1, 12)), np.ones((1, 3)), np.ones(1))
    for attempt in (
        lambda: moments.unlearn(stranger),
        lambda: moments.apply([(1, one(p.rows, 0)), (-1, stranger)]),
        lambda: moments.subtract(p.learned(replace(p.rows, w=50 * p.rows.w))),
        lambda: moments.without(p.learned(stranger)),
    ):
        moments.leverage(p.rows.x)
        with pytest.raises(ModelError, match="never learned"):
            attempt()
        assert moments.to_bytes() == before
        assert moments.weights().tobytes() == head


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (Rows(np.full((1, 12), np.nan), np.ones((1, 3)), np.ones(1)), "NaN"),
        (Rows(np.ones((1, 12)), np.full((1, 3), np.inf), np.ones(1)), "NaN or infinity"),
        (Rows(np.ones((1, 12)), np.ones((1, 3)), np.array([np.nan])), "NaN"),
        (Rows(np.ones((1, 11)), np.ones((1, 3)), np.ones(1)), r"must be \(n, 12\)"),
        (Rows(np.ones((1, 12)), np.ones((1, 4)), np.ones(1)), r"must be \(n, 3\)"),
        (Rows(np.ones(12), np.ones((1, 3)), np.ones(1)), r"must be \(n, 12\)"),
        (Rows(np.ones((1, 12)), np.ones((1, 3)), np.ones((1, 1))), r"must be \(n, 1\)"),
        (Rows(np.ones((2, 12)), np.ones((2, 3)), np.ones(1)), "make them equal"),
        (Rows(np.ones((1, 12)), np.ones((2, 3)), np.ones(1)), "make them equal"),
        (Rows(np.ones((1, 12)), np.ones((1, 3)), -np.ones(1)), "negative weight"),
        (Rows(np.full((1, 12), 2 * SIZE_MAX), np.ones((1, 3)), np.ones(1)), "scale"),
        (Rows(np.ones((1, 12)), np.ones((1, 3)), np.full(1, 1e300)), "scale"),
    ],
)
def test_rows_of_another_form_are_refused_whole(rows: Rows, reason: str) -> None:
    """NaN, infinity, wrong shapes, negative weights: a named error, and nothing beside them is learned."""
    p = problem(9)
    moments = p.learned()
    before = moments.to_bytes()
    for attempt in (
        lambda: moments.learn(rows),
        lambda: moments.apply([(1, one(p.rows, 0)), (1, rows)]),
        lambda: moments.leave_one_out(rows),
        lambda: moments.leave_all_out(rows),
        lambda: moments.sums.add(rows),
    ):
        with pytest.raises(ModelError, match=reason):
            attempt()
    assert moments.to_bytes() == before


def test_no_rows_change_nothing() -> None:
    """Blocks without rows are learned, unlearned, and left out without a trace."""
    p = problem(10)
    moments = p.learned()
    none = part(p.rows, slice(0))
    before = moments.to_bytes()
    moments.learn(none)
    moments.unlearn(none)
    moments.apply([])
    moments.sums.add(none, -1)
    assert moments.to_bytes() == before
    assert moments.leverage(none.x).shape == (0,)
    assert moments.leave_one_out(none).shape == moments.leave_all_out(none).shape == (0, 3)


def test_a_row_without_weight_teaches_nothing() -> None:
    """Weight 0: the head stays, and the row's own residual is as if it were new."""
    p = problem(12)
    silent = Rows(np.ones((1, 12)), np.ones((1, 3)), np.zeros(1))
    moments = p.learned(p.rows, silent)
    assert error(moments.weights(), p.refit(p.rows)) <= 1e-12
    residual = silent.y - silent.x @ moments.weights()
    assert np.allclose(moments.leave_one_out(silent), residual)
    assert np.allclose(moments.leave_all_out(silent), residual)


def test_what_was_never_learned_cannot_be_left_out() -> None:
    """Leaving out a strong row that is not in the sums is an error, not a residual of the wrong sign."""
    p = problem(13, n=3)
    stranger = Rows(100 * np.ones((1, 12)), np.ones((1, 3)), np.ones(1))
    moments = p.learned()
    for ask in (moments.leave_one_out, moments.leave_all_out):
        with pytest.raises(ModelError, match="never learned"):
            ask(stranger)


def test_leverage_says_what_is_new() -> None:
    """Before anything is learned it is |x|²/λ; it falls each time the same input is learned."""
    p = problem(14)
    moments = p.moments()
    x = p.rows.x[:1]
    seen = [float(moments.leverage(x)[0])]
    assert seen[0] == pytest.approx(float((x**2).sum()) / p.ridge)
    for _ in range(5):
        moments.learn(one(p.rows, 0))
        seen.append(float(moments.leverage(x)[0]))
    assert seen == sorted(seen, reverse=True)
    with pytest.raises(ModelError, match="features"):
        moments.leverage(np.full((1, 12), np.nan))


def test_before_anything_is_learned_the_head_is_the_prior() -> None:
    """The prior's head exactly to rounding; without one, zeros."""
    p = problem(15)
    assert error(p.moments().weights(), p.prior) <= 1e-15
    assert not Moments(4, 2, 1.0).weights().any()


def test_a_head_cannot_be_written_to() -> None:
    """The weights are shared with whoever asked: writing to them is an error."""
    weights = problem(16).learned().weights()
    with pytest.raises(ValueError, match="read-only"):
        weights[0, 0] = 1.0


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ridge_must_be_above_0(ridge: float) -> None:
    """Without a ridge the moments cannot be inverted before d rows are in."""
    with pytest.raises(ModelError, match="ridge"):
        Moments(4, 2, ridge)


@pytest.mark.parametrize("prior", [np.ones((4, 3)), np.ones((5, 2)), np.ones(8), np.full((4, 2), np.nan)])
def test_a_prior_must_fit(prior: Floats) -> None:
    """A prior head of another shape, or with NaN, is refused."""
    with pytest.raises(ModelError, match="prior"):
        Moments(4, 2, 1.0, prior)


@pytest.mark.parametrize("size", [(0, 1), (1, 0), (COLUMNS_MAX + 1, 1), (1, COLUMNS_MAX + 1), (-1, 1)])
def test_sizes_have_limits(size: tuple[int, int]) -> None:
    """No columns, or more than anyone has, are refused before memory is taken."""
    with pytest.raises(ModelError, match="columns and targets"):
        Sums(*size)


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan"), float("inf")])
def test_forgetting_is_by_a_share(gamma: float) -> None:
    """A share outside 0 to 1 is refused, and nothing is scaled."""
    p = problem(17)
    moments = p.learned()
    before = moments.to_bytes()
    with pytest.raises(ModelError, match="0 to 1"):
        moments.scale(gamma)
    assert moments.to_bytes() == before


def test_moments_of_another_size_do_not_merge() -> None:
    """Another backbone or another list of labels: a named error, nothing added."""
    p = problem(18)
    moments = p.learned()
    before = moments.to_bytes()
    for other in (Moments(12, 4, 1.0), Moments(11, 3, 1.0), Sums(12, 2)):
        for act in (moments.merge, moments.subtract, moments.without):
            with pytest.raises(ModelError, match="do not fit"):
                act(other)
    assert moments.to_bytes() == before


def test_a_twin_of_sums_stands_alone() -> None:
    """What is added to a copy is not added to the original; merging with -1 takes it out."""
    p = problem(19)
    sums = Sums(12, 3)
    sums.add(p.rows)
    before = sums.to_bytes()
    twin = sums.twin()
    twin.add(p.rows)
    assert sums.to_bytes() == before
    twin.merge(sums, -1)
    assert twin.to_bytes() == before


def test_sums_come_back_from_bytes() -> None:
    """Sums and moments are each read as what they are, and their size does not grow with what is learned."""
    p = problem(20)
    sums = Sums(12, 3)
    empty = len(sums.to_bytes())
    for _ in range(300):
        sums.add(p.rows)
    data = sums.to_bytes()
    assert len(data) == empty
    assert Sums.from_bytes(data).to_bytes() == data
    assert Sums.from_bytes(data).count == 300 * 40
    with pytest.raises(ModelError, match="prior head"):
        Moments.from_bytes(data)


def test_bytes_that_were_changed_are_refused() -> None:
    """Cut short anywhere, flipped anywhere, or not ours at all: ModelError, nothing else."""
    data = problem(21).learned().to_bytes()
    rng = np.random.default_rng(21)
    for place in rng.integers(1, len(data), 300):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.integers(0, 8)
        for hostile in (bytes(flipped), data[:place], data[place:]):
            with pytest.raises(ModelError):
                Moments.from_bytes(hostile)
    for hostile in (b"", b"\x00", b"\x80", b"not moments", rng.bytes(1000)):
        with pytest.raises(ModelError):
            Moments.from_bytes(hostile)


def forged(**changes: object) -> bytes:
    """Moments with fields that lie, sealed as if they were right."""
    frozen = msgspec.msgpack.decode(problem(22).learned().to_bytes(), type=source._Frozen)
    return msgspec.structs.replace(frozen, **changes).sealed()


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": COLUMNS_MAX},
        {"columns": 0, "xx": b"", "xy": b"", "prior": b""},
        {"columns": -12},
        {"targets": 4},
        {"xx": b""},
        {"xy": np.full(36, np.nan).tobytes()},
        {"xx": np.full(78, np.inf).tobytes()},
        {"xx": np.full(78, -1.0).tobytes()},
        {"prior": np.full(36, np.inf).tobytes()},
        {"ridge": 0.0},
        {"ridge": float("nan")},
    ],
)
def test_a_header_that_lies_is_refused(changes: dict[str, object]) -> None:
    """A right digest over wrong sizes, NaN or indefinite sums is still refused, before memory is taken."""
    with pytest.raises(ModelError):
        Moments.from_bytes(forged(**changes))


def test_bytes_of_a_newer_hotloop_say_so() -> None:
    """A higher format is named as such, and not called damage."""
    with pytest.raises(NewerFormatError, match="newer"):
        Moments.from_bytes(forged(format=source.FORMAT + 1))
