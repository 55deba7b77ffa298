"""Preconditioners of every form from sums over rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.preconditioners import block_diagonal, full, kronecker
from fastsoftmax.preconditioners.projection import projected, pull_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Params, Sums, Vector
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
    hessp: Callable[[Params], Params],
) -> Inverse:
    """Return the preconditioner, which works in place, from the sums of a `Gram` query.

    Parameters
    ----------
    sums : Sums
        `coef` holds class blocks; overwritten.
    form : {"full", "block diagonal"}
    n_classes : int
    l2 : float
    fit_intercept : bool
    invariant : bool
        Whether adding one vector to every class's coefficients changes no loss.
    diagonal : Params or None
        The diagonal of the Hessian over all rows, without l2, if the sums are those of a sample.
    n_threads : int or None
    hessp : callable
        The Hessian-vector product without the penalty, in float64.
    """
    numbers = sums.weight, l2, fit_intercept
    pull = pull_of(l2, float(np.einsum("kii->ki", sums.coef).max()) / sums.weight)
    if form == "full":
        inverse = full.inverse(sums.coef, n_classes, *numbers, invariant, hessp)
    else:
        inverse = block_diagonal.inverse(sums.coef, *numbers, diagonal, n_threads)
    return projected(inverse, pull) if invariant else inverse


def of_spectrum(
    rows: kronecker.Spectrum, curvatures: Vector, l2: float, fit_intercept: bool, invariant: bool
) -> Inverse:
    """Return the Kronecker preconditioner, which works in place; `curvatures` (K,) scale the Gram matrix."""
    inverse = kronecker.inverse(rows, curvatures, l2, fit_intercept)
    pull = pull_of(l2, float(rows.values[-1] * curvatures.max()))
    return projected(inverse, pull) if invariant else inverse
