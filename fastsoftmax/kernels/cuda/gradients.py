"""The summed losses and their gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cuda import launch, loss_functions
from fastsoftmax.kernels.cuda.blocks import here
from fastsoftmax.kernels.cuda.passes import Pass, loss_on_device
from fastsoftmax.kernels.cuda.sums import DeviceSums
from fastsoftmax.losses import family_of

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Loss, Params, RowBlock, Sums, Vector


def loss_grad(
    loss: Loss,
    params: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    row_values: Array | None = None,
    X_grad: Array | None = None,
    coef_grad: bool = True,
    dtype: DType | None = None,
    stays: bool = False,
) -> Sums:
    """Return Σ wᵢ ℓᵢ in nats and its gradient over the rows of a block. One pass over X, 4 n d K flops.

    `row_values` (n,) and `X_grad` (n, d), if given, receive wᵢ ℓᵢ and the gradient with respect to X; without
    `coef_grad` the sums' `coef` is empty. With `stays` the sums stay on the device, and the host does not
    wait.
    """
    losses_of = loss_functions.of(loss).losses_of
    loss, reading = loss_on_device(loss), Pass(params, block, dtype)
    found = DeviceSums(reading.n_outputs, reading.n_features if coef_grad else 0)
    for at, z, target, weight in reading.chunks():
        values = losses_of(loss, z, target, weight=weight, slopes=z)
        found.value += launch.total(values)
        found.add(reading.X, at, z, coef=coef_grad)
        if row_values is not None:
            row_values[at] = here(values)
        if X_grad is not None:
            X_grad[at] = here(z @ reading.params.coef)
    return found.sums(block.weight, stays=stays)


def check(loss: Loss, stored: Params, params: Params | None, block: RowBlock) -> Sums:
    """Return Σ wᵢ ℓᵢ in nats at `stored`, and its gradient at `params`, from float64 products, of few rows.

    Without `params` the sums' `coef` is empty, and their `intercept` zero.
    """
    target = block.target if block.target.ndim == 1 else block.target.astype(np.float64)
    loss, block, dtype = family_of(loss).in_float64(loss), block._replace(target=target), np.dtype(np.float64)
    sums = loss_grad(loss, stored, block, coef_grad=False, dtype=dtype)
    if params is not None:
        return replace(loss_grad(loss, params, block, dtype=dtype), value=sums.value)
    sums.joined[:] = 0.0
    return sums


def loss_grads(
    loss: Loss,
    params: list[Params],
    weights: Vector | None,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: DType | None = None,
) -> list[Sums]:
    """Return Σ wᵢ ℓᵢ and its gradient for each of s parameters, each with its own row of `weights` (s, n).

    `weights` None uses the block's weights for all. One pass over X for each.
    """
    blocks = [block] * len(params) if weights is None else [block._replace(weight=its) for its in weights]
    return [loss_grad(loss, its, each, dtype=dtype) for its, each in zip(params, blocks, strict=True)]
