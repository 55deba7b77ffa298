"""Sums for the dual problem: entropies of mixed probabilities, curvature by an intercept shift, targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Sums
from fastsoftmax.kernels.cuda import launch, loss_functions
from fastsoftmax.kernels.cuda.blocks import here, there
from fastsoftmax.kernels.cuda.passes import Pass, loss_on_device
from fastsoftmax.kernels.cuda.runtime import arrays
from fastsoftmax.kernels.cuda.sums import DeviceSums
from fastsoftmax.losses import family_of

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Loss, Mixture, Params, RowBlock, Vector


def dual(
    loss: Loss,
    params: Params,
    mixture: Mixture,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Array | None = None,
    coef_grad: bool = True,
    dtype: DType | None = None,
) -> Sums:
    """Return Σ wᵢ Σ p̃ log p̃ and the residual sums of the mixed probabilities p̃. One pass over X.

    `logits` (n, K), if given, are those of `params`; without `coef_grad` the sums' `coef` is empty.
    """
    mixed = loss_functions.of(loss).dual
    loss, reading = loss_on_device(loss), Pass(params, block, dtype)
    shift, q = there(mixture.intercept_shift), there(np.asarray(mixture.q))
    found = DeviceSums(reading.n_outputs, reading.n_features if coef_grad else 0)
    for at, z, target, weight in reading.chunks(logits=logits):
        # In float64: the means over rows must agree with those of the targets to the last digits.
        entropies, residuals = mixed(loss, z.astype(np.float64) + shift, target, mixture.theta, q)
        found.value += launch.total(weight * entropies)
        residuals *= weight[:, None]
        found.add(reading.X, at, residuals.astype(z.dtype), coef=coef_grad)
    return found.sums(block.weight)


def shift_curvature(
    loss: Loss,
    params: Params,
    intercept_shift: Vector,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Array | None = None,
    dtype: DType | None = None,
) -> Sums:
    """Return Σ wᵢ ∂pᵢ/∂sᵀ, (K, K) as `coef`, at the logits plus the intercept shift s.

    One pass over X, or none if the `logits` (n, K) of `params` are given.
    """
    # Written for NumPy arrays; CuPy arrays implement NumPy's functions, too.
    curvature = family_of(loss).shift_curvature
    reading, shift = Pass(params, block, dtype), there(intercept_shift)
    total = arrays().zeros((reading.n_outputs, reading.n_outputs))
    for _, z, _, weight in reading.chunks(logits=logits, bytes_each=np.dtype(np.float64).itemsize):
        total += curvature(z.astype(np.float64, copy=False) + shift, weight)
    found = here(total)
    return Sums(0.0, float(block.weight.sum()), found.reshape(-1), found.shape)


def target_sum(loss: Loss, block: RowBlock) -> Sums:
    """Return Σ wᵢ tᵢ of the smoothed targets as `intercept` (K,), on the host; `coef` is empty."""
    total = family_of(loss).weighted_target_sum(loss, block.target, block.weight)
    return Sums(0.0, float(block.weight.sum()), total, (0,))
