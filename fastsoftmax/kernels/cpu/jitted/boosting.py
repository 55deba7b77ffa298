"""Gradients and diagonal curvatures of rows of logits, as boosting libraries want them for each number."""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.cpu.jitted.columns import SUM_ROWS
from fastsoftmax.kernels.cpu.jitted.rows import softmax_range
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.column_stripes import columns_exponentials, columns_largest
from fastsoftmax.simd.exponentials import PLAIN_CLASSES

BLOCK_BYTES = 2**14  # of probabilities that are in the first-level cache between two loops
STRIPE_BYTES = 2**19  # of scores and results of a stripe of columns, in the second-level cache
MAX_STRIPE = 1024  # columns; the sums of so many are in the first-level cache
LANES = 16


@inner
def _curve(p, mass, factor, floor, curvature):
    """Write max(factor · mass · p (1 − p), floor) to curvature and turn p into mass · p, both flat."""
    one = p.dtype.type(1)
    scale = p.dtype.type(factor * mass)
    least = p.dtype.type(floor)
    heavy = p.dtype.type(mass)
    for k in range(p.shape[0]):
        each = p[k]
        curved = scale * (each * (one - each))
        curvature[k] = curved if curved > least else least
        p[k] = heavy * each


@kernel(signatures=["f4:2C,i8:1C,f8:1C,f4:2C,d,d,f4:2C,f4:2C"])
def by_rows(start, stop, _, x, label, mass, masses, factor, floor, slopes, curvatures):
    """Write gradients and curvatures of rows start to stop of x (n, K) to slopes and curvatures (n, K).

    `mass` (n,), or (1,) for one of all rows, is the sum over a row's target; that is all at its label (n,),
    or where labels are empty as `masses` (n, K).
    """
    n_classes = x.shape[1]
    step = max(1, BLOCK_BYTES // (n_classes * x.itemsize))
    flat_slopes, flat_curvatures = slopes.reshape(-1), curvatures.reshape(-1)
    for first in range(start, stop, step):
        last = min(first + step, stop)
        softmax_range(x, slopes, first, last, True)
        if mass.size == 1:
            part = slice(first * n_classes, last * n_classes)
            _curve(flat_slopes[part], mass[0], factor, floor, flat_curvatures[part])
        else:
            for i in range(first, last):
                _curve(slopes[i], mass[i], factor, floor, curvatures[i])
        if label.size:
            for i in range(first, last):
                slopes[i, label[i]] -= mass[i] if mass.size > 1 else mass[0]
        else:
            for i in range(first, last):
                for k in range(n_classes):
                    slopes[i, k] -= masses[i, k]


@inner
def _differences(x, shift, out):
    """Write x − shift of a stripe's row, float64, to out, float32."""
    for i in range(out.shape[0]):
        out[i] = np.float32(x[i] - shift[i])


@inner
def _curve_down(k, e, label, part, count, others, heavy, factor, floor, curvature):
    """Write max(factor · mass · p (1 − p), floor) to curvature and turn e into mass · (p − [label = k]).

    Of class k and a stripe of columns. e are exponentials, p = e · part, and 1 − p = (count − e + others) ·
    part, in which nothing cancels where p is close to 1: `count` is the number of ones, then 1.
    """
    for i in range(e.shape[0]):
        each = np.float64(e[i])
        p = each * part[i]
        left = ((count[i] - each) + others[i]) * part[i]
        curved = factor * heavy[i] * (p * left)
        curvature[i] = np.float32(curved if curved > floor else floor)
        e[i] = np.float32(heavy[i] * (-left if label[i] == k else p))


@kernel(signatures=["f8:2C,i8:1C,f8:1C,f8:2C,d,d,f4:2C,f4:2C"])
def by_classes(start, stop, _, x, label, mass, masses, factor, floor, slopes, curvatures):
    """Write gradients and curvatures of columns start to stop of x (K, n), float64, to float32 (K, n).

    Otherwise as `by_rows`; `masses` is (n, K) still. Exponentials are float32, of differences taken in
    float64; a stripe of columns is in the second-level cache from its maxima to its last number.
    """
    n_classes = x.shape[0]
    step = max(LANES, min(STRIPE_BYTES // (16 * n_classes), MAX_STRIPE) // LANES * LANES)
    shift, zero = np.empty(step), np.zeros(step, slopes.dtype)
    count, others, part, heavy = np.empty(step), np.empty(step), np.empty(step), np.empty(step)
    none = np.full(step, -1)  # in place of labels
    for first in range(start, stop, step):
        last = min(first + step, stop)
        n = last - first
        columns_largest(x, (0, n_classes), first, n, shift)
        for k in range(n_classes):
            _differences(x[k, first:last], shift, slopes[k, first:last])
        count[:] = 0.0
        others[:] = 0.0
        for k in range(0, n_classes, SUM_ROWS):
            rows = (k, min(k + SUM_ROWS, n_classes))
            exact = n_classes < PLAIN_CLASSES
            columns_exponentials(slopes, slopes, rows, first, n, zero, count, others, exact, 0, 0)
        for i in range(n):
            part[i] = 1.0 / (count[i] + others[i])
            heavy[i] = mass[first + i] if mass.size > 1 else mass[0]
        of_stripe = label[first:last] if label.size else none[:n]
        for k in range(n_classes):
            slope, curvature = slopes[k, first:last], curvatures[k, first:last]
            _curve_down(k, slope, of_stripe, part, count, others, heavy, factor, floor, curvature)
        if not label.size:
            for i in range(n):
                for k in range(n_classes):
                    slopes[k, first + i] -= masses[first + i, k]
