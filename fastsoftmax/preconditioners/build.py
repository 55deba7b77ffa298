"""The inverse that sums over rows make, whatever its form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.preconditioners import class_blocks, gram, whole
from fastsoftmax.preconditioners.projection import projected, pull_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, Sums
    from fastsoftmax.preconditioners.projection import Inverse


def of_blocks(
    sums: Sums,
    form: str,
    n_classes: int,
    l2: float,
    fit_intercept: bool,
    invariant: bool,
    diagonal: Params | None,
    n_threads: int | None,
) -> Inverse:
    """Return the inverse, in place, that the sums of the device's "gram" make.

    `form` is "whole" or "class blocks"; `diagonal`, without l2, that of the Hessian over all rows, where the
    sums are those of a sample. `invariant` losses do not change with what all classes have in common.
    """
    numbers = sums.weight, l2, fit_intercept
    pull = pull_of(l2, float(np.einsum("kii->ki", sums.coef).max()) / sums.weight)
    if form == "whole":
        inverse = whole.inverse(sums.coef, n_classes, *numbers, invariant)
    else:
        inverse = class_blocks.inverse(sums.coef, *numbers, diagonal, n_threads)
    return projected(inverse, pull) if invariant else inverse


def of_spectrum(
    rows: gram.Spectrum, curvatures: NDArray[np.float64], l2: float, fit_intercept: bool, invariant: bool
) -> Inverse:
    """Return the inverse, in place, that the rows' Gram matrix makes with a scale for each class."""
    inverse = gram.inverse(rows, curvatures, l2, fit_intercept)
    pull = pull_of(l2, float(rows.values[-1] * curvatures.max()))
    return projected(inverse, pull) if invariant else inverse
