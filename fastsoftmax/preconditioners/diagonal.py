"""The diagonal of the Hessian: for parameters too many for anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Params

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.preconditioners.projection import Inverse


def inverse(diagonal: Params) -> Inverse:
    """Return v ↦ v divided by the diagonal, in place."""
    coef, intercept = (_positive(part) for part in diagonal)

    def apply(vector: Params) -> Params:
        np.divide(vector.coef, coef, out=vector.coef)
        return Params(vector.coef, vector.intercept / intercept)

    return apply


def _positive(diagonal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the diagonal, raised to eps of its largest entry.

    A column that is zero everywhere has no curvature; neither has a class of probability zero.
    """
    floor = np.finfo(float).eps * diagonal.max(initial=0.0)
    return np.maximum(diagonal, floor if floor > 0.0 else 1.0)
