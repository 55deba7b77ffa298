"""The diagonal preconditioner, for parameters too many for any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.linalg.class_scaling import scale_classes
from fastsoftmax.preconditioners.projection import pull_of

if TYPE_CHECKING:
    from fastsoftmax.contracts import Params, Vector
    from fastsoftmax.preconditioners.projection import Inverse


def inverse(diagonal: Params, l2: float, invariant: bool, n_threads: int | None) -> Inverse:
    """Return v ↦ Π D⁻¹ Π v + (I − Π) v / l2, in place; v ↦ D⁻¹ v where the loss is not `invariant`.

    Parameters
    ----------
    diagonal : Params
        D, without l2. Overwritten.
    l2 : float
    invariant : bool
        Whether adding one vector to every class's coefficients changes no loss: Π then subtracts the mean
        over classes, for the reason given in `preconditioners.projection`.
    n_threads : int or None
    """
    pull = pull_of(l2, float(diagonal.coef.max()))
    np.add(diagonal.coef, l2, out=diagonal.coef)
    for part in diagonal:
        _raise(part)
        np.reciprocal(part, out=part)
    coef, intercept = diagonal.coef, diagonal.intercept[:, np.newaxis]

    def apply(vector: Params) -> None:
        scale_classes(vector.coef, coef, invariant, pull, n_threads)
        scale_classes(vector.intercept[:, np.newaxis], intercept, invariant, 0.0, 1)

    return apply


def _raise(diagonal: Vector) -> None:
    """Raise the entries of a diagonal, in place, to at least eps times its largest entry.

    A column that is zero in every row has no curvature, nor has a class of probability zero.
    """
    floor = np.finfo(float).eps * diagonal.max(initial=0.0)
    np.maximum(diagonal, floor if floor > 0.0 else 1.0, out=diagonal)
