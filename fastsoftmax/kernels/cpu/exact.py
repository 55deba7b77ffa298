"""The check of a fit: losses and gradients of few rows from float64 products, by NumPy and SciPy.

Kernels for float64 products of narrow rows would take as long to compile as all others of a fit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Params, RowBlock, Sums
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.losses import family_of
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.buffers import BufferPool

if TYPE_CHECKING:
    from fastsoftmax.contracts import Loss


def check(storage: Any, loss: Loss, stored: Params, params: Params | None, block: RowBlock) -> Sums:
    """Return Σ wᵢ ℓᵢ in nats at `stored`, and its gradient at `params`, over the rows of a block, in float64.

    Parameters
    ----------
    storage : module
        `dense` or `csr`: `in_float64` for this storage of X.
    loss : named tuple
    stored, params : Params
        Without `params` the sums' `coef` is empty, and their `intercept` zero.
    block : RowBlock

    Notes
    -----
    2 n d K flops for the losses and 4 n d K for the gradient, on one thread, and a float64 copy of the rows.
    """
    counted = np.flatnonzero(block.weight > 0.0)  # rows of weight zero are never read
    weight, target = block.weight[counted], block.target[counted]
    rows, columns = storage.in_float64(storage_of(block.X).take(block.X, counted))
    family = family_of(loss)

    def at(params: Params) -> Any:
        logits = rows @ params.coef[:, columns].T + params.intercept
        return family.losses_and_residuals(loss, logits, target)

    shape = stored.coef.shape if params is not None else (0, 0)
    buffers = block.buffers or BufferPool()
    sums = Sums.empty(shape, len(stored.intercept), allocate=buffers.array)
    sums.joined[:] = 0.0
    # Parameters may be infinite: so is the value then. One thread, as results depend on their number.
    with np.errstate(over="ignore", invalid="ignore"), blas.one_thread():
        value = float(weight @ at(stored)[0])
        if params is not None:
            residuals = at(params)[1] * weight[:, np.newaxis]
            sums.coef[:, columns] = (rows.T @ residuals).T
            sums.intercept[:] = residuals.sum(axis=0)
    return replace(sums, value=value, weight=float(block.weight.sum()))
