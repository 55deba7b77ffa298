"""A diagonal scaling of coefficients, between projections onto those that sum to zero over classes."""

from __future__ import annotations

import numpy as np

from fastsoftmax.runtime.jitted import kernel


@kernel(signatures=["f8:2C,f8:2C,?,d"])
def scale(start, stop, part, coef, reciprocal, projected, pull):
    """Multiply columns start to stop of coef by `reciprocal`, both (K, d), projecting if `projected`.

    A projection, before and after, subtracts the mean over classes; `pull` times the first mean is added at
    the end.
    """
    n_classes = coef.shape[0]
    shift = np.zeros(stop - start)
    mean = np.zeros(stop - start)
    if projected:
        for k in range(n_classes):
            row = coef[k, start:stop]
            for j in range(len(shift)):
                shift[j] += row[j] / n_classes
    for k in range(n_classes):
        row = coef[k, start:stop]
        factor = reciprocal[k, start:stop]
        for j in range(len(shift)):
            row[j] = (row[j] - shift[j]) * factor[j]
            mean[j] += row[j] / n_classes
    if projected:
        for k in range(n_classes):
            row = coef[k, start:stop]
            for j in range(len(shift)):
                row[j] += pull * shift[j] - mean[j]
