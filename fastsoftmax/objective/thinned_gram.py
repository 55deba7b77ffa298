"""The Hessian of one logit over some of the rows, summed in one reading: a Gram matrix of weighted rows.

A sample that is kept in memory has few rows for a feature where rows are wide, and a Newton step with its
Hessian then takes away half of the gradient only. The sum of x̃ᵢ x̃ᵢᵀ over rows that are met once and let go
takes (d + 1)² numbers, whatever their number. Row i, of curvature cᵢ = wᵢ pᵢ (1 − pᵢ), is taken with
probability min(1, cᵢ · rate), with the weight cᵢ over that: rows that tell next to nothing are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Csr, Params, RowBlock, Sums
from fastsoftmax.contracts.queries import Gram
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.data.blocks.sample import keys, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import DType, HostRows, Loss, Vector
    from fastsoftmax.contracts.device import PassDevice

OTHER_ROWS = 2**61  # added to a row's place: whether it is taken has nothing to do with other samples


class _Taken(NamedTuple):
    """Rows that are not yet summed, and their weights."""

    X: HostRows
    weight: Vector


@dataclass(frozen=True, slots=True, eq=False)
class RowGram:
    """Σ vᵢ x̃ᵢ x̃ᵢᵀ over rows; `+` gives that of both sets of rows.

    Rows wait in `waiting` until there are as many as features: a product of few rows would take as long to
    add to the matrix as to compute. `weight` is Σ wᵢ of all rows, taken or not.
    """

    waiting: tuple[_Taken, ...]
    summed: Sums | None
    weight: float
    dtype: DType
    loss: Loss  # no part of the sum, but of the query that makes it
    n_threads: int | None

    def __add__(self, other: RowGram) -> RowGram:
        summed = self.summed
        if other.summed is not None:
            summed = other.summed if summed is None else summed + other.summed
        both = replace(
            self, waiting=self.waiting + other.waiting, summed=summed, weight=self.weight + other.weight
        )
        n_waiting = sum(len(each.weight) for each in both.waiting)
        return both.folded() if both.waiting and n_waiting > both.waiting[0].X.shape[1] else both

    def folded(self) -> RowGram:
        """Return the same with no row waiting."""
        if not self.waiting:
            return self
        n_rows = sum(len(each.weight) for each in self.waiting)
        X = rows_of([each.X for each in self.waiting], np.arange(n_rows))
        weight = np.concatenate([each.weight for each in self.waiting])
        query = Gram(None, False, self.dtype)
        block = RowBlock(X, np.zeros(n_rows, np.int64), weight)
        sums = devices.answer(query, self.loss, "cpu", block, self.n_threads)
        return replace(self, waiting=(), summed=sums if self.summed is None else self.summed + sums)

    def matrix(self) -> Vector | None:
        """Return the sum over the sum of weights, (d + 1, d + 1) float64, lower triangle; None if no row."""
        summed = self.folded().summed
        if summed is None:
            return None
        matrix: Vector = summed.coef[0].astype(np.float64)
        matrix /= self.weight
        return matrix


@dataclass(frozen=True, slots=True, eq=False)
class ThinnedGram:
    """The sum `RowGram` over rows taken at `rate`, at parameters of one logit. About a pass, and m d² flops.

    `first` is the place of the block's first row among all. Of scaled rows the sum is that of the rows as
    they are: `of_scaled_rows` changes its matrix. `products` is its dtype, `dtype` that of the logits.
    """

    params: Params
    rate: float
    products: DType
    dtype: DType | None = None
    first: int = 0

    def placed(self, first: int) -> ThinnedGram:
        """Return the query for a block whose first row has that place among all rows."""
        return replace(self, first=first)

    def of_features(self, of_rows: Callable[[Params], Params], squares: Vector) -> ThinnedGram:
        """Return the query to rows as they are, of one to scaled rows."""
        return replace(self, params=of_rows(self.params))

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> RowGram:
        """Return the answer for one block."""
        place = np.arange(self.first, self.first + block.n_rows, dtype=np.int64) + OTHER_ROWS
        uniform = (keys(place).astype(np.float64) + 0.5) * 2.0**-64
        curvature = self.curvatures(device, block, n_threads)
        taken = np.flatnonzero(uniform < self.rate * curvature)
        X = block.X._replace(transpose=None) if isinstance(block.X, Csr) else block.X
        rows = _Taken(storage_of(X).take(X, taken), np.maximum(curvature[taken], 1.0 / self.rate))
        waiting = (rows,) if len(taken) else ()
        return RowGram(waiting, None, float(block.weight.sum()), self.products, loss, n_threads)

    def curvatures(self, device: PassDevice, block: RowBlock, n_threads: int | None) -> Vector:
        """Return wᵢ pᵢ (1 − pᵢ) of a block's rows, (n,)."""
        logits = device.logits(self.params, block.X, n_threads, dtype=self.dtype)[:, 0]
        e = np.exp(-np.abs(logits.astype(np.float64)))
        curvature: Vector = block.weight * e / (1.0 + e) ** 2
        return curvature


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedRows:
    """The number of rows that `query` is expected to take, as `value`."""

    query: ThinnedGram

    def of_features(self, of_rows: Callable[[Params], Params], squares: Vector) -> ExpectedRows:
        """Return the query to rows as they are, of one to scaled rows."""
        return ExpectedRows(self.query.of_features(of_rows, squares))

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        expected = np.minimum(1.0, self.query.rate * self.query.curvatures(device, block, n_threads))
        return Sums(float(expected.sum()), float(block.weight.sum()), np.empty(0), (0,))


def of_scaled_rows(matrix: Vector, features: Vector) -> Vector:
    """Return the matrix of rows ((x − mean) factor, 1), in place, from that of rows (x, 1); whole matrices.

    `features` (2, d) are the factor and the mean.
    """
    factor, mean = features
    if mean.any():
        ones = matrix[-1].copy()
        matrix[:-1] -= np.outer(mean, ones)
        matrix[:, :-1] -= np.outer(matrix[:, -1], mean)
    matrix[:-1] *= factor[:, np.newaxis]
    matrix[:, :-1] *= factor
    return matrix
