"""softmax, log_softmax and logsumexp down the columns of a C-ordered matrix.

Nothing is transposed. A stripe of columns is narrow enough to stay in cache from its maximum to its last
scaling; the next stripe is prefetched along with its exponentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cpu.long_columns import tall_columns
from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.runtime.executor import run
from fastsoftmax.runtime.kernels import Kernel
from fastsoftmax.simd.sizes import COLUMN_REGISTERS, REGISTER_BYTES

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

_softmax = Kernel("fastsoftmax.kernels.cpu.jitted.columns", "softmax")
_log_softmax = Kernel("fastsoftmax.kernels.cpu.jitted.columns", "log_softmax")
_logsumexp = Kernel("fastsoftmax.kernels.cpu.jitted.columns", "logsumexp")

# A stripe of x, as much of the result, and the next stripe fit a second-level cache (1 MiB); ten times as
# much would be read from memory twice.
STRIPE_BYTES = 2**18
# Above this x is read from memory, where stripes of fewer than COLUMN_REGISTERS use too little of a page at a
# time: it is then read in whole rows. (When that was introduced, softmax of 20,000 × 1000 float32 over axis 0
# went from 1.77 to 0.65 ns an element.)
NARROW_STRIPES_BYTES = 2**23
MIN_STRIPES = 16  # work for as many threads; narrower stripes would read shorter runs of each row
NANOSECONDS = 0.8  # an element, about; decides whether threads are used

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
    if not registers_in_cache or (registers_in_cache < COLUMN_REGISTERS and x.nbytes > NARROW_STRIPES_BYTES):
        tall_columns(name, x, out, n_threads)
        return
    width = min(registers_in_cache, COLUMN_REGISTERS) * lanes
    if n_columns < MIN_STRIPES * width:
        width = max(1, n_columns // (MIN_STRIPES * lanes)) * lanes
    n_stripes = -(-n_columns // width)
    n_parts = min(n_stripes, MAX_PARTS)
    bounds = np.minimum(np.arange(n_parts + 1) * n_stripes // n_parts * width, n_columns)
    run(BODIES[name], bounds, x, out, width, work=NANOSECONDS * x.size, n_threads=n_threads)
