"""softmax, log_softmax and logsumexp down stripes of columns, each narrow enough to stay in cache."""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS
from fastsoftmax.kernels.cpu.jitted.long_columns import log_totals
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.column_stripes import (
    columns_differences,
    columns_exponentials,
    columns_largest,
    columns_scaled,
    columns_sums,
)
from fastsoftmax.simd.exponentials import PLAIN_CLASSES

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


@kernel(signatures=[f"{x}:2C,{x}:2C,q" for x in FLOATS])
def softmax(start, stop, part, x, out, width):
    """Write the softmax of columns start to stop of x to out."""
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


@kernel(signatures=[f"{x}:2C,{x}:2C,q" for x in FLOATS])
def log_softmax(start, stop, part, x, out, width):
    """Write the log-softmax of columns start to stop of x to out."""
    shift = np.empty(width, x.dtype)
    count = np.empty(width)
    others = np.empty(width)
    totals = np.empty(width, x.dtype)
    for first in range(start, stop, width):
        n = min(width, stop - first)
        _sums(x, out, first, n, width, False, shift, count, others)
        log_totals(x, first, shift[:n], count[:n], others[:n], totals[:n])
        columns_differences(x, out, first, n, shift, totals)


@kernel(signatures=[f"{x}:2C,{x}:1C,q" for x in FLOATS])
def logsumexp(start, stop, part, x, out, width):
    """Write log Σ e^x of columns start to stop of x to out (n,)."""
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
