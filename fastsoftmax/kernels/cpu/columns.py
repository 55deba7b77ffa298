"""softmax, log_softmax and logsumexp down the columns of a C-ordered matrix.

Nothing is transposed: neighbouring columns lie side by side, so a register holds as many columns as it has
lanes. A block of columns is narrow enough for its rows to stay in cache from the maximum to the last scaling.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.elementwise import (
    column_differences,
    column_exponentials,
    column_products,
    larger_of_both,
    plain_column_exponentials,
)
from fastsoftmax.kernels.executor import kernel, run
from fastsoftmax.kernels.jit import jit
from fastsoftmax.losses.softmax import PLAIN_CLASSES, log_sum, plain_log_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_BYTES = 2**19  # of x: with as much of the result it fits a second-level cache
NANOSECONDS = 0.8
SUM_ROWS = 128  # float32 sums of more terms lose digits; they go on in float64


@jit
def _sums(x, first, last, out, shift, count, others):
    """Find the columns' maxima and the sums of their exponentials, as `losses.softmax.exponentials` does.

    Writes the exponentials to out where it is not empty.
    """
    width = last - first
    stored = out.size > 0
    ones = np.zeros(width, x.dtype)
    rest = np.zeros(width, x.dtype)
    scratch = np.empty(width, x.dtype)
    shift[:] = -np.inf
    count[:] = 0.0
    others[:] = 0.0
    for k in range(x.shape[0]):
        larger_of_both(x[k, first:last], shift)
    for k in range(x.shape[0]):
        room = out[k, first:last] if stored else scratch
        if x.shape[0] < PLAIN_CLASSES:
            column_exponentials(x[k, first:last], shift, room, ones, rest)
        else:
            plain_column_exponentials(x[k, first:last], shift, room, ones, rest)
        if k % SUM_ROWS == SUM_ROWS - 1 or k == x.shape[0] - 1:
            for c in range(width):
                count[c] += ones[c]
                others[c] += rest[c]
            ones[:] = 0
            rest[:] = 0


@kernel
def _softmax(start, stop, part, x, out, width):
    shift = np.empty(width, x.dtype)
    count = np.empty(width)
    others = np.empty(width)
    factor = np.empty(width, x.dtype)
    for first in range(start, stop, width):
        last = min(first + width, stop)
        n = last - first
        _sums(x, first, last, out, shift[:n], count[:n], others[:n])
        for c in range(n):
            factor[c] = 1.0 / (count[c] + others[c])
        for k in range(x.shape[0]):
            column_products(out[k, first:last], factor[:n])


@jit
def _log_totals(x, first, shift, count, others, totals):
    for c in range(shift.shape[0]):
        if math.isfinite(shift[c]):
            totals[c] = log_sum(count[c], others[c])
        else:  # as SciPy, which shifts such columns by 0: the infinities then work themselves out
            shift[c] = 0
            totals[c] = plain_log_sum(x[:, first + c])


@kernel
def _log_softmax(start, stop, part, x, out, width):
    shift = np.empty(width, x.dtype)
    count = np.empty(width)
    others = np.empty(width)
    totals = np.empty(width, x.dtype)
    for first in range(start, stop, width):
        last = min(first + width, stop)
        n = last - first
        _sums(x, first, last, out[:0], shift[:n], count[:n], others[:n])
        _log_totals(x, first, shift[:n], count[:n], others[:n], totals)
        for k in range(x.shape[0]):
            column_differences(x[k, first:last], shift[:n], totals[:n], out[k, first:last])


@kernel
def _logsumexp(start, stop, part, x, out, width):
    shift = np.empty(width, x.dtype)
    count = np.empty(width)
    others = np.empty(width)
    for first in range(start, stop, width):
        last = min(first + width, stop)
        n = last - first
        _sums(x, first, last, x[:0], shift[:n], count[:n], others[:n])
        for c in range(n):
            finite = math.isfinite(shift[c])
            total = log_sum(count[c], others[c]) if finite else plain_log_sum(x[:, first + c])
            out[first + c] = np.float64(shift[c]) + total if finite else total


BODIES = {"softmax": _softmax, "log_softmax": _log_softmax, "logsumexp": _logsumexp}


def columns(name: str, x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
    """Write softmax, log_softmax or logsumexp of each column of x (K, n) to out.

    `out` is (K, n) and may be x, or (n,) for logsumexp. Reads x from memory once.
    """
    n_columns = x.shape[1]
    lanes = 64 // x.itemsize
    width = max(1, BLOCK_BYTES // (x.itemsize * x.shape[0] * lanes)) * lanes
    n_blocks = -(-n_columns // width)
    if n_blocks < 16:  # enough blocks for many threads, of whole registers
        width = max(1, n_columns // (16 * lanes)) * lanes
        n_blocks = -(-n_columns // width)
    n_parts = min(n_blocks, MOST_PARTS)
    bounds = np.minimum(np.arange(n_parts + 1) * n_blocks // n_parts * width, n_columns)
    run(BODIES[name], bounds, x, out, width, work=NANOSECONDS * x.size, n_threads=n_threads)
