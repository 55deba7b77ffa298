"""A diagonal scaling of coefficients, between projections onto those that sum to zero over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.runtime.executor import even_bounds, kernel, run

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector

# Features of a part: its two float64 sums, 32 KiB, stay in cache while the K rows pass. Larger parts would be
# too few for the threads.
PART = 2**11


@kernel
def _scale(start, stop, part, coef, reciprocal, projected, pull):
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


def scale_classes(
    coef: Vector, reciprocal: Vector, projected: bool, pull: float, n_threads: int | None
) -> None:
    """Scale coefficients in place: coef becomes Π (reciprocal · Π coef) + pull · (I − Π) coef.

    Or reciprocal · coef, if not `projected`. Π subtracts the mean over classes, for the reason given in
    `fastsoftmax.preconditioners.projection`.

    Parameters
    ----------
    coef, reciprocal : ndarrays (K, m), float64
    projected : bool
    pull : float
    n_threads : int or None

    Notes
    -----
    Reads coef three times if `projected`, otherwise once.
    """
    n_features = coef.shape[1]
    bounds = even_bounds(n_features, -(-n_features // PART))
    run(_scale, bounds, coef, reciprocal, projected, pull, work=2.0 * coef.size, n_threads=n_threads)
