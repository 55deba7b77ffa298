"""Sums of rows' scores and of their products, by NumPy: the middle of a sandwich covariance.

The score of a row is the gradient of its log-likelihood, −wᵢ ∂ℓᵢ/∂(b, W): for the logits that are kept,
wᵢ (tᵢ − pᵢ) ⊗ (1, xᵢ). Nothing is compiled for it; a reading of X serves for all the sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr, Halves, RowBlock
from fastsoftmax.contracts.storages import row_slice, storage_of
from fastsoftmax.data import sparse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Loss, Params, Vector

# Of the arrays that some rows take beside X, whatever n: they stay in a second-level cache or nearly so.
CHUNK_BYTES, MIN_CHUNK = 2**23, 64


class ScoreSums(NamedTuple):
    """The sums over rows at one point.

    Attributes
    ----------
    loglik : float
        −Σ wᵢ ℓᵢ, in nats.
    score : ndarray (m, q)
        Σ sᵢ, for m logits and q terms: the constant first, if there is one.
    products : ndarray (m q, m q) or None
        Σ sᵢ sᵢᵀ over the rows, or over the groups' sums of scores.
    squares, fourths : ndarray (q,)
        Σ wᵢ x² and Σ wᵢ x⁴ of the terms.
    """

    loglik: float
    score: Vector
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
    float64. One reading of X: 4 n d K flops, and with `products` n (m q)² more, or G (m q)² for G groups; 8
    MiB beside the result. Rows that are not in their groups' order are copied some at a time.
    """
    size = len(kept) * weights.shape[1]
    loglik, score = 0.0, np.zeros((len(kept), weights.shape[1]))
    squares, fourths = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    total = np.zeros((size, size)) if products else None
    order = None
    if products and groups is not None and (np.diff(groups) < 0).any():
        order = np.argsort(groups, kind="stable")
        groups = groups[order]
    summed = _Groups(groups, size) if products and groups is not None else None
    width = 2 * size if products else weights.shape[1] + 4 * len(weights)
    for some in chunks(rows, width, order):
        columns = terms.of(some.X)
        values, residuals = family.losses_and_residuals(loss, columns @ weights.T, some.target)
        loglik -= float(some.weight @ values)
        slopes = -some.weight[:, np.newaxis] * residuals[:, kept]
        score += slopes.T @ columns
        if total is not None:
            each = (slopes[:, :, np.newaxis] * columns[:, np.newaxis, :]).reshape(len(columns), size)
            if summed is not None:
                each = summed.complete(each)
            total += each.T @ each
        np.square(columns, out=columns)
        squares += some.weight @ columns
        np.square(columns, out=columns)
        fourths += some.weight @ columns
    if total is not None and summed is not None:
        total += np.outer(summed.open, summed.open)
    return ScoreSums(loglik, score, total, squares, fourths)


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
