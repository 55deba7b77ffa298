"""softmax, log_softmax and logsumexp down columns too long for a cache, in the order of memory.

Each range of rows finds its own maxima and sums, a block of rows at a time: where a block raises a maximum,
what was summed before is scaled down [1]_. The sums of the ranges are brought to one maximum and added up, in
order; then the rows are read again, and written. So whole rows are read twice, and written once.

References
----------
.. [1] M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867 (2018).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.executor import even_bounds, kernel, run
from fastsoftmax.kernels.exponentials import plain_log_sum
from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.lanes import REGISTER_BYTES
from fastsoftmax.kernels.streams import rows_differences, rows_shares
from fastsoftmax.kernels.stripes import columns_largest, columns_sums, log_sums
from fastsoftmax.kernels.vector import exp

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A block stays in cache between its maxima and its sums, as does the next one, fetched meanwhile.
BLOCK_ROWS = 32
PANEL = 1024  # columns
LEAST_PART_ROWS = 256  # the sums of a part are then at most a fiftieth of it
PART_SIZE = 2**15  # elements, at least: a part is long enough to hide what starting one costs
PAST_CACHE_BYTES = 2**24  # a result of this size is not in cache any more when it is read
NANOSECONDS = 0.4  # an element, for each reading


@jit
def log_totals(x, first, shift, count, others, totals):
    """Write log Σ e^(x − shift) of some columns; shift the columns that have an infinite maximum by 0."""
    log_sums(count, others, totals)
    for c in range(shift.shape[0]):
        if not math.isfinite(shift[c]):  # as SciPy: the infinities then work themselves out
            shift[c] = 0
            totals[c] = plain_log_sum(x[:, first + c])


@jit
def _raise(shift, count, others, largest):
    """Bring sums of e^(x − shift) to the shift `largest` where that is larger."""
    for c in range(shift.shape[0]):
        raised = largest[c] > shift[c]
        # Without a branch, so that it becomes vector code; ∞ − ∞ is not formed.
        difference = np.float64(shift[c]) - np.float64(largest[c]) if raised else np.float64(0.0)
        scaled = (count[c] + others[c]) * exp(difference)
        others[c] = scaled if raised else others[c]
        count[c] = 0.0 if raised else count[c]
        shift[c] = largest[c] if raised else shift[c]


@kernel
def _sum(start, stop, part, x, shifts, counts, others):
    """Write the maxima of the columns of some rows, and the sums of their exponentials, to row `part`.

    `shifts` holds what the maxima are at least, finite numbers: −∞ could not be subtracted from itself.
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
    """Write the shifts of some columns, and log Σ e^(x − shift) if `log`, or else the sum's inverse."""
    top, result = shift[start:stop], rest[start:stop]
    count, beside = np.zeros(stop - start), np.zeros(stop - start)
    top[:] = shifts[0, start:stop]
    for p in range(1, shifts.shape[0]):
        for c in range(stop - start):
            top[c] = max(top[c], shifts[p, start + c])
    for p in range(shifts.shape[0]):
        ones, others_here = counts[p, start:stop], others[p, start:stop]
        _raise(shifts[p, start:stop], ones, others_here, top)
        for c in range(stop - start):
            count[c] += ones[c]
            beside[c] += others_here[c]
    if log:
        for c in range(stop - start):
            if count[c] + beside[c] == 0.0:
                top[c] = -np.inf  # nothing but −∞ in this column
        log_totals(x, start, top, count, beside, result)
    else:
        for c in range(stop - start):
            result[c] = 1.0 / (count[c] + beside[c])


@kernel
def _softmax(start, stop, part, x, out, past_cache, shift, factor):
    rows_shares(x, out, start, stop, past_cache, shift, factor)


@kernel
def _log_softmax(start, stop, part, x, out, past_cache, shift, totals):
    rows_differences(x, out, start, stop, past_cache, shift, totals)


WRITERS = {"softmax": _softmax, "log_softmax": _log_softmax}


def tall_columns(name: str, x: NDArray[Any], out: NDArray[Any], n_threads: int | None) -> None:
    """Do what `columns` does, by plain exponentials; x has a register's lanes of columns at least."""
    n_rows, n_columns = x.shape
    bounds = even_bounds(n_rows, min(MOST_PARTS, n_rows // LEAST_PART_ROWS, x.size // PART_SIZE))
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
