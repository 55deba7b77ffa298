"""softmax, log_softmax and logsumexp down columns too long for a cache, reading x in the order of memory.

Each range of rows finds its own column maxima and sums, a block of rows at a time: where a block raises a
maximum, the sum so far is scaled down (online softmax [1]_). The sums of the ranges are rescaled to a common
maximum and added in order; then the rows are read again, and the result is written: two readings, one
writing.

References
----------
.. [1] M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867 (2018).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.runtime.executor import even_bounds, kernel, run
from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd.column_stripes import columns_largest, columns_sums, log_sums
from fastsoftmax.simd.copies import copy_vector
from fastsoftmax.simd.exp import exp
from fastsoftmax.simd.exponentials import plain_log_sum
from fastsoftmax.simd.registers import REGISTER_BYTES
from fastsoftmax.simd.row_streams import rows_differences, rows_scaled

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

# A block of BLOCK_ROWS × PANEL (128 KiB of float32) stays in cache between its maxima and its sums, as does
# the next one, which is prefetched. Fewer rows would rescale the sums more often.
BLOCK_ROWS = 32
PANEL = 1024  # columns
MIN_PART_ROWS = 256  # the maxima and sums of a part are then small beside its rows
PART_SIZE = 2**15  # elements, at least: a part then takes longer than starting it
# From this size on the result is written by non-temporal stores: it would be evicted from the caches before
# it is read. A smaller one is worth keeping there.
PAST_CACHE_BYTES = 2**24
NANOSECONDS = 0.4  # an element, for each reading, about; decides whether threads are used


@inner
def log_totals(x, first, shift, count, others, totals):
    """Write log Σ e^(x − shift) of the columns from `first` on to `totals`, all (m,).

    Columns with an infinite maximum are shifted by 0 instead, and `shift` is set to that.
    """
    log_sums(count, others, totals)
    for c in range(shift.shape[0]):
        if not math.isfinite(shift[c]):  # as SciPy: the infinities then work themselves out
            shift[c] = 0
            totals[c] = plain_log_sum(x[:, first + c])


@inner
def _raise(shift, count, others, largest):
    """Rescale sums of e^(x − shift), in place, to the shift max(shift, largest); all (m,)."""
    for c in range(shift.shape[0]):
        raised = largest[c] > shift[c]
        # Without a branch, so that it vectorises; ∞ − ∞ is not formed.
        difference = np.float64(shift[c]) - np.float64(largest[c]) if raised else np.float64(0.0)
        scaled = (count[c] + others[c]) * exp(difference)
        others[c] = scaled if raised else others[c]
        count[c] = 0.0 if raised else count[c]
        shift[c] = largest[c] if raised else shift[c]


@kernel
def _sum(start, stop, part, x, shifts, counts, others):
    """Write the column maxima of rows start to stop, and the sums of exponentials, to row `part`.

    `shifts`, `counts` and `others` are (parts, K). `shifts` begins with the lowest finite number, not −∞, for
    which −∞ − (−∞) would be NaN.
    """
    n_columns = x.shape[1]
    largest = np.empty(min(PANEL, n_columns), x.dtype)
    for first in range(0, n_columns, PANEL):
        last = min(first + PANEL, n_columns)
        n = last - first
        shift, count, rest = shifts[part, first:last], counts[part, first:last], others[part, first:last]
        for k in range(start, stop, BLOCK_ROWS):
            rows = (k, min(k + BLOCK_ROWS, stop))
            columns_largest(x, rows, first, n, largest)
            _raise(shift, count, rest, largest)
            columns_sums(x, x, rows, first, n, shift, count, rest, False, BLOCK_ROWS * n_columns, 0)


@kernel
def _merge(start, stop, part, x, shifts, counts, others, log, shift, rest):
    """Merge the parts' maxima and sums for columns start to stop.

    Writes the maxima to `shift`, and log Σ e^(x − shift) if `log`, or else 1 / Σ e^(x − shift), to `rest`.
    """
    largest, result = shift[start:stop], rest[start:stop]
    count, other_sum = np.zeros(stop - start), np.zeros(stop - start)
    copy_vector(shifts[0, start:stop], largest)
    for p in range(1, shifts.shape[0]):
        for c in range(stop - start):
            largest[c] = max(largest[c], shifts[p, start + c])
    for p in range(shifts.shape[0]):
        part_count, part_others = counts[p, start:stop], others[p, start:stop]
        _raise(shifts[p, start:stop], part_count, part_others, largest)
        for c in range(stop - start):
            count[c] += part_count[c]
            other_sum[c] += part_others[c]
    if log:
        for c in range(stop - start):
            if count[c] + other_sum[c] == 0.0:
                largest[c] = -np.inf  # nothing but −∞ in this column
        log_totals(x, start, largest, count, other_sum, result)
    else:
        for c in range(stop - start):
            result[c] = 1.0 / (count[c] + other_sum[c])


@kernel
def _softmax(start, stop, part, x, out, past_cache, shift, factor):
    rows_scaled(x, out, start, stop, past_cache, shift, factor)


@kernel
def _log_softmax(start, stop, part, x, out, past_cache, shift, totals):
    rows_differences(x, out, start, stop, past_cache, shift, totals)


WRITERS = {"softmax": _softmax, "log_softmax": _log_softmax}


def tall_columns(name: str, x: Array, out: Array, n_threads: int | None) -> None:
    """Write softmax, log_softmax or logsumexp of each column of x, as `columns.columns`, for long columns.

    Exponentials are of rounded differences. Two readings of x and one writing; extra memory: three numbers
    for each column and part of at least 256 rows.
    """
    n_rows, n_columns = x.shape
    bounds = even_bounds(n_rows, min(MAX_PARTS, n_rows // MIN_PART_ROWS, x.size // PART_SIZE))
    n_parts = len(bounds) - 1
    shifts = np.full((n_parts, n_columns), np.finfo(x.dtype).min, x.dtype)
    counts, others = np.zeros((2, n_parts, n_columns))
    work = NANOSECONDS * x.size
    run(_sum, bounds, x, shifts, counts, others, work=work, n_threads=n_threads)
    lanes = REGISTER_BYTES // x.itemsize
    shift, rest = np.empty((2, n_columns + lanes), x.dtype)
    run(
        _merge, even_bounds(n_columns, n_columns // PANEL), x, shifts, counts, others, name != "softmax",
        shift, rest, work=5 * shifts.size, n_threads=n_threads,
    )  # fmt: skip
    if name == "logsumexp":
        np.add(shift[:n_columns], rest[:n_columns], out=out)
        return
    for vector in (shift, rest):
        vector[n_columns:] = vector[:lanes]
    past_cache = out.nbytes >= PAST_CACHE_BYTES and out.flags.aligned and out.ctypes.data != x.ctypes.data
    run(WRITERS[name], bounds, x, out, past_cache, shift, rest, work=work, n_threads=n_threads)
