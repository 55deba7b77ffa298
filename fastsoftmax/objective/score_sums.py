"""Sums over rows for inference: log-likelihood, scores, information, and the middle of a sandwich.

The score of a row is the gradient of its log-likelihood, −wᵢ ∂ℓᵢ/∂(b, W): for the logits that are kept,
wᵢ (tᵢ − pᵢ) ⊗ (1, xᵢ). By NumPy and BLAS: nothing is compiled for it, and one reading of X serves for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.objective.curvature import Curvature, ProductSum, outer, probabilities, sum_size
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
    curvature : Curvature
        The sums of the Hessian of Σ wᵢ ℓᵢ.
    products : ndarray (m q, m q) or None
        Σ sᵢ sᵢᵀ over the rows, or over the groups' sums of scores.
    squares, fourths : ndarray (q,)
        Σ wᵢ x² and Σ wᵢ x⁴ of the terms.
    """

    loglik: float
    score: Vector
    curvature: Curvature
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
    offset: Vector | None = None,
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
    offset : ndarray (n, K), optional
        Known logits, which are added.
    n_threads : int or None

    Notes
    -----
    float64. One reading of X: 4 n d K flops, and for the information of a softmax n m (m + 1) q² / 2 more,
    of labels n m q²; with `products` n (m q)² more, or G (m q)² for G groups. Some 20 MiB a thread, and
    128 MiB at most for sums of several parts of the rows, beside the result and the sums that it is made of
    (`fastsoftmax.objective.curvature.sum_size`). Rows that are not in their groups' order are copied some
    at a time.
    """
    m, q = len(kept), weights.shape[1]
    size = m * q
    sums_size = sum_size(m, q, family.SHIFT_INVARIANT) + products * size**2
    numbers = 4 * len(weights) + 3 * q + 2 * (m * (m + 1) // 2 if family.SHIFT_INVARIANT else m)
    order = None
    if groups is not None and (np.diff(groups) < 0).any():
        order = np.argsort(groups, kind="stable")
        groups = groups[order]
        offset = None if offset is None else offset[order]

    def start(part: slice) -> _Sums:
        of_part = None if groups is None else groups[part]
        known = None if offset is None else offset[part]
        return _Sums(loss, family, weights, kept, terms, products, of_part, known)

    found = summed(
        rows, start, numbers_per_row=numbers + 2 * size * products, sums_size=sums_size, order=order,
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
        offset: Vector | None,
    ) -> None:
        self._loss, self._family, self._weights = loss, family, weights
        self._kept, self._terms = kept, terms
        self._offset, self._place = offset, 0
        n_terms = weights.shape[1]
        self._loglik, self._score = 0.0, np.zeros((len(kept), n_terms))
        self._squares, self._fourths = np.zeros(n_terms), np.zeros(n_terms)
        self._curved = Curvature(len(kept), n_terms, family.SHIFT_INVARIANT)
        self._products = ProductSum(self._score.size) if products else None
        self._groups = None if groups is None or not products else _Groups(groups, self._score.size)

    def add(self, some: RowBlock) -> None:
        """Add some rows."""
        columns = self._terms.of(some.X)
        logits = columns @ self._weights.T
        if self._offset is not None:
            logits += self._offset[self._place : self._place + len(logits)]
            self._place += len(logits)
        values, residuals = self._family.losses_and_residuals(self._loss, logits, some.target)
        self._loglik -= float(some.weight @ values)
        slopes = -some.weight[:, np.newaxis] * residuals[:, self._kept]
        self._score += slopes.T @ columns
        proba, rest = probabilities(logits, self._family.SHIFT_INVARIANT)
        weight = _curvature_weight(some, self._family)
        self._curved.add(columns, proba[:, self._kept], rest[:, self._kept], weight)
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
        return ScoreSums(self._loglik, self._score, self._curved, products, self._squares, self._fourths)


def _curvature_weight(some: RowBlock, family: Any) -> Vector:
    """Return the rows' weights, times what targets of a softmax sum to: probabilities are not quite one."""
    if family.SHIFT_INVARIANT and some.target.ndim == 2:
        weight: Vector = some.weight * some.target.sum(axis=1, dtype=np.float64)
        return weight
    return some.weight


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
