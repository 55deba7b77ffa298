"""Gradients and diagonal curvatures of rows of logits, as boosting libraries want them for each number."""

from __future__ import annotations

from fastsoftmax.kernels.cpu.jitted.rows import softmax_range
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel

BLOCK_BYTES = 2**14  # of probabilities that are in the first-level cache between two loops


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


@kernel(signatures=["f8:2C,i8:1C,f8:1C,f8:2C,d,d,f4:2C,f4:2C"])
def by_classes(start, stop, _, p, label, mass, masses, factor, floor, slopes, curvatures):
    """Write gradients and curvatures of rows start to stop from probabilities p, all of them (K, n).

    Otherwise as `by_rows`; `masses` is (n, K) still.
    """
    for k in range(p.shape[0]):
        for i in range(start, stop):
            each = p[k, i]
            heavy = mass[i] if mass.size > 1 else mass[0]
            curved = factor * heavy * (each * (1.0 - each))
            curvatures[k, i] = curved if curved > floor else floor
            slopes[k, i] = heavy * each
        if not label.size:
            for i in range(start, stop):
                slopes[k, i] = (mass[i] if mass.size > 1 else mass[0]) * p[k, i] - masses[i, k]
    if label.size:
        for i in range(start, stop):
            heavy = mass[i] if mass.size > 1 else mass[0]
            slopes[label[i], i] = heavy * (p[label[i], i] - 1.0)
