"""A pass over X, chunk by chunk: products through CuPy, and the row kernels between them.

The (n, K) logits never exist as a whole. Sums over chunks are accumulated in float64, in the order of the
rows; within a chunk they are cuBLAS products in float32 or float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts import compute_dtype
from fastsoftmax.kernels.cuda.blocks import on_device, there

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import DType, Loss, Params, RowBlock
    from fastsoftmax.kernels.cuda.blocks import Matrix
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers


class DeviceParams(NamedTuple):
    """Coefficients (K, d) and intercepts (K,) on the device, in the dtype of the products."""

    coef: DeviceNumbers
    intercept: DeviceNumbers


def params_on_device(params: Params, dtype: DType) -> DeviceParams:
    """Return parameters on the device, C-ordered, in a dtype; host arrays are copied."""
    coef, intercept = (
        there(np.ascontiguousarray(part, dtype))
        if isinstance(part, np.ndarray)
        else part.astype(dtype, copy=False)
        for part in params
    )
    return DeviceParams(coef, intercept)


def loss_on_device(loss: Loss) -> Loss:
    """Return a loss with its arrays on the device, for the kernels of every chunk."""
    return type(loss)(*(there(part) if isinstance(part, np.ndarray) else part for part in loss))


def logits_of(X: Matrix, at: slice, params: DeviceParams) -> DeviceNumbers:
    """Return the logits of the rows `at`, (m, K), C-ordered."""
    z = X.times(at, params.coef)
    z += params.intercept
    return z


class Chunk(NamedTuple):
    """A chunk of rows on the device.

    `at` is their slice of the block; `z` (m, K) are their logits, which may be overwritten; `target` is (m,)
    or (m, K), `weight` (m,).
    """

    at: slice
    z: DeviceNumbers
    target: DeviceNumbers
    weight: DeviceNumbers


class Pass:
    """One pass over a block's rows: their logits, chunk by chunk.

    Parameters
    ----------
    params : Params
    block : RowBlock
    dtype : dtype or None
        Of the products; by default `compute_dtype(X)`.
    """

    def __init__(self, params: Params, block: RowBlock, dtype: DType | None) -> None:
        self.dtype = compute_dtype(block.X, dtype)
        self.params = params_on_device(params, self.dtype)
        self.n_outputs = len(self.params.intercept)
        self.X, self._target, self._weight = on_device(block)

    @property
    def n_features(self) -> int:
        """The number of features."""
        return self.X.shape[1]

    def chunks(
        self, *, logits: DeviceNumbers | None = None, bytes_each: int | None = None
    ) -> Iterator[Chunk]:
        """Yield the chunks.

        Parameters
        ----------
        logits : array (n, K), optional
            Known logits of `params`; they are copied chunk by chunk.
        bytes_each : int, optional
            Memory that the caller holds for each logit, if more than the logit itself.
        """
        for at in self.X.chunks(self.n_outputs, bytes_each or self.dtype.itemsize):
            z = logits_of(self.X, at, self.params) if logits is None else there(logits[at]).copy()
            yield Chunk(at, z, self._target[at], self._weight[at])
