"""softmax, log_softmax and logsumexp down the columns of a C-ordered matrix.

Nothing is transposed. A stripe of columns is narrow enough for its rows to stay in cache from the maximum to
the last scaling; while its exponentials run, the next stripe is fetched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.cpu.tall import log_totals, tall_columns
from fastsoftmax.kernels.executor import kernel, run
from fastsoftmax.kernels.exponentials import PLAIN_CLASSES
from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.lanes import REGISTER_BYTES
from fastsoftmax.kernels.stripes import (
    REGISTERS,
    columns_differences,
    columns_exponentials,
    columns_largest,
    columns_scaled,
    columns_sums,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRIPE_BYTES = 2**18  # of x: with as much of the result, and of the next stripe, it fits a second-level cache
# Of a larger x, which no cache holds, stripes of fewer than REGISTERS use too little of a page at a time.
NARROW_STRIPES_BYTES = 2**23
LEAST_STRIPES = 16  # enough for many threads
NANOSECONDS = 0.8
SUM_ROWS = 128  # float32 sums of more terms lose digits; they go on in float64


@jit
def _sums(x, out, first, width, ahead, stored, shift, count, others):
    """Find the columns' maxima and the sums of their exponentials, as `kernels.exponentials` does.

    Writes the exponentials to out if `stored`.
    """
    n_rows = x.shape[0]
    exact = n_rows < PLAIN_CLASSES
    count[:] = 0.0
    others[:] = 0.0
    columns_largest(x, (0, n_rows), first, width, shift)
    for k in range(0, n_rows, SUM_ROWS):
        rows = (k, min(k + SUM_ROWS, n_rows))
        if stored:
            columns_exponentials(x, out, rows, first, width, shift, count, others, exact, ahead, ahead)
        else:
            columns_sums(x, out, rows, first, width, shift, count, others, exact, ahead, 0)


@kernel
def _softmax(start, stop, part, x, out, width):
    shift = np.empty(width, x.dtype)
    count = np.empty(width)
    others = np.empty(width)
    factor = np.empty(width, x.dtype)
    for first in range(start, stop, width):
        n = min(width, stop - first)
        _sums(x, out, first, n, width, True, shift, count, others)
        for c in range(n):
            factor[c] = 1.0 / (count[c] + others[c])
        columns_scaled(out, out, first, n, factor)


@kernel
def _log_softmax(start, stop, part, x, out, width):
    shift = np.empty(width, x.dtype)
    count = np.empty(width)
    others = np.empty(width)
    totals = np.empty(width, x.dtype)
    for first in range(start, stop, width):
        n = min(width, stop - first)
        _sums(x, out, first, n, width, False, shift, count, others)
        log_totals(x, first, shift[:n], count[:n], others[:n], totals[:n])
        columns_differences(x, out, first, n, shift, totals)


@kernel
def _logsumexp(start, stop, part, x, out, width):
    shift = np.empty(width, x.dtype)
    count = np.empty(width)
    others = np.empty(width)
    totals = np.empty(width, x.dtype)
    for first in range(start, stop, width):
        n = min(width, stop - first)
        _sums(x, x, first, n, width, False, shift, count, others)
        log_totals(x, first, shift[:n], count[:n], others[:n], totals[:n])
        for c in range(n):
            out[first + c] = shift[c] + totals[c]


BODIES = {"softmax": _softmax, "log_softmax": _log_softmax, "logsumexp": _logsumexp}


def columns(name: str, x: NDArray[Any], out: NDArray[Any], n_threads: int | None = None) -> None:
    """Write softmax, log_softmax or logsumexp of each column of x (K, n) to out.

    `out` is (K, n) and may be x, or (n,) for logsumexp; n is at least the number of a register's lanes.
    Reads x from memory once, or twice (`tall`) where columns are too long.
    """
    n_rows, n_columns = x.shape
    lanes = REGISTER_BYTES // x.itemsize
    fitting = STRIPE_BYTES // (n_rows * REGISTER_BYTES)
    if not fitting or (fitting < REGISTERS and x.nbytes > NARROW_STRIPES_BYTES):
        tall_columns(name, x, out, n_threads)
        return
    width = min(fitting, REGISTERS) * lanes
    if n_columns < LEAST_STRIPES * width:
        width = max(1, n_columns // (LEAST_STRIPES * lanes)) * lanes
    n_stripes = -(-n_columns // width)
    n_parts = min(n_stripes, MOST_PARTS)
    bounds = np.minimum(np.arange(n_parts + 1) * n_stripes // n_parts * width, n_columns)
    run(BODIES[name], bounds, x, out, width, work=NANOSECONDS * x.size, n_threads=n_threads)
