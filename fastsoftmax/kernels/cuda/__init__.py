"""The GPU: rows of logits in fused Numba kernels, products with X through CuPy; verbs as in `kernels.cpu`.

Arrays may be of the host: they are copied there and back. Rows that `placed` has seen are copied once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsoftmax.kernels.cuda.blocks import has_room, here, placed, there
from fastsoftmax.kernels.cuda.functions import along, cross_entropy
from fastsoftmax.kernels.cuda.guests import checked_rows, fetched, some_rows, taken, with_constant
from fastsoftmax.kernels.cuda.launch import empty, total
from fastsoftmax.kernels.cuda.rows import losses_of, write_map, write_sigmoid
from fastsoftmax.kernels.cuda.runtime import float64_share, require
from fastsoftmax.kernels.cuda.verbs import (
    diagonal,
    dual,
    gram,
    hessp,
    logits,
    loss_grad,
    loss_grads,
    shift_curvature,
    top,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "along",
    "checked_rows",
    "cross_entropy",
    "diagonal",
    "dual",
    "empty",
    "fetched",
    "float64_share",
    "gram",
    "has_room",
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
    "there",
    "top",
    "with_constant",
]


def softmax(x: Any, out: Any, n_threads: int | None = None) -> None:
    """Write the softmax of each row of x (n, K) to out, which may be x."""
    _written("softmax", x, out)


def log_softmax(x: Any, out: Any, n_threads: int | None = None) -> None:
    """Write the logarithm of the softmax of each row of x (n, K) to out, which may be x."""
    _written("log_softmax", x, out)


def logsumexp(x: Any, out: Any, n_threads: int | None = None) -> None:
    """Write log Σ e^x of each row of x (n, K) to out (n,)."""
    _written("logsumexp", x, out)


def _written(name: str, x: Any, out: Any) -> None:
    given, result = there(x), there(out)
    write_map(name, given, result)
    _back(result, out)


def sigmoid(x: Any, out: Any, n_threads: int | None = None, *, log: bool = False) -> None:
    """Write 1 / (1 + e^(−x)), or its logarithm, to out, which may be x; both are C-ordered."""
    given, result = there(x), there(out)
    write_sigmoid(given, result, log)
    _back(result, out)


def row_losses(
    loss: Any,
    x: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -1,
    row_values: Any = None,
    slopes: Any = None,
    n_threads: int | None = None,
) -> float:
    """Return Σ wᵢ ℓ(xᵢ, tᵢ) over the rows of x (n, K), in nats; as `kernels.cpu.row_losses`."""
    written = None if slopes is None else there(slopes)
    own = None if weight is None else there(weight)
    values = losses_of(loss, there(x), there(target), weight=own, ignore_index=ignore_index, slopes=written)
    if slopes is not None:
        _back(written, slopes)
    if row_values is not None:
        _back(values, row_values)
    return float(total(values))


def penalise(sums: Any, share: float, l2: float, coef: Any) -> Any:
    """Turn sums into share · sums + l2 · coef in place, and return ‖coef‖² as an array () of the device."""
    sums *= share
    sums += l2 * coef
    return total(coef * coef)


def _back(result: Any, out: NDArray[Any]) -> None:
    """Copy what was written on the device to the host's array, unless it is the same."""
    if result is not out:
        out[...] = here(result)
