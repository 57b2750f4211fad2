"""The reflex's sufficient statistics: closed-form learning that can be taken back.

For features x (d columns), targets y (c columns), weights w, a ridge λ and a prior head W0:

    A = λ I + Σ w x xᵀ        B = λ W0 + Σ w x yᵀ        W = A⁻¹ B

which minimises Σ w |y - xᵀW|² + λ |W - W0|². The two sums (`Sums`) are a commutative group: rows can be
added in any order and taken out again, and sites can add theirs together.

What is truth and what is derived. The sums are the truth; each call to `Moments.apply` adds its rows in the
order given, one block after the other, so their very bits depend on the sequence of blocks and not on how
calls were batched. The weights are derived lazily and from the sums alone, by Cholesky (d³/3 flops: 2 ms at
d = 512): equal sums give equal bits, and a replay of the log gives equal digests. P = A⁻¹ serves leverage
and leave-one-out; it is kept by Woodbury's identity in O(d²) a row, checked against the sums after every
update, and derived anew when it has drifted. A model never depends on it.

Precision. Unlearning leaves a rounding of about ε = 2e-16 of the largest sums ever held; on the weights it
acts times the condition of A. Rows above `SIZE_MAX` are refused: their rounding would drown the ridge.
`scale` forgets evidence and leaves the ridge and the prior: with all forgotten the head is the prior again.

References: Golub and Van Loan, Matrix Computations, 2.1.4 (Woodbury); Haynsworth 1968 (inertia);
Cook 1977 (leave-one-out residual e / (1 - h)).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import copy
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from scipy.linalg.blas import dsymm, dsymv, dsyrk
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from hotloop.errors import ModelError, NewerFormatError
from hotloop.types import UNREADABLE, Floats, Rows, digest

SIZE_MAX = 1e6  # of |x| sqrt(w) and |y| sqrt(w)
COLUMNS_MAX = 16_384
DRIFT_MAX = 1e-9  # of ‖P A v - v‖ for v of ±1: about ‖P A - I‖, which bounds the relative error by P
PIVOT_MIN = 1e-6  # below this, Woodbury's small matrix is too near to singular to update P by it
_PIVOT_PER_DRIFT = 1e3
LEFT_MIN = 1e-3  # below this, 1 - w h has lost too many digits to divide by
FORMAT = 1

Step: TypeAlias = tuple[Literal[1, -1], Rows]  # rows to learn (1) or to unlearn (-1)


class _Version(msgspec.Struct, frozen=True):
    format: int


class _Frozen(msgspec.Struct, frozen=True):
    """Moments or sums as bytes; integers that grow are fixed in width, so that the size is constant."""

    format: int
    columns: int
    targets: int
    count: bytes  # int64
    xx: bytes  # the lower triangle by rows, float64
    xy: bytes
    prior: bytes  # empty for sums
    ridge: float
    digest: str = ""

    def sealed(self) -> bytes:
        """As bytes that carry their own digest."""
        return msgspec.msgpack.encode(msgspec.structs.replace(self, digest=self._digest()))

    def check(self, what: str) -> None:
        """ModelError unless these are the values that were sealed."""
        if self.digest != self._digest():
            raise ModelError(f"{what}: the bytes are not what was written (digest): use another copy")

    def _digest(self) -> str:
        bare = msgspec.structs.replace(self, digest="")
        return digest(msgspec.msgpack.encode(bare))


class Sums:
    """Σ w x xᵀ (d, d) and Σ w x yᵀ (d, c): what rows add up to. Of `xx` only the lower triangle is kept."""

    def __init__(self, columns: int, targets: int) -> None:
        if not (1 <= columns <= COLUMNS_MAX and 1 <= targets <= COLUMNS_MAX):
            raise ModelError(f"moments are of 1 to {COLUMNS_MAX} columns and targets, not {columns} and {targets}")
        self.xx: Floats = np.zeros((columns, columns), order="F")
        self.xy: Floats = np.zeros((columns, targets))
        self.count = 0  # rows learned less rows unlearned

    @property
    def columns(self) -> int:
        """How many features a row has (d)."""
        return len(self.xy)

    @property
    def targets(self) -> int:
        """How many targets a row has (c)."""
        return int(self.xy.shape[1])

    def add(self, rows: Rows, sign: Literal[1, -1] = 1) -> None:
        """Add rows (1) or take them out (-1). ModelError, and nothing added, if they are not of this form."""
        self.add_scaled(*scaled(rows, self.columns, self.targets), sign)

    def add_scaled(self, x: Floats, y: Floats, sign: Literal[1, -1]) -> None:
        """As `add`, of what `scaled` gave."""
        if len(x):
            dsyrk(float(sign), x.T, 1.0, self.xx, lower=1, overwrite_c=1)
            self.xy += sign * (x.T @ y)
            self.count += sign * len(x)

    def merge(self, other: Sums, sign: Literal[1, -1] = 1) -> None:
        """Add the other's sums, or take them out (-1)."""
        if (other.columns, other.targets) != (self.columns, self.targets):
            raise ModelError(
                f"sums of {other.columns} columns and {other.targets} targets do not fit those of "
                f"{self.columns} and {self.targets}: both sides must use one backbone and one list of labels"
            )
        self.xx += sign * other.xx
        self.xy += sign * other.xy
        self.count += sign * other.count

    def scale(self, gamma: float) -> None:
        """Multiply by gamma, 0 to 1; the count stays, as it counts rows and not their weight."""
        if not 0.0 <= gamma <= 1.0:
            raise ModelError(f"sums are scaled by 0 to 1, not by {gamma}")
        self.xx *= gamma
        self.xy *= gamma

    def twin(self) -> Sums:
        """The same sums, on their own."""
        twin = copy(self)
        twin.xx, twin.xy = self.xx.copy(order="F"), self.xy.copy()
        return twin

    def to_bytes(self) -> bytes:
        """The sums as bytes: version, digest, raw arrays."""
        return self.frozen().sealed()

    @classmethod
    def from_bytes(cls, data: bytes) -> Sums:
        """The sums that `to_bytes` wrote. ModelError, NewerFormatError."""
        return cls.thawed(_read(data, "sums"))

    def frozen(self, prior: bytes = b"", ridge: float = 0.0) -> _Frozen:
        """The arrays as bytes, not yet sealed."""
        triangle = self.xx[np.tril_indices(self.columns)].astype("<f8").tobytes()
        count = self.count.to_bytes(8, "little", signed=True)
        target = self.xy.astype("<f8").tobytes()
        return _Frozen(FORMAT, self.columns, self.targets, count, triangle, target, prior, ridge)

    @classmethod
    def thawed(cls, frozen: _Frozen) -> Sums:
        """The sums in `frozen`; ModelError if its arrays are not of the sizes it says."""
        columns, targets = frozen.columns, frozen.targets
        triangle = _array(frozen.xx, (columns * (columns + 1) // 2,), "sums")
        sums = cls(columns, targets)
        sums.xx[np.tril_indices(columns)] = triangle
        sums.xy = _array(frozen.xy, (columns, targets), "sums")
        sums.count = int.from_bytes(frozen.count, "little", signed=True)
        return sums


class Moments:
    """A, B and what follows from them: the head, the leverage of an input, the residuals left out.

    One thread at a time.
    """

    def __init__(self, columns: int, targets: int, ridge: float, prior: Floats | None = None) -> None:
        """`prior` (columns, targets) is the head before anything is learned; None is zeros. ModelError."""
        self.sums = Sums(columns, targets)
        if not (np.isfinite(ridge) and ridge > 0):
            raise ModelError(f"the ridge must be a number above 0, not {ridge}: set learn.ridge")
        self.ridge = float(ridge)
        start = np.zeros((columns, targets)) if prior is None else prior
        self.prior = _matrix(start, targets, "the prior head")
        if len(self.prior) != columns:
            raise ModelError(f"the prior head has {len(self.prior)} rows, the features {columns} columns")
        self._factor: Floats | None = None
        self._weights: Floats | None = None
        self._inverse: Floats | None = np.asfortranarray(np.eye(columns) / self.ridge)
        self._drift_max = DRIFT_MAX
        self._probe = np.random.default_rng(0).choice([-1.0, 1.0], columns)

    @property
    def count(self) -> int:
        """Rows learned less rows unlearned."""
        return self.sums.count

    def learn(self, rows: Rows) -> None:
        """Add rows. ModelError, and nothing learned, if they are not of this form."""
        self.apply([(1, rows)])

    def unlearn(self, rows: Rows) -> None:
        """Take out rows that were learned. ModelError, and nothing changed, if they cannot have been."""
        self.apply([(-1, rows)])

    def apply(self, steps: Iterable[Step]) -> None:
        """Learn and unlearn blocks of rows in order; all of them or, on ModelError, none."""
        blocks = [(*scaled(rows, self.sums.columns, self.sums.targets), sign) for sign, rows in steps]
        blocks = [block for block in blocks if len(block[0])]
        if not blocks:
            return

        def add(sums: Sums) -> None:
            for x, y, sign in blocks:
                sums.add_scaled(x, y, sign)

        x = np.concatenate([block[0] for block in blocks])
        signs = np.repeat([float(sign) for _, _, sign in blocks], [len(block[0]) for block in blocks])
        inverse, update = self._inverse, self._woodbury(x, signs)
        if inverse is None or update is None:
            self._take(add, safe=bool((signs > 0).all()))
            return
        add(self.sums)
        self._derived_from_nothing()
        for sign, root in update:
            dsyrk(sign, root, 1.0, inverse, lower=1, overwrite_c=1)
        self._inverse = inverse if self._drift(inverse) <= self._drift_max else None

    def merge(self, other: Moments | Sums) -> None:
        """Add what another one learned; its ridge and prior are not added, ours stay."""
        self._take(lambda sums: sums.merge(_sums(other)), safe=isinstance(other, Moments))

    def subtract(self, other: Moments | Sums) -> None:
        """Take out what another one learned. ModelError, and nothing changed, if it cannot be in here."""
        self._take(lambda sums: sums.merge(_sums(other), -1), safe=False)

    def scale(self, gamma: float) -> None:
        """Forget: multiply all evidence by gamma, 0 to 1. The ridge and the prior stay."""
        self._take(lambda sums: sums.scale(gamma), safe=True)

    def without(self, other: Moments | Sums) -> Moments:
        """New moments that never saw the other's rows: leave one site out. ModelError as in `subtract`."""
        twin = copy(self)
        twin.subtract(other)
        return twin

    def with_only(self, other: Moments | Sums) -> Moments:
        """New moments with the same ridge and prior that saw the other's rows and nothing else."""
        alone = Moments(self.sums.columns, self.sums.targets, self.ridge, self.prior)
        alone.merge(other)
        return alone

    def weights(self) -> Floats:
        """W (d, c): the head that all that is learned now leads to. It is not to be written to."""
        if self._weights is None:
            right = self.ridge * self.prior + self.sums.xy
            solution, _ = dpotrs(self._cholesky(), right, lower=1)
            self._weights = np.ascontiguousarray(solution)
            self._weights.flags.writeable = False
        return self._weights

    def leverage(self, x: Floats) -> Floats:
        """How new each row of x (n, d) is: h = xᵀ A⁻¹ x, from 0 (well known) to |x|²/λ (never seen); (n,)."""
        x = _matrix(x, self.sums.columns, "features")
        h: Floats = np.einsum("nd,dn->n", x, _times(self._inverted(), x))
        return h

    def leave_one_out(self, rows: Rows) -> Floats:
        """Residuals y - xᵀW (n, c) of rows that were learned, each by the W without it: e / (1 - w h)."""
        scaled(rows, self.sums.columns, self.sums.targets)
        left = 1.0 - rows.w * self.leverage(rows.x)
        residual: Floats = (rows.y - rows.x @ self.weights()) / np.maximum(left, LEFT_MIN)[:, None]
        for place in np.flatnonzero(left < LEFT_MIN):
            chosen = slice(place, place + 1)
            residual[chosen] = self._residual_without(Rows(rows.x[chosen], rows.y[chosen], rows.w[chosen]))
        return residual

    def leave_all_out(self, rows: Rows) -> Floats:
        """Residuals y - xᵀW (n, c) of rows that were learned, by the W without any of them."""
        x, y = scaled(rows, self.sums.columns, self.sums.targets)
        if not len(x):
            return np.zeros((0, self.sums.targets))
        reach = _times(self._inverted(), x)
        factor, failed = dpotrf(np.eye(len(x)) - x @ reach, lower=1)
        if failed or np.diag(factor).min() ** 2 < LEFT_MIN:
            return self._residual_without(rows)
        moved, _ = dpotrs(factor, y - x @ self.weights(), lower=1)
        residual: Floats = rows.y - rows.x @ (self.weights() - reach @ moved)
        return residual

    def _residual_without(self, rows: Rows) -> Floats:
        """The same by refitting, for rows that are nearly all there is in a direction."""
        sums = Sums(self.sums.columns, self.sums.targets)
        sums.add(rows)
        residual: Floats = rows.y - rows.x @ self.without(sums).weights()
        return residual

    def to_bytes(self) -> bytes:
        """The sums, the ridge and the prior as bytes: version, digest, raw arrays; what is derived is not."""
        return self.sums.frozen(self.prior.astype("<f8").tobytes(), self.ridge).sealed()

    @classmethod
    def from_bytes(cls, data: bytes) -> Moments:
        """The moments that `to_bytes` wrote. ModelError, NewerFormatError."""
        frozen = _read(data, "moments")
        prior = _array(frozen.prior, (frozen.columns, frozen.targets), "the prior head")
        moments = cls(frozen.columns, frozen.targets, frozen.ridge, prior)
        moments.sums = Sums.thawed(frozen)
        moments._derived_from_nothing()
        moments._cholesky()
        return moments

    def _take(self, change: Callable[[Sums], None], *, safe: bool) -> None:
        """Change the sums; unless that is safe, on a copy, taken only if A stays positive definite."""
        sums = self.sums if safe else self.sums.twin()
        change(sums)
        factor = None if safe else _factored(sums, self.ridge)
        self.sums = sums
        self._derived_from_nothing()
        self._factor = factor

    def _derived_from_nothing(self) -> None:
        self._factor = self._weights = self._inverse = None

    def _cholesky(self) -> Floats:
        """The lower factor of A, from the sums."""
        if self._factor is None:
            self._factor = _factored(self.sums, self.ridge)
        return self._factor

    def _inverted(self) -> Floats:
        """P = A⁻¹ (lower triangle), derived anew where it is not at hand."""
        if self._inverse is None:
            inverse, _ = dpotri(self._cholesky(), lower=1)
            self._inverse = inverse
            self._drift_max = max(DRIFT_MAX, 10 * self._drift(inverse))  # no update is better than its start
        return self._inverse

    def _drift(self, inverse: Floats) -> float:
        """‖P A v - v‖ for a fixed vector v of ±1."""
        v = self._probe
        image = dsymv(1.0, self.sums.xx, v, beta=self.ridge, y=v, lower=1)
        return float(np.linalg.norm(dsymv(1.0, inverse, image, lower=1) - v))

    def _woodbury(self, x: Floats, signs: Floats) -> list[tuple[float, Floats]] | None:
        """What to add to P for A + Σ s x xᵀ, as (sign, root) with sign root rootᵀ; None: derive it anew.

            P' = P - V M⁻¹ Vᵀ    V = P Xᵀ    M = S + X P Xᵀ    S = diag(s)

        A' is positive definite exactly if M has as many negative eigenvalues as S (inertia adds up in Schur
        complements). None also if P is not at hand, if M is nearly singular (taking out nearly all there is
        in a direction), or if there are so many rows that d³ is cheaper.
        """
        if self._inverse is None or len(x) > max(1, self.sums.columns // 4):
            return None
        V = _times(self._inverse, x)
        values, vectors = np.linalg.eigh(np.diag(signs) + x @ V)
        least = max(PIVOT_MIN, _PIVOT_PER_DRIFT * self._drift_max)  # a smaller one is mostly P's own rounding
        if np.abs(values).min() < least or (values < 0).sum() != (signs < 0).sum():
            return None
        roots = np.asfortranarray(V @ (vectors / np.sqrt(np.abs(values))))
        negative = int((values < 0).sum())  # eigenvalues rise
        halves = ((1.0, roots[:, :negative]), (-1.0, roots[:, negative:]))
        return [(sign, root) for sign, root in halves if root.shape[1]]


def scaled(rows: Rows, columns: int, targets: int) -> tuple[Floats, Floats]:
    """Rows times sqrt(w), as (x, y). ModelError says what is wrong with rows that cannot be learned."""
    x = _matrix(rows.x, columns, "features")
    y = _matrix(rows.y, targets, "targets")
    w = _matrix(np.expand_dims(rows.w, -1), 1, "weights")
    if not len(x) == len(y) == len(w):
        raise ModelError(f"rows with {len(x)} features, {len(y)} targets, {len(w)} weights: make them equal")
    if (w < 0).any():
        raise ModelError("a row has a negative weight: use unlearn to take rows out")
    root = np.sqrt(w)
    x, y = np.multiply(x, root, order="C"), np.multiply(y, root, order="C")
    if len(x) and max(np.abs(x).max(), np.abs(y).max()) > SIZE_MAX:
        raise ModelError(f"a row has values above {SIZE_MAX:g}; all others vanish beside it: scale them")
    return x, y


def _matrix(values: Floats, columns: int, what: str) -> Floats:
    """`values` as finite float64 (n, columns); ModelError."""
    matrix: Floats = np.asarray(values, np.float64)
    if matrix.ndim != 2 or matrix.shape[1] != columns:
        raise ModelError(f"{what} must be (n, {columns}), not {matrix.shape}: the head is for another model")
    if not np.isfinite(matrix).all():
        raise ModelError(f"{what} hold NaN or infinity: nothing of the block was learned")
    return matrix


def _times(symmetric: Floats, x: Floats) -> Floats:
    """P xᵀ (d, n) of a lower triangle P."""
    if len(x) == 1:
        column: Floats = dsymv(1.0, symmetric, x[0], lower=1)
        return column[:, None]
    product: Floats = dsymm(1.0, symmetric, x.T, lower=1) if len(x) else np.zeros(x.T.shape)
    return product


def _factored(sums: Sums, ridge: float) -> Floats:
    """The lower Cholesky factor of A; ModelError if A is not positive definite."""
    A = sums.xx.copy(order="F")
    A[np.diag_indices_from(A)] += ridge
    factor, failed = dpotrf(A, lower=1, overwrite_a=1)
    if failed:
        raise ModelError(
            "the moments are not positive definite: rows were taken out that were never learned, or the "
            "features are too badly scaled for learn.ridge; nothing was changed"
        )
    return np.asarray(factor)


def _sums(other: Moments | Sums) -> Sums:
    return other.sums if isinstance(other, Moments) else other


def _array(data: bytes, shape: tuple[int, ...], what: str) -> Floats:
    """Finite float64 of `shape` from raw bytes; ModelError."""
    if len(data) != 8 * int(np.prod(shape)):
        raise ModelError(f"{what}: {len(data)} bytes are not {shape}: use another copy")
    array = np.frombuffer(data, "<f8").reshape(shape).astype(np.float64)
    if not np.isfinite(array).all():
        raise ModelError(f"{what} hold NaN or infinity: use another copy")
    return array


def _read(data: bytes, what: str) -> _Frozen:
    """Frozen moments or sums whose digest is right. ModelError, NewerFormatError."""
    try:
        if (found := msgspec.msgpack.decode(data, type=_Version).format) > FORMAT:
            raise NewerFormatError(f"{what}: format {found} is newer than {FORMAT}: use a newer hotloop")
        frozen = msgspec.msgpack.decode(data, type=_Frozen)
    except UNREADABLE as error:
        raise ModelError(f"{what}: the bytes cannot be read ({error}): use another copy") from error
    frozen.check(what)
    return frozen
