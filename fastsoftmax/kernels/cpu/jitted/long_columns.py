"""Maxima and sums of long columns, a block of rows at a time."""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS
from fastsoftmax.kernels.cpu.sizes import BLOCK_ROWS, COLUMN_PANEL
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.column_stripes import columns_largest, columns_sums, log_sums
from fastsoftmax.simd.copies import copy_vector
from fastsoftmax.simd.exp import exp
from fastsoftmax.simd.exponentials import plain_log_sum
from fastsoftmax.simd.row_streams import rows_differences, rows_scaled


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


@kernel(signatures=[f"{x}:2C,{x}:2C,f8:2C,f8:2C" for x in FLOATS])
def sum_blocks(start, stop, part, x, shifts, counts, others):
    """Write the column maxima of rows start to stop, and the sums of exponentials, to row `part`.

    `shifts`, `counts` and `others` are (parts, K). `shifts` begins with the lowest finite number, not −∞, for
    which −∞ − (−∞) would be NaN.
    """
    n_columns = x.shape[1]
    largest = np.empty(min(COLUMN_PANEL, n_columns), x.dtype)
    for first in range(0, n_columns, COLUMN_PANEL):
        last = min(first + COLUMN_PANEL, n_columns)
        n = last - first
        shift, count, rest = shifts[part, first:last], counts[part, first:last], others[part, first:last]
        for k in range(start, stop, BLOCK_ROWS):
            rows = (k, min(k + BLOCK_ROWS, stop))
            columns_largest(x, rows, first, n, largest)
            _raise(shift, count, rest, largest)
            columns_sums(x, x, rows, first, n, shift, count, rest, False, BLOCK_ROWS * n_columns, 0)


@kernel(signatures=[f"{x}:2C,{x}:2C,f8:2C,f8:2C,?,{x}:1C,{x}:1C" for x in FLOATS])
def merge(start, stop, part, x, shifts, counts, others, log, shift, rest):
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


@kernel(signatures=[f"{x}:2C,{x}:2C,?,{x}:1C,{x}:1C" for x in FLOATS])
def softmax(start, stop, part, x, out, past_cache, shift, factor):
    """Write e^(x − shift) · factor of rows start to stop to out."""
    rows_scaled(x, out, start, stop, past_cache, shift, factor)


@kernel(signatures=[f"{x}:2C,{x}:2C,?,{x}:1C,{x}:1C" for x in FLOATS])
def log_softmax(start, stop, part, x, out, past_cache, shift, totals):
    """Write (x − shift) − totals of rows start to stop to out."""
    rows_differences(x, out, start, stop, past_cache, shift, totals)
