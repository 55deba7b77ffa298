"""Gram matrices of the rows, weighted by the curvature of a loss: the class blocks of a Hessian."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Sums, compute_dtype
from fastsoftmax.kernels.cuda import loss_functions
from fastsoftmax.kernels.cuda.blocks import here, on_device
from fastsoftmax.kernels.cuda.passes import logits_of, loss_on_device, params_on_device
from fastsoftmax.kernels.cuda.runtime import arrays

if TYPE_CHECKING:
    from fastsoftmax.contracts import Centre, DType, Loss, Params, RowBlock
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers


def gram(
    loss: Loss,
    params: Params | None,
    pairs: bool,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: DType | type = np.float64,
    classes: tuple[int, int] | None = None,
    centre: Centre | None = None,
) -> Sums:
    """Return the diagonal class blocks of the Hessian of Σ wᵢ ℓᵢ, or all with `pairs`, as `coef`.

    `coef` (m, d + 1, d + 1) is of `dtype`; the last row and column are the intercept's. `pairs` are in the
    order (0, 0), (1, 0), (1, 1), …. `classes` (first, last) restricts them to classes first to before last.
    Without parameters: the Gram matrix of the rows, that of a curvature of 1. With `centre` (float64 only)
    the blocks are those of centred rows, at the same logits. 2 m n d² flops.
    """
    loss_functions.of(loss)
    xp, dtype = arrays(), np.dtype(dtype)
    loss = loss_on_device(loss)
    X, target, weight = on_device(block)
    n_outputs = 1 if params is None else len(params.intercept)
    chosen = range(*(classes or (0, n_outputs)))
    n_blocks = len(chosen) * (len(chosen) + 1) // 2 if pairs else len(chosen)
    size = X.shape[1] + 1
    device_params = None if params is None else params_on_device(params, compute_dtype(block.X))
    blocks = xp.zeros((n_blocks, size, size), dtype)
    for at in X.chunks(max(n_outputs, 2 * size), dtype.itemsize):
        if device_params is None:
            columns = [weight[at]]
        else:
            columns = _columns(loss, logits_of(X, at, device_params), target[at], weight[at], chosen, pairs)
        joined = xp.ones((at.stop - at.start, size), dtype)
        joined[:, :-1] = X.dense(at, dtype)
        if centre is not None:
            joined[:, :-1] -= xp.asarray(centre.mean)
        for m, curvature in enumerate(columns):
            blocks[m] += (joined * curvature.astype(dtype, copy=False)[:, None]).T @ joined
    result = Sums.empty((n_blocks, size, size), 0, dtype)
    result.coef[...] = here(blocks)
    return replace(result, weight=float(block.weight.sum()))


def _columns(
    loss: Loss,
    z: DeviceNumbers,
    target: DeviceNumbers,
    weight: DeviceNumbers,
    classes: range,
    pairs: bool,
) -> list[DeviceNumbers]:
    """Return w ∂²ℓ/∂z_k², (n,), for each of the classes, or with `pairs` w ∂²ℓ/∂z_k∂z_l for l ≤ k."""
    functions = loss_functions.of(loss)
    if not pairs:
        return list(functions.curvature(loss, z, target, weight).T[classes.start : classes.stop])
    chosen = [(k, other) for k in classes for other in range(classes.start, k + 1)]
    return functions.hessian_columns(loss, z, target, weight, chosen)
