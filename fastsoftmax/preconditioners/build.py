"""Preconditioners of every form from sums over rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.preconditioners import block_diagonal, full, hidden, kronecker
from fastsoftmax.preconditioners.projection import FLOOR, projected, pull_of

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
    hessp: Callable[[Params], Params] | None,
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
    hessp : callable or None
        The Hessian-vector product, to look for directions that rounding hides. None does not look for them:
        where products are float32, and with a penalty, which is the curvature of such a direction.
    """
    numbers = sums.weight, l2, fit_intercept
    pull = pull_of(l2, float(np.einsum("kii->ki", sums.coef).max()) / sums.weight)
    dependent = None if hessp is None else _dependencies(sums, form, n_classes, fit_intercept)
    if form == "full":
        inverse = full.inverse(sums.coef, n_classes, *numbers, invariant, dependent, hessp)
    else:
        inverse = block_diagonal.inverse(sums.coef, *numbers, diagonal, n_threads)
        if dependent is not None and hessp is not None:
            inverse = hidden.added(inverse, dependent, n_classes, hessp)
    return projected(inverse, pull) if invariant else inverse


def _dependencies(sums: Sums, form: str, n_classes: int, fit_intercept: bool) -> Vector:
    """Return the directions (m, d + 1) along which columns nearly cancel, by the blocks of all classes."""
    blocks = sums.coef
    if form == "full":  # of pairs of classes: those of a class with itself
        classes = np.arange(n_classes)
        blocks = blocks[classes * (classes + 3) // 2]
    total: Vector = np.asarray(blocks.sum(axis=0, dtype=np.float64))
    total /= sums.weight
    if not fit_intercept:
        total[-1] = 0.0
    return hidden.dependencies(total, FLOOR)


def of_spectrum(
    rows: kronecker.Spectrum, curvatures: Vector, l2: float, fit_intercept: bool, invariant: bool
) -> Inverse:
    """Return the Kronecker preconditioner, which works in place; `curvatures` (K,) scale the Gram matrix."""
    inverse = kronecker.inverse(rows, curvatures, l2, fit_intercept)
    pull = pull_of(l2, float(rows.values[-1] * curvatures.max()))
    return projected(inverse, pull) if invariant else inverse
