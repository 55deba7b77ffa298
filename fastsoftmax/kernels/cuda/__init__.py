"""The verbs of the GPU device: row functions in fused Numba kernels, products with X through CuPy.

Host arrays are copied to the device and back. A block returned by `placed` is copied once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.kernels.cuda.blocks import has_memory, here, placed, there
from fastsoftmax.kernels.cuda.curvatures import diagonal, hessp
from fastsoftmax.kernels.cuda.duals import dual, shift_curvature, target_sum
from fastsoftmax.kernels.cuda.external import checked_rows, fetched, some_rows, taken, with_constant
from fastsoftmax.kernels.cuda.functions import along, cross_entropy
from fastsoftmax.kernels.cuda.gradients import check, loss_grad, loss_grads
from fastsoftmax.kernels.cuda.grams import gram
from fastsoftmax.kernels.cuda.launch import empty, total
from fastsoftmax.kernels.cuda.loss_functions import sigmoid as _sigmoid  # noqa: F401  (registers its functions)
from fastsoftmax.kernels.cuda.loss_functions import softmax as _softmax  # noqa: F401  (registers its functions)
from fastsoftmax.kernels.cuda.passes import loss_on_device
from fastsoftmax.kernels.cuda.predictions import logits, top
from fastsoftmax.kernels.cuda.rows import losses_of, write_map, write_sigmoid
from fastsoftmax.kernels.cuda.runtime import float64_speed, require

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Loss, Vector
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers

__all__ = [
    "along",
    "check",
    "checked_rows",
    "cross_entropy",
    "diagonal",
    "dual",
    "empty",
    "fetched",
    "float64_speed",
    "gram",
    "has_memory",
    "here",
    "hessp",
    "log_softmax",
    "logits",
    "logsumexp",
    "loss_grad",
    "loss_grads",
    "penalise",
    "placed",
    "require",
    "row_losses",
    "shift_curvature",
    "sigmoid",
    "softmax",
    "some_rows",
    "taken",
    "target_sum",
    "there",
    "top",
    "with_constant",
]


def softmax(x: Array, out: Array, n_threads: int | None = None) -> None:
    """Write the softmax of each row of x (n, K) to out, which may be x."""
    _written("softmax", x, out)


def log_softmax(x: Array, out: Array, n_threads: int | None = None) -> None:
    """Write the log-softmax of each row of x (n, K) to out, which may be x."""
    _written("log_softmax", x, out)


def logsumexp(x: Array, out: Array, n_threads: int | None = None) -> None:
    """Write log Σ e^x of each row of x (n, K) to out (n,)."""
    _written("logsumexp", x, out)


def _written(name: str, x: Array, out: Array) -> None:
    device_x, device_out = there(x), there(out)
    write_map(name, device_x, device_out)
    _copy_back(device_out, out)


def sigmoid(x: Array, out: Array, n_threads: int | None = None, *, log: bool = False) -> None:
    """Write 1 / (1 + e^(−x)), or its logarithm if `log`, to out (may be x); both C-ordered, of any shape."""
    device_x, device_out = there(x), there(out)
    write_sigmoid(device_x, device_out, log)
    _copy_back(device_out, out)


def row_losses(
    loss: Loss,
    x: Array,
    target: Array,
    *,
    weight: Vector | None = None,
    ignore_index: int = -1,
    row_values: Array | None = None,
    slopes: Array | None = None,
    n_threads: int | None = None,
) -> float:
    """Return Σ wᵢ ℓ(xᵢ, tᵢ) over the rows of x (n, K), in nats; arguments as for `kernels.cpu.row_losses`."""
    device_slopes = None if slopes is None else there(slopes)
    device_weight = None if weight is None else there(weight)
    arguments = loss_on_device(loss), there(x), there(target)
    values = losses_of(*arguments, weight=device_weight, ignore_index=ignore_index, slopes=device_slopes)
    if slopes is not None:
        _copy_back(device_slopes, slopes)
    if row_values is not None:
        _copy_back(values, row_values)
    return float(total(values))


def penalise(sums: DeviceNumbers, scale: float, l2: float, coef: DeviceNumbers) -> DeviceNumbers:
    """Turn sums into scale · sums + l2 · coef in place; return ‖coef‖² as an array () on the device."""
    sums *= scale
    sums += l2 * coef
    return total(coef * coef)


def _copy_back(result: DeviceNumbers, out: Array) -> None:
    """Copy a result on the device to the caller's array on the host, unless they are the same array."""
    if result is not out:
        out[...] = here(result)
