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

from fastsoftmax.objective.row_parts import summed

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Loss, RowBlock, Vector
    from fastsoftmax.objective.row_parts import Terms


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
    n_threads: int | None = None,
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
    n_threads : int or None

    Notes
    -----
    float64. One reading of X: 4 n d K flops, and for the information of a softmax n (m q)² more, of labels
    n m q²; with `products` as many again, or G (m q)² for G groups. Some 16 MiB a thread beside up to
    eight times the result. Rows that are not in their groups' order are copied some at a time.
    """
    size = len(kept) * weights.shape[1]
    order = None
    if groups is not None and (np.diff(groups) < 0).any():
        order = np.argsort(groups, kind="stable")
        groups = groups[order]

    def start(part: slice) -> _Sums:
        of_part = None if groups is None else groups[part]
        return _Sums(loss, family, weights, kept, terms, products, of_part)

    found = summed(
        rows, start, numbers_per_row=4 * size + 4 * len(weights), sums_size=2 * size**2, order=order,
        groups=groups, n_threads=n_threads,
    )  # fmt: skip
    return found.whole()


class _Sums:
    """The sums of `score_sums` over a part of the rows."""

    def __init__(
        self,
        loss: Loss,
        family: Any,
        weights: Vector,
        kept: NDArray[np.intp],
        terms: Terms,
        products: bool,
        groups: NDArray[np.intp] | None,
    ) -> None:
        self._loss, self._family, self._weights = loss, family, weights
        self._kept, self._terms = kept, terms
        n_terms = weights.shape[1]
        self._loglik, self._score = 0.0, np.zeros((len(kept), n_terms))
        self._squares, self._fourths = np.zeros(n_terms), np.zeros(n_terms)
        self._curved = _Curvature(kept, n_terms, family.SHIFT_INVARIANT)
        self._products = _Products(self._score.size) if products else None
        self._groups = None if groups is None or not products else _Groups(groups, self._score.size)

    def add(self, some: RowBlock) -> None:
        """Add some rows."""
        columns = self._terms.of(some.X)
        logits = columns @ self._weights.T
        values, residuals = self._family.losses_and_residuals(self._loss, logits, some.target)
        self._loglik -= float(some.weight @ values)
        slopes = -some.weight[:, np.newaxis] * residuals[:, self._kept]
        self._score += slopes.T @ columns
        self._curved.add(columns, logits, _curvature_weight(some, self._family))
        if self._products is not None:
            each = outer(slopes, columns)
            self._products.add(each if self._groups is None else self._groups.complete(each))
        np.square(columns, out=columns)
        self._squares += some.weight @ columns
        np.square(columns, out=columns)
        self._fourths += some.weight @ columns

    def merge(self, other: _Sums) -> None:
        """Add the sums of another part."""
        self._loglik += other._loglik
        self._score += other._score
        self._squares += other._squares
        self._fourths += other._fourths
        self._curved.merge(other._curved)
        if self._products is not None and other._products is not None:
            other._end()
            self._products.merge(other._products)

    def _end(self) -> None:
        """Add the group that is still open."""
        if self._products is not None and self._groups is not None:
            self._products.add(self._groups.open[np.newaxis])
            self._groups = None

    def whole(self) -> ScoreSums:
        """Return the result."""
        self._end()
        products = None if self._products is None else self._products.whole()
        return ScoreSums(
            self._loglik, self._score, self._curved.information(), products, self._squares, self._fourths
        )


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
        weight: Vector = some.weight * some.target.sum(axis=1, dtype=np.float64)
        return weight
    return some.weight


class _Products:
    """A sum of products Σ aᵢ aᵢᵀ (size, size): its lower triangle, to which BLAS adds."""

    def __init__(self, size: int) -> None:
        self._sum = np.zeros((size, size), order="F")

    def add(self, rows: Vector) -> None:
        """Add the products of rows (n, size)."""
        if len(rows):
            self._sum = dsyrk(1.0, np.ascontiguousarray(rows).T, 1.0, self._sum, lower=1, overwrite_c=1)

    def merge(self, other: _Products) -> None:
        """Add another sum."""
        self._sum += other._sum

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

    def merge(self, other: _Curvature) -> None:
        """Add the sums of other rows."""
        for own, others in zip(self._own, other._own, strict=True):
            own.merge(others)
        if self._pairs is not None and other._pairs is not None:
            self._pairs.merge(other._pairs)

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
