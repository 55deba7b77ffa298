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

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.kernels.cpu.sizes import COLUMN_PANEL
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel
from fastsoftmax.simd.sizes import REGISTER_BYTES

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

_sum_blocks = Kernel("fastsoftmax.kernels.cpu.jitted.long_columns", "sum_blocks")
_merge = Kernel("fastsoftmax.kernels.cpu.jitted.long_columns", "merge")
_softmax = Kernel("fastsoftmax.kernels.cpu.jitted.long_columns", "softmax")
_log_softmax = Kernel("fastsoftmax.kernels.cpu.jitted.long_columns", "log_softmax")

MIN_PART_ROWS = 256  # the maxima and sums of a part are then small beside its rows
PART_SIZE = 2**15  # elements, at least: a part then takes longer than starting it
# From this size on the result is written by non-temporal stores: it would be evicted from the caches before
# it is read. A smaller one is worth keeping there.
PAST_CACHE_BYTES = 2**24
NANOSECONDS = 0.4  # an element, for each reading, about; decides whether threads are used

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
    run(_sum_blocks, bounds, x, shifts, counts, others, work=work, n_threads=n_threads)
    lanes = REGISTER_BYTES // x.itemsize
    shift, rest = np.empty((2, n_columns + lanes), x.dtype)
    run(
        _merge, even_bounds(n_columns, n_columns // COLUMN_PANEL), x, shifts, counts, others,
        name != "softmax", shift, rest, work=5 * shifts.size, n_threads=n_threads,
    )  # fmt: skip
    if name == "logsumexp":
        np.add(shift[:n_columns], rest[:n_columns], out=out)
        return
    for vector in (shift, rest):
        vector[n_columns:] = vector[:lanes]
    past_cache = out.nbytes >= PAST_CACHE_BYTES and out.flags.aligned and out.ctypes.data != x.ctypes.data
    run(WRITERS[name], bounds, x, out, past_cache, shift, rest, work=work, n_threads=n_threads)
