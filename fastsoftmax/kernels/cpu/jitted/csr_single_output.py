"""A pass over sparse (CSR) rows of one output: a row is in cache for both of its readings."""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.cpu.jitted.dlogits import to_dlogits
from fastsoftmax.kernels.cpu.jitted.kinds import INDICES
from fastsoftmax.kernels.cpu.jitted.single_output import gathered_dot
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd import compensated

VERBS = ("LossGrad(q)", "Diagonal(q)", "Dual(q,f8:1C,d,f8:1C)")  # of the passes that this is for


@inner
def _scatter(data, indices, first, last, factor, out):
    """Add factor · dataₑ to out[indicesₑ], e from first to before last."""
    x, places = data[first:last], indices[first:last]
    for e in range(len(x)):
        out[np.uint64(places[e])] += factor * x[e]


@inner
def _scatter_squares(data, indices, first, last, factor, out, sums):
    """Add factor · xⱼ² to out[j], where xⱼ is the sum of the row's entries of column j.

    `sums` (d,) is zero before and after.
    """
    for e in range(first, last):
        sums[np.uint64(indices[e])] += data[e]
    for e in range(first, last):
        j = np.uint64(indices[e])
        out[j] += factor * sums[j] * sums[j]
        sums[j] = 0.0  # so that a second entry of the column adds nothing


@kernel(
    signatures=[
        f"{verb},Sigmoid(f8:1C,f8:1C,d),?,f8:1C,{index}:1C,{index}:1C,f8:2C,f8:1C,f8:2C,f8:2C,q,f8:2C,f8:1C,f8:2C,f8:2C"
        for index in INDICES
        for verb in VERBS
    ]
)
def sum_rows(
    start, stop, part, verb, loss, squared, data, indices, indptr, target, weight, coef, intercept,
    tile_rows, kept, values, gradient, intercepts,
):  # fmt: skip
    """Sum value, dlogitsᵀ X and dlogits over the CSR rows of one part.

    Parameters
    ----------
    verb, loss : named tuples
        What is computed of each row's logit (`verbs`), and of which loss.
    squared : bool
        Whether the way back multiplies with the squares of X.
    data, indices, indptr : arrays
        CSR arrays of X; `data` is float64.
    target : array (n, 1)
    weight : array (n,)
    coef, intercept : arrays (d, 1) and (1, 1)
    tile_rows : int
        How many rows' logits are computed together.
    kept : array (n, 1), or empty
        Known logits, which are then not computed.
    values : array (parts,)
        Receives Σ wᵢ ℓᵢ (compensated).
    gradient, intercepts : arrays (parts, d) and (parts, 1)
        Receive the sums by addition.
    """
    logits = np.empty((1, tile_rows, 1))
    sums = np.zeros(len(coef) if squared else 0)
    no_values = np.empty(0)
    total = gradient[part]
    value = 0.0
    lost = 0.0
    for first in range(start, stop, tile_rows):
        n_rows = min(tile_rows, stop - first)
        if not kept.size:
            for i in range(n_rows):
                left, right = indptr[first + i], indptr[first + i + 1]
                logits[0, i, 0] = gathered_dot(data, indices, left, right, coef)
        tile_value, _ = to_dlogits(
            verb, loss, logits, 0, n_rows, intercept, kept, target, weight, no_values, first
        )
        value, lost = compensated.add(value, lost, tile_value)
        for i in range(n_rows):
            dlogit = logits[0, i, 0]
            intercepts[part, 0] += dlogit
            if dlogit == 0.0:
                continue  # of a row of weight zero
            left, right = indptr[first + i], indptr[first + i + 1]
            if squared:
                _scatter_squares(data, indices, left, right, dlogit, total, sums)
            else:
                _scatter(data, indices, left, right, dlogit, total)
    values[part] = value
