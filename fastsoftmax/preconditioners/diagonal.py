"""The diagonal of the Hessian: for parameters too many for anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.executor import even_bounds, kernel, run
from fastsoftmax.preconditioners.projection import pull_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params
    from fastsoftmax.preconditioners.projection import Inverse

PART = 2**11  # features that a thread takes at a time


@kernel
def _scale(start, stop, part, coef, reciprocal, projected, pull):
    """Multiply columns start to stop of coef (K, d) by the reciprocal, between projections if `projected`.

    Those are Π of `preconditioners.projection`; `pull` is what multiplies the mean over classes.
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
        own = reciprocal[k, start:stop]
        for j in range(len(shift)):
            row[j] = (row[j] - shift[j]) * own[j]
            mean[j] += row[j] / n_classes
    if projected:
        for k in range(n_classes):
            row = coef[k, start:stop]
            for j in range(len(shift)):
                row[j] += pull * shift[j] - mean[j]


def inverse(diagonal: Params, l2: float, invariant: bool, n_threads: int | None) -> Inverse:
    """Return v ↦ Π D⁻¹ Π v + (I − Π) v / l2, in place; v ↦ D⁻¹ v where the loss is not `invariant`.

    Parameters
    ----------
    diagonal : Params
        D, without l2. Is written over.
    l2 : float
    invariant : bool
        Whether adding one vector to every class's coefficients changes no loss: Π then takes the mean over
        classes away (`preconditioners.projection` says why).
    n_threads : int or None
    """
    pull = pull_of(l2, float(diagonal.coef.max()))
    np.add(diagonal.coef, l2, out=diagonal.coef)
    for part in diagonal:
        _raise(part)
        np.reciprocal(part, out=part)
    coef, intercept = diagonal.coef, diagonal.intercept[:, np.newaxis]
    bounds = even_bounds(diagonal.coef.shape[1], -(-diagonal.coef.shape[1] // PART))
    work = 2.0 * diagonal.coef.size

    def apply(vector: Params) -> None:
        run(_scale, bounds, vector.coef, coef, invariant, pull, work=work, n_threads=n_threads)
        whole, own = np.array([0, 1]), vector.intercept[:, np.newaxis]
        run(_scale, whole, own, intercept, invariant, 0.0, work=len(own), n_threads=1)

    return apply


def _raise(diagonal: NDArray[np.float64]) -> None:
    """Raise a diagonal to eps of its largest entry.

    A column that is zero everywhere has no curvature; neither has a class of probability zero.
    """
    floor = np.finfo(float).eps * diagonal.max(initial=0.0)
    np.maximum(diagonal, floor if floor > 0.0 else 1.0, out=diagonal)
