"""Exponentials of a row of logits, and their sum in two parts (ones, others), which keeps small terms."""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd.registers import (
    exponentials_sum,
    exponentials_to,
    largest,
    plain_exponentials_sum,
    plain_exponentials_to,
    scaled_to,
)

# From this many classes on, the sum is rounded as much as any x − max is, so that exact differences, nine
# instructions of thirty, are not worth their time.
PLAIN_CLASSES = 256
# Elements that are summed in the row's dtype before the sum goes on in float64: 128 float32 terms in each of
# 16 lanes. Ten times as many terms would round ten times as much; a tenth would spend its time on horizontal
# sums.
SUM_BLOCK = 2048


@inner
def exponentials(row, out):
    """Write e^(row − max) to out, which may be row; return max and the sum of the exponentials in two parts.

    Parameters
    ----------
    row, out : arrays (K,), float32 or float64, contiguous, of one dtype

    Returns
    -------
    shift : scalar of the row's dtype
        The largest element, ignoring NaN, which propagates to `others`.
    count, others : float64
        The number of exponentials that are exactly 1, and the sum of the others: added to the ones, a small
        sum would lose its digits. log Σ e^row = shift + log(count) + log1p(others / count).

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
        workspace = out[start : start + SUM_BLOCK]
        if exact:
            ones, rest = exponentials_to(part, workspace, shift)
        else:
            ones, rest = plain_exponentials_to(part, workspace, shift)
        count += ones
        others += rest
    return shift, count, others


@inner
def exponential_sums(row):
    """Return the shift and the two sums of `exponentials`, without writing the exponentials."""
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


@inner
def log_sum(count, others):
    """Return log(count + others) to full relative accuracy, also where others is small and count is 1."""
    if count == 1.0:
        return math.log1p(others)
    if count > 0.0:
        return math.log(count) + math.log1p(others / count)
    return math.log(others)  # NaN, from a row with NaN or an infinite maximum


@inner
def plain_log_sum(row):
    """Return log Σ e^row, float64, of a row whose maximum is infinite or NaN, without a shift."""
    total = 0.0
    for k in range(row.shape[0]):
        total += math.exp(np.float64(row[k]))
    return math.log(total)


@inner
def scale(z, factor):
    """Multiply a row in place by a float64 factor, which is rounded to the row's dtype first."""
    scaled_to(z, z, z.dtype.type(factor))


@inner
def softmax_to(row, out):
    """Write the softmax of a row (K,) to out, which may be the row."""
    _, count, others = exponentials(row, out)
    scale(out, 1.0 / (count + others))
