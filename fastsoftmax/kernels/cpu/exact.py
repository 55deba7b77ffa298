"""Losses and gradients of few rows from float64 products, by NumPy and SciPy: a check, not a pass.

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

if TYPE_CHECKING:
    from fastsoftmax.contracts import Loss


def loss_grad(storage: Any, loss: Loss, params: Params, block: RowBlock) -> Sums:
    """Return Σ wᵢ ℓᵢ in nats and its gradient over the rows of a block, in float64.

    Parameters
    ----------
    storage : module
        `dense` or `csr`: `in_float64` for this storage of X.
    loss : named tuple
    params : Params
    block : RowBlock

    Notes
    -----
    4 n d K flops on one thread, and a float64 copy of the rows.
    """
    counted = np.flatnonzero(block.weight > 0.0)  # rows of weight zero are never read
    weight, target = block.weight[counted], block.target[counted]
    rows, columns = storage.in_float64(storage_of(block.X).take(block.X, counted))
    # Parameters may be infinite: so is the value then. One thread, as results depend on their number.
    with np.errstate(over="ignore", invalid="ignore"), blas.one_thread():
        logits = rows @ params.coef[:, columns].T + params.intercept
        values, residuals = family_of(loss).losses_and_residuals(loss, logits, target)
        residuals *= weight[:, np.newaxis]
        sums = Sums.empty(params.coef.shape, len(params.intercept))
        sums.joined[:] = 0.0
        sums.coef[:, columns] = (rows.T @ residuals).T
        sums.intercept[:] = residuals.sum(axis=0)
    return replace(sums, value=float(weight @ values), weight=float(block.weight.sum()))
