"""The Hessian of the summed losses: its product with a direction, and its diagonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.kernels.cuda import loss_functions
from fastsoftmax.kernels.cuda.passes import Pass, logits_of, loss_on_device, params_on_device
from fastsoftmax.kernels.cuda.sums import DeviceSums

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Loss, Params, RowBlock, Sums


def hessp(
    loss: Loss,
    params: Params,
    direction: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    logits: Array | None = None,
    dtype: DType | None = None,
    stays: bool = False,
) -> Sums:
    """Return the Hessian of Σ wᵢ ℓᵢ times a direction. One pass over X, 6 n d K flops.

    `logits` (n, K), if given, are those of `params`, which saves a third of the flops. With `stays` the sums
    stay on the device, and the host does not wait.
    """
    loss_hessp = loss_functions.of(loss).hessp
    loss, reading = loss_on_device(loss), Pass(params, block, dtype)
    device_direction = params_on_device(direction, reading.dtype)
    found = DeviceSums(reading.n_outputs, reading.n_features)
    for at, z, target, weight in reading.chunks(logits=logits, bytes_each=2 * reading.dtype.itemsize):
        s = logits_of(reading.X, at, device_direction)
        found.add(reading.X, at, loss_hessp(loss, z, s, target, weight))
    return found.sums(block.weight, stays=stays)


def diagonal(
    loss: Loss,
    params: Params,
    block: RowBlock,
    n_threads: int | None = None,
    *,
    dtype: DType | None = None,
) -> Sums:
    """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ. One pass over X, 4 n d K flops."""
    curvature = loss_functions.of(loss).curvature
    loss, reading = loss_on_device(loss), Pass(params, block, dtype)
    found = DeviceSums(reading.n_outputs, reading.n_features)
    for at, z, target, weight in reading.chunks():
        found.add(reading.X, at, curvature(loss, z, target, weight), squared=True)
    return found.sums(block.weight)
