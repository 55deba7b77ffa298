"""The class blocks of a Hessian from the rows that each class is undecided about.

A class is certain of most rows: a tenth of those of Fashion-MNIST has nearly all of its curvature, another
for each class. So class k takes row i, of cᵢₖ = wᵢ pᵢₖ (1 − pᵢₖ), with probability min(1, cᵢₖ / τₖ), at
the weight max(cᵢₖ, τₖ): the sum is that of all rows on average, and the rows that matter are all there. Of as
many rows by chance most tell nothing. What is drawn depends on a row's place alone: a fit repeats to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.special

from fastsoftmax import losses
from fastsoftmax.contracts import Halves, Params, Sums
from fastsoftmax.contracts.storages import row_slice, storage_of
from fastsoftmax.data.blocks.sample import keys
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import run_in_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import DType, Loss, RowBlock, Vector
    from fastsoftmax.contracts.device import PassDevice

OTHER_ROWS = 2**60  # added to a row's place: whether it is taken has nothing to do with other samples
AT_ONCE = 2**14  # rows whose probabilities are computed at a time
CHUNK_BYTES = 2**22  # of the rows that a class gathers at once
MULTIPLES = 2.0 ** np.arange(-2, 8)  # of a class's mean curvature, from which its τ is told
PRODUCT, CURVATURE = 0.05, 20.0  # nanoseconds of one thread for a product of two numbers, and for a curvature


def curvatures(
    params: Params, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None
) -> Vector:
    """Return wᵢ pᵢₖ (1 − pᵢₖ) of a block's rows, (K, n) float64. Half a pass."""
    exclusive = losses.family_of(loss).SHIFT_INVARIANT
    n_rows = block.X.shape[0]
    curvature = np.empty((len(params.coef), n_rows))
    for start in range(0, n_rows, AT_ONCE):  # the logits of all rows would be as large again, twice
        part = slice(start, start + AT_ONCE)
        rows = row_slice(block.X, start, min(n_rows, start + AT_ONCE))
        logits = np.asarray(device.logits(params, rows, n_threads), np.float64)
        proba = scipy.special.softmax(logits, axis=1) if exclusive else scipy.special.expit(logits)
        np.multiply(proba, 1.0 - proba, out=proba)
        proba *= block.weight[part, np.newaxis]
        curvature[:, part] = proba.T
    return curvature


@dataclass(frozen=True, slots=True, eq=False)
class ExpectedRows:
    """How many rows each class is expected to take at each of its τ, (K, m), as `coef`. CPU only."""

    params: Params
    levels: Vector

    def of_scaled(self, of_rows: Callable[[Params], Params], factor: Vector, mean: Vector) -> ExpectedRows:
        """Return the query to rows as they are, of one to scaled rows."""
        return replace(self, params=of_rows(self.params))

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        curvature = curvatures(self.params, device, loss, block, n_threads)
        counts = np.array(
            [
                [np.minimum(1.0, of_class / level).sum() for level in levels]
                for of_class, levels in zip(curvature, self.levels, strict=True)
            ]
        )
        return Sums(0.0, float(block.weight.sum()), counts.ravel(), counts.shape)


def levels_for(counts: Vector, levels: Vector, n_wanted: int) -> Vector:
    """Return τ (K,) at which each class takes about `n_wanted` rows, from `ExpectedRows` at `levels`."""
    wanted = np.log(max(1, n_wanted))
    return np.array(
        [
            np.exp(np.interp(-wanted, -np.log(np.maximum(expected, 1e-300)), np.log(level)))
            for expected, level in zip(counts, levels, strict=True)
        ]
    )


@dataclass(frozen=True, slots=True, eq=False)
class ThinnedBlocks:
    """Class blocks (K, d + 1, d + 1) of thinned rows (x, 1), as `coef`, laid out as those of `Gram`.

    Dense rows in the host's memory. Half a pass, and m d² flops for each class's m rows.

    Parameters
    ----------
    params : Params
    levels : ndarray (K,)
        τ, positive.
    dtype : {float32, float64}
        Of the products and the result.
    first : int
        The place of the block's first row among all.
    features : ndarray (2, d), optional
        The rows are taken less the second row, times the first.
    """

    params: Params
    levels: Vector
    dtype: DType | type = np.float64
    first: int = 0
    features: Vector | None = None

    def placed(self, first: int) -> ThinnedBlocks:
        """Return the query for a block whose first row has that place among all rows."""
        return replace(self, first=first)

    def of_scaled(self, of_rows: Callable[[Params], Params], factor: Vector, mean: Vector) -> ThinnedBlocks:
        """Return the query to rows as they are, of one to rows less `mean` (d,) times `factor` (d,)."""
        return replace(self, params=of_rows(self.params), features=np.stack((factor, mean)))

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Sums:
        """Return the answer for one block."""
        n_rows, n_features = block.X.shape
        curvature = curvatures(self.params, device, loss, block, n_threads)
        place = np.arange(self.first, self.first + n_rows, dtype=np.int64) + OTHER_ROWS
        uniform = (keys(place).astype(np.float64) + 0.5) * 2.0**-64
        n_classes, order = len(curvature), n_features + 1
        result = Sums.empty((n_classes, order, order), 0, self.dtype)
        result.coef[:] = 0.0
        taken = [
            np.flatnonzero(c > uniform * level).astype(np.int64)
            for c, level in zip(curvature, self.levels, strict=True)
        ]
        chunk = max(256, CHUNK_BYTES // (order * np.dtype(self.dtype).itemsize))

        def work(classes: Iterator[int]) -> Iterator[None]:
            for k in classes:
                for start in range(0, len(taken[k]), chunk):
                    some = taken[k][start : start + chunk]
                    rows = self._rows(block, some)
                    rows *= np.sqrt(np.maximum(curvature[k, some], self.levels[k]))[:, np.newaxis].astype(
                        self.dtype
                    )
                    result.coef[k] += rows.T @ rows
                    yield

        n_products = sum(map(len, taken)) * order * order
        with blas.one_thread():
            run_in_python(work, n_classes, work=PRODUCT * n_products / 2, n_threads=n_threads)
        return replace(result, weight=float(block.weight.sum()))

    def _rows(self, block: RowBlock, places: NDArray[np.int64]) -> Vector:
        """Return rows (x, 1) with these places, in the products' dtype, copied."""
        X: Any = storage_of(block.X).take(block.X, places)
        X = X.bits.view(np.float16) if isinstance(X, Halves) else X
        rows = np.empty((len(places), X.shape[1] + 1), self.dtype)
        if self.features is None:
            rows[:, :-1] = X
        else:
            rows[:, :-1] = (X - self.features[1]) * self.features[0]
        rows[:, -1] = 1.0
        return rows
