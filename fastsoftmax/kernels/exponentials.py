"""The exponentials of a row of logits, and how they add up without losing what is small."""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.lanes import (
    exponentials_sum,
    exponentials_to,
    largest,
    plain_exponentials_sum,
    plain_exponentials_to,
    scaled_to,
)

# Of so many classes, the sum is rounded as much as any x − max is: exponentials need not be more exact.
PLAIN_CLASSES = 256
SUM_BLOCK = 2048  # a register's lanes add 128 float32 terms each; then the sum goes on in float64


@jit
def exponentials(row, out):
    """Write e^(row − max) to out, which may be row; return max, and how the exponentials add up.

    Returns
    -------
    shift : scalar of the row's dtype
        The largest element; NaN is passed over and ends up in `others`.
    count, others : float64
        How many exponentials are exactly 1, and the sum of the others: added to the ones, a small sum would
        lose its digits. log Σ e^row = shift + log(count) + log1p(others / count).

    Notes
    -----
    The row is read from memory once and from cache once.
    """
    shift = largest(row)
    count = 0.0
    others = 0.0
    exact = row.shape[0] < PLAIN_CLASSES
    for start in range(0, row.shape[0], SUM_BLOCK):
        part = row[start : start + SUM_BLOCK]
        room = out[start : start + SUM_BLOCK]
        if exact:
            ones, rest = exponentials_to(part, room, shift)
        else:
            ones, rest = plain_exponentials_to(part, room, shift)
        count += ones
        others += rest
    return shift, count, others


@jit
def exponential_sums(row):
    """Return what `exponentials` does, without writing anything."""
    shift = largest(row)
    count = 0.0
    others = 0.0
    exact = row.shape[0] < PLAIN_CLASSES
    for start in range(0, row.shape[0], SUM_BLOCK):
        part = row[start : start + SUM_BLOCK]
        if exact:
            ones, rest = exponentials_sum(part, shift)
        else:
            ones, rest = plain_exponentials_sum(part, shift)
        count += ones
        others += rest
    return shift, count, others


@jit
def log_sum(count, others):
    """Return log(count + others) to full relative accuracy, also where others is small beside count = 1."""
    if count == 1.0:
        return math.log1p(others)
    if count > 0.0:
        return math.log(count) + math.log1p(others / count)
    return math.log(others)  # NaN, from a row with NaN or an infinite maximum


@jit
def plain_log_sum(row):
    """Return log Σ e^row of a row whose maximum is infinite, or that is NaN."""
    total = 0.0
    for k in range(row.shape[0]):
        total += math.exp(np.float64(row[k]))
    return math.log(total)


@jit
def scale(z, factor):
    """Multiply a row by a factor given in float64, which is rounded to the row's dtype first."""
    scaled_to(z, z, z.dtype.type(factor))


@jit
def softmax_to(row, out):
    """Write the softmax of a row to out, which may be the row."""
    _, count, others = exponentials(row, out)
    scale(out, 1.0 / (count + others))
