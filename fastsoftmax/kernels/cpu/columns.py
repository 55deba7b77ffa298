"""softmax, log_softmax and logsumexp down the columns of a C-ordered matrix.

Nothing is transposed. A stripe of columns is narrow enough to stay in cache from its maximum to its last
scaling; the next stripe is prefetched along with its exponentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cpu.long_columns import log_totals, tall_columns
from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.runtime.executor import kernel, run
from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd.column_stripes import (
    REGISTERS,
    columns_differences,
    columns_exponentials,
    columns_largest,
    columns_scaled,
    columns_sums,
)
from fastsoftmax.simd.exponentials import PLAIN_CLASSES
from fastsoftmax.simd.registers import REGISTER_BYTES

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

# A stripe of x, as much of the result, and the next stripe fit a second-level cache (1 MiB); ten times as
# much would be read from memory twice.
STRIPE_BYTES = 2**18
# Above this x is read from memory, where stripes of fewer than REGISTERS use too little of a page at a time:
# it is then read in whole rows. (When that was introduced, softmax of 20,000 × 1000 float32 over axis 0 went
# from 1.77 to 0.65 ns an element.)
NARROW_STRIPES_BYTES = 2**23
MIN_STRIPES = 16  # work for as many threads; narrower stripes would read shorter runs of each row
NANOSECONDS = 0.8  # an element, about; decides whether threads are used
SUM_ROWS = 128  # terms of a sum in x's dtype, then it goes on in float64: longer float32 sums lose digits


@inner
def _sums(x, out, first, width, ahead, stored, shift, count, others):
    """Write the columns' maxima to `shift` and the sums of their exponentials to `count` and `others`.

    As in `simd.exponentials`: the number of exact ones and the float64 sum of the others. The columns are
    first to first + width; elements `ahead` of them are prefetched. Writes the exponentials to out if
    `stored`.
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


def columns(name: str, x: Array, out: Array, n_threads: int | None = None) -> None:
    """Write softmax, log_softmax or logsumexp of each column of x (K, n), C-ordered, to out.

    Parameters
    ----------
    name : {"softmax", "log_softmax", "logsumexp"}
    x : array (K, n), float32 or float64, C-ordered
        n is at least the number of lanes of a register (16 or 8).
    out : array (K, n), which may be x, or (n,) for logsumexp
        Of the dtype of x.
    n_threads : int, optional

    Notes
    -----
    Reads x from memory once, or twice (`long_columns`) where a stripe of columns does not fit the cache.
    """
    n_rows, n_columns = x.shape
    lanes = REGISTER_BYTES // x.itemsize
    registers_in_cache = STRIPE_BYTES // (n_rows * REGISTER_BYTES)
    if not registers_in_cache or (registers_in_cache < REGISTERS and x.nbytes > NARROW_STRIPES_BYTES):
        tall_columns(name, x, out, n_threads)
        return
    width = min(registers_in_cache, REGISTERS) * lanes
    if n_columns < MIN_STRIPES * width:
        width = max(1, n_columns // (MIN_STRIPES * lanes)) * lanes
    n_stripes = -(-n_columns // width)
    n_parts = min(n_stripes, MAX_PARTS)
    bounds = np.minimum(np.arange(n_parts + 1) * n_stripes // n_parts * width, n_columns)
    run(BODIES[name], bounds, x, out, width, work=NANOSECONDS * x.size, n_threads=n_threads)
