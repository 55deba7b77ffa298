"""Sums over rows for inference: log-likelihood, scores, information, and the middle of a sandwich.

The score of a row is the gradient of its log-likelihood, −wᵢ ∂ℓᵢ/∂(b, W): for the logits that are kept,
wᵢ (tᵢ − pᵢ) ⊗ (1, xᵢ). By NumPy and BLAS: nothing is compiled for it, and one reading of X serves for all.
The kernel of class blocks takes twice as long as the product of all classes with themselves, which has the
symmetry of pairs of features and of pairs of classes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.linalg.blas import dsyrk

from fastsoftmax.contracts import Csr, Halves, RowBlock
from fastsoftmax.contracts.storages import row_slice, storage_of
from fastsoftmax.data import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Loss, Params, Vector

# Of the arrays that some rows take beside X, whatever n; fewer rows would add to the sums more often than
# their products are worth.
CHUNK_BYTES, MIN_CHUNK = 2**24, 256


class ScoreSums(NamedTuple):
    """The sums over rows at one point.

    Attributes
    ----------
    loglik : float
        −Σ wᵢ ℓᵢ, in nats.
    score : ndarray (m, q)
        Σ sᵢ, for m logits and q terms: the constant first, if there is one.
    information : ndarray (1, m q, m q), or (m, q, q)
        The Hessian of Σ wᵢ ℓᵢ: of a softmax whole, of independent labels the blocks of each.
    products : ndarray (m q, m q) or None
        Σ sᵢ sᵢᵀ over the rows, or over the groups' sums of scores.
    squares, fourths : ndarray (q,)
        Σ wᵢ x² and Σ wᵢ x⁴ of the terms.
    """

    loglik: float
    score: Vector
    information: Vector
    products: Vector | None
    squares: Vector
    fourths: Vector


class Terms(NamedTuple):
    """What the columns of a linear predictor are: rows less `mean` (d,), if given, and perhaps a constant."""

    constant: bool
    mean: Vector | None = None

    def of(self, X: Any) -> Vector:
        """Return a copy of rows as float64 (n, q), the constant first."""
        rows = dense(X)
        terms = np.empty((rows.shape[0], rows.shape[1] + self.constant))
        terms[:, : self.constant] = 1.0
        terms[:, self.constant :] = rows
        if self.mean is not None:
            terms[:, self.constant :] -= self.mean
        return terms

    def weights_of(self, params: Params) -> Vector:
        """Return the coefficients (K, q) by these terms of parameters for the rows as they are."""
        if not self.constant:
            return params.coef
        moved = 0.0 if self.mean is None else params.coef @ self.mean
        return np.column_stack((params.intercept + moved, params.coef))


def dense(X: Any) -> Any:
    """Return some rows of a host's storage as a matrix."""
    if isinstance(X, Csr):
        return sparse.to_scipy(X).toarray()
    return X.bits.view(np.float16) if isinstance(X, Halves) else X


def chunks(rows: RowBlock, numbers_per_row: int, order: NDArray[np.intp] | None = None) -> Iterator[RowBlock]:
    """Yield rows some at a time, as many as `numbers_per_row` float64 beside them allow; in `order` if given.

    Rows that are taken in an order are copied.
    """
    step = max(MIN_CHUNK, CHUNK_BYTES // (8 * numbers_per_row))
    for start in range(0, rows.n_rows, step):
        part = slice(start, start + step)
        if order is None:
            yield RowBlock(
                row_slice(rows.X, start, min(start + step, rows.n_rows)), rows.target[part], rows.weight[part]
            )
        else:
            taken = order[part]
            yield RowBlock(storage_of(rows.X).take(rows.X, taken), rows.target[taken], rows.weight[taken])


def score_sums(
    rows: RowBlock,
    loss: Loss,
    family: ModuleType | Any,
    weights: Vector,
    kept: NDArray[np.intp],
    terms: Terms,
    *,
    products: bool = False,
    groups: NDArray[np.intp] | None = None,
) -> ScoreSums:
    """Return the sums over rows of a host's storage.

    Parameters
    ----------
    rows : RowBlock
    loss : named tuple
    family : LossFamily
    weights : ndarray (K, q)
        The coefficients by `terms`.
    kept : ndarray (m,)
        The logits by whose coefficients scores are taken.
    terms : Terms
    products : bool
        Whether to sum products of scores.
    groups : ndarray (n,), optional
        The number of each row's group, from 0: products are then those of the groups' sums.

    Notes
    -----
    float64. One reading of X: 4 n d K flops, and for the information of a softmax n (m q)² more, of labels
    n m q²; with `products` as many again, or G (m q)² for G groups. Some 16 MiB beside the result. Rows that
    are not in their groups' order are copied some at a time. The last bits depend on BLAS's threads.
    """
    shape = len(kept), weights.shape[1]
    loglik, score = 0.0, np.zeros(shape)
    squares, fourths = np.zeros(shape[1]), np.zeros(shape[1])
    curved = _Curvature(kept, shape[1], family.SHIFT_INVARIANT)
    total = _Products(score.size) if products else None
    order = None
    if products and groups is not None and (np.diff(groups) < 0).any():
        order = np.argsort(groups, kind="stable")
        groups = groups[order]
    summed = _Groups(groups, score.size) if products and groups is not None else None
    for some in chunks(rows, 4 * score.size + 4 * len(weights), order):
        columns = terms.of(some.X)
        logits = columns @ weights.T
        values, residuals = family.losses_and_residuals(loss, logits, some.target)
        loglik -= float(some.weight @ values)
        slopes = -some.weight[:, np.newaxis] * residuals[:, kept]
        score += slopes.T @ columns
        curved.add(columns, logits, _curvature_weight(some, family))
        if total is not None:
            each = outer(slopes, columns)
            total.add(each if summed is None else summed.complete(each))
        np.square(columns, out=columns)
        squares += some.weight @ columns
        np.square(columns, out=columns)
        fourths += some.weight @ columns
    if total is not None and summed is not None:
        total.add(summed.open[np.newaxis])
    found = None if total is None else total.whole()
    return ScoreSums(loglik, score, curved.information(), found, squares, fourths)


def outer(a: Vector, b: Vector) -> Vector:
    """Return the products of each row's numbers, (n, m q), of a (n, m) and b (n, q)."""
    return (a[:, :, np.newaxis] * b[:, np.newaxis, :]).reshape(len(a), -1)


def probabilities(logits: Vector, exclusive: bool) -> tuple[Vector, Vector]:
    """Return p and 1 − p, each without cancellation, of logits (n, K) of a softmax or of sigmoids."""
    if not exclusive:
        e = np.exp(-np.abs(logits))
        large, small = 1.0 / (1.0 + e), e / (1.0 + e)
        return np.where(logits >= 0.0, large, small), np.where(logits >= 0.0, small, large)
    best = np.arange(len(logits)), logits.argmax(axis=1)
    e = np.exp(logits - logits[best][:, np.newaxis])
    e[best] = 0.0
    others = e.sum(axis=1)
    e[best] = 1.0
    rest = (1.0 + others)[:, np.newaxis] - e
    rest[best] = others
    scale = 1.0 / (1.0 + others)[:, np.newaxis]
    return e * scale, rest * scale


def _curvature_weight(some: RowBlock, family: Any) -> Vector:
    """Return the rows' weights, times what targets of a softmax sum to: probabilities are not quite one."""
    if family.SHIFT_INVARIANT and some.target.ndim == 2:
        return some.weight * some.target.sum(axis=1, dtype=np.float64)
    return some.weight


class _Products:
    """A sum of products Σ aᵢ aᵢᵀ (size, size): its lower triangle, to which BLAS adds."""

    def __init__(self, size: int) -> None:
        self._sum = np.zeros((size, size), order="F")

    def add(self, rows: Vector) -> None:
        """Add the products of rows (n, size)."""
        self._sum = dsyrk(1.0, np.ascontiguousarray(rows).T, 1.0, self._sum, lower=1, overwrite_c=1)

    def whole(self) -> Vector:
        """Return the sum, whole."""
        return symmetric(self._sum)


class _Curvature:
    """The information Σ w (diag p − p pᵀ) ⊗ x xᵀ, or of independent labels Σ w p (1 − p) x xᵀ of each."""

    def __init__(self, kept: NDArray[np.intp], n_terms: int, exclusive: bool) -> None:
        self._kept, self._exclusive = kept, exclusive
        self._own = [_Products(n_terms) for _ in kept]
        self._pairs = _Products(len(kept) * n_terms) if exclusive else None

    def add(self, columns: Vector, logits: Vector, weight: Vector) -> None:
        """Add some rows."""
        proba, rest = (part[:, self._kept] for part in probabilities(logits, self._exclusive))
        root = np.sqrt(weight)[:, np.newaxis]
        own = root * np.sqrt(proba * rest)
        for place, products in enumerate(self._own):
            products.add(own[:, place : place + 1] * columns)
        if self._pairs is not None:
            self._pairs.add(outer(root * proba, columns))

    def information(self) -> Vector:
        """Return the blocks."""
        own = np.array([products.whole() for products in self._own])
        if self._pairs is None:
            return own
        whole = self._pairs.whole()
        np.negative(whole, out=whole)
        size = own.shape[1]
        # Not the difference of two sums, which cancel where p is next to one.
        for place, block in enumerate(own):
            part = slice(place * size, (place + 1) * size)
            whole[part, part] = block
        return whole[np.newaxis]


def symmetric(lower: Vector) -> Vector:
    """Return a matrix whose lower triangle is filled as a whole one."""
    below: Vector = np.tril(lower)
    below += np.tril(lower, -1).T
    return below


class _Groups:
    """The sums of rows by group, for rows that arrive in the groups' order.

    `open` holds the sum of the group that may go on with the next rows.
    """

    def __init__(self, groups: NDArray[np.intp], size: int) -> None:
        self._groups, self._place = groups, 0
        self.open = np.zeros(size)

    def complete(self, each: Vector) -> Vector:
        """Return the sums (g, size) of the groups that end with some rows (n, size)."""
        codes = self._groups[self._place : self._place + len(each)]
        before = self._groups[self._place - 1] if self._place else codes[0]
        self._place += len(each)
        starts = np.concatenate(([0], np.flatnonzero(np.diff(codes)) + 1))
        sums = np.add.reduceat(each, starts, axis=0)
        if codes[0] == before:
            sums[0] += self.open
        else:
            sums = np.vstack((self.open, sums))
        self.open = sums[-1].copy()
        return sums[:-1]
