"""Row kernels: logits already in memory, one contiguous row at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import types
from numba.extending import overload

from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.executor import even_bounds, kernel, run
from fastsoftmax.kernels.jit import jit
from fastsoftmax.losses import row_loss
from fastsoftmax.losses.sigmoid import log_sigmoid_of, sigmoid_of
from fastsoftmax.losses.softmax import exponential_sums, log_sum, scale, softmax_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

NANOSECONDS = 0.8  # an element of a row kernel, about; decides what is done in line


@kernel
def _softmax(start, stop, part, x, out):
    for i in range(start, stop):
        softmax_to(x[i], out[i])


@kernel
def _log_softmax(start, stop, part, x, out):
    for i in range(start, stop):
        shift, count, others = exponential_sums(x[i])
        if math.isfinite(shift):
            log_total = log_sum(count, others)
        else:  # as SciPy, which shifts such rows by 0: the infinities then work themselves out
            shift = x.dtype.type(0)
            log_total = plain_log_sum(x[i])
        for k in range(x.shape[1]):
            out[i, k] = np.float64(x[i, k] - shift) - log_total


@kernel
def _logsumexp(start, stop, part, x, out):
    for i in range(start, stop):
        shift, count, others = exponential_sums(x[i])
        if math.isfinite(shift):
            out[i] = np.float64(shift) + log_sum(count, others)
        else:
            out[i] = plain_log_sum(x[i])


@jit
def plain_log_sum(row):
    """Return log Σ e^row of a row whose maximum is infinite, or that is NaN."""
    total = 0.0
    for k in range(row.shape[0]):
        total += math.exp(np.float64(row[k]))
    return math.log(total)


@kernel
def _sigmoid(start, stop, part, x, out):
    for i in range(start, stop):
        for k in range(x.shape[1]):
            out[i, k] = sigmoid_of(x[i, k])


@kernel
def _log_sigmoid(start, stop, part, x, out):
    for i in range(start, stop):
        for k in range(x.shape[1]):
            out[i, k] = log_sigmoid_of(x[i, k])


def is_ignored(target: Any, ignore_index: int) -> bool:
    """Whether an integer target is the one to leave out; a row of probabilities never is."""
    return np.ndim(target) == 0 and target == ignore_index


@overload(is_ignored)
def _is_ignored(target, ignore_index):
    if isinstance(target, types.Integer):
        return lambda target, ignore_index: target == ignore_index
    return lambda target, ignore_index: False


@kernel
def _row_losses(start, stop, part, loss, x, target, weight, ignore_index, values, row_values, slopes):
    """Sum wᵢ ℓᵢ over the rows of a part; `row_values` (n,) and `slopes` (n, K) are filled where not empty."""
    scratch = np.empty(x.shape[1], x.dtype)
    value = 0.0
    block = 0.0  # a running sum of thousands of rows would lose digits: 64 of them at a time
    for i in range(start, stop):
        if (i - start) % 64 == 0:
            value += block
            block = 0.0
        slope = slopes[i] if slopes.size else scratch
        row_weight = weight[i] if weight.size else 1.0
        if row_weight == 0.0 or is_ignored(target[i], ignore_index):
            slope[:] = 0.0
            continue
        row_value = row_weight * row_loss(loss, x[i], slope, target[i])
        if row_weight != 1.0:
            scale(slope, row_weight)
        block += row_value
        if row_values.size:
            row_values[i] = row_value
    values[part] = value + block


def _over_rows(body: Any, x: NDArray[Any], *arguments: Any, n_threads: int | None = None) -> None:
    run(
        body, even_bounds(len(x), MOST_PARTS), *arguments, work=NANOSECONDS * x.size, n_threads=n_threads
    )  # fmt: skip


def softmax(x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
    """Write the softmax of each row of x (n, K) to out, which may be x."""
    _over_rows(_softmax, x, x, out, n_threads=n_threads)


def log_softmax(x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
    """Write the logarithm of the softmax of each row of x (n, K) to out, which may be x."""
    _over_rows(_log_softmax, x, x, out, n_threads=n_threads)


def logsumexp(x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
    """Write log Σ e^x of each row of x (n, K) to out (n,)."""
    _over_rows(_logsumexp, x, x, out, n_threads=n_threads)


def sigmoid(x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None, *, log: bool = False) -> None:
    """Write 1 / (1 + e^(−x)), or its logarithm, to out, which may be x; both (n, K)."""
    _over_rows(_log_sigmoid if log else _sigmoid, x, x, out, n_threads=n_threads)


def row_losses(
    loss: Any,
    x: NDArray[Any],
    target: NDArray[Any],
    *,
    weight: NDArray[np.float64] | None = None,
    ignore_index: int = -1,
    row_values: NDArray[np.float64] | None = None,
    slopes: NDArray[Any] | None = None,
    n_threads: int | None = None,
) -> float:
    """Return Σ wᵢ ℓ(xᵢ, tᵢ) over the rows of x (n, K), in nats.

    `row_values` (n,) receives wᵢ ℓᵢ and `slopes` (n, K), which may be x, wᵢ ∂ℓᵢ/∂x, where given. Rows whose
    integer target is `ignore_index`, or whose weight is zero, are not looked at. Reads x once.
    """
    bounds = even_bounds(len(x), MOST_PARTS)
    values = np.zeros(len(bounds) - 1)
    run(
        _row_losses, bounds, loss, x, target,
        np.empty(0) if weight is None else weight, ignore_index, values,
        np.empty(0) if row_values is None else row_values,
        np.empty((0, x.shape[1]), x.dtype) if slopes is None else slopes,
        work=2 * NANOSECONDS * x.size, n_threads=n_threads,
    )  # fmt: skip
    return float(values.sum())
