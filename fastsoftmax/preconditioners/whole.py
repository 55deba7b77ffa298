"""The Hessian itself, where it is small: conjugate gradients then end after a step or two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels import blas
from fastsoftmax.preconditioners.cholesky import factor, solve, unit_scale
from fastsoftmax.preconditioners.projection import NOT_FINITE, is_lost

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params, Vector
    from fastsoftmax.preconditioners.projection import Inverse


def inverse(
    pairs: NDArray[Any], n_classes: int, weight: float, l2: float, fit_intercept: bool, invariant: bool
) -> Inverse:
    """Return v ↦ H⁻¹ v, in place; with `invariant`, only of vectors that sum to zero over classes.

    Parameters
    ----------
    pairs : ndarray (K (K + 1) / 2, d + 1, d + 1)
        Lower triangles of the blocks of class pairs (0, 0), (1, 0), (1, 1), …; the last row and column are
        the intercept's.
    n_classes, weight, l2, fit_intercept
    invariant : bool
        Whether adding one vector to every class changes no loss. The Hessian is singular along those
        directions but for l2; a multiple of (1 1ᵀ / K) ⊗ diag fills them and leaves the others alone.

    Raises
    ------
    FloatingPointError
        If a block is not finite.
    """
    n_features = pairs.shape[1] - 1
    size = n_features + fit_intercept
    blocks = pairs[:, :size, :size].astype(np.float64)
    blocks /= weight
    if not np.isfinite(blocks).all():
        raise FloatingPointError(NOT_FINITE)
    hessian = np.zeros((n_classes, size, n_classes, size))
    upper = np.triu_indices(size, 1)
    index = 0
    for k in range(n_classes):
        for other in range(k + 1):
            block = blocks[index]
            block[upper] = block.T[upper]
            hessian[k, :, other, :] = block
            index += 1
    features = np.arange(n_features)
    # Units differ: of a penalty that is lost in one column there may be something left in others.
    most = np.einsum("kjkj->kj", hessian).max(axis=0)[:n_features]
    singular = is_lost(l2, float(np.min(most, where=most > 0.0, initial=np.inf)))
    own = np.where(most > 0.0, 0.0, l2) if singular else np.full(n_features, l2)
    for k in range(n_classes):
        hessian[k, features, k, features] += own
    if invariant:
        places = np.arange(size)
        if fit_intercept and not singular:
            # What fills the directions of all classes together would hide that this one has no curvature.
            intercepts = np.einsum("kk->k", hessian[:, -1, :, -1])
            intercepts[intercepts == 0.0] = intercepts.max() or 1.0
        fill = np.mean([hessian[k, places, k, places] for k in range(n_classes)], axis=0) / n_classes
        for k in range(n_classes):
            for other in range(k + 1):
                hessian[k, places, other, places] += fill
    order = n_classes * size
    matrix = hessian.reshape(order, order)
    error = float(np.finfo(np.float64).eps) * order
    solved = _by_axes(matrix, error, n_classes) if singular else _by_factor(matrix, error)

    def apply(vector: Params) -> None:
        coef, intercept = vector
        if not fit_intercept:
            coef[:] = solved(coef.reshape(-1)).reshape(coef.shape)
            return
        stacked = np.concatenate((coef, intercept[:, np.newaxis]), axis=1)
        stacked = solved(stacked.reshape(-1)).reshape(stacked.shape)
        coef[:], intercept[:] = stacked[:, :-1], stacked[:, -1]

    return apply


def _by_factor(matrix: NDArray[np.float64], error: float) -> Callable[[Vector], Vector]:
    """Return v ↦ H⁻¹ v of a matrix whose least curvature, l2, is above its relative error."""
    lower, scale = factor(matrix, error)

    def solved(vector: Vector) -> Vector:
        out = vector[np.newaxis].copy()
        solve(lower[np.newaxis], scale[np.newaxis], out, 1)
        return out[0]

    return solved


def _by_axes(matrix: NDArray[np.float64], error: float, n_classes: int) -> Callable[[Vector], Vector]:
    """Return v ↦ H⁺ v of a matrix that nothing keeps from being singular.

    Along directions in which no row lies the gradient is rounding, and so is the curvature: by their quotient
    a step would go anywhere. It goes nowhere there. About ten times what a factor costs.
    """
    # One scale a column for all classes: what they have in common stays apart from what they have not.
    each = unit_scale(matrix).reshape(n_classes, -1)
    scale = np.tile(1.0 / np.sqrt(np.mean(each**-2, axis=0)), n_classes)
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    with blas.one_thread():  # the bits depend on their number
        values, axes = blas.away(np.linalg.eigh, matrix)  # SciPy's would keep the GIL
    real = values > error * values[-1]
    root = scale[:, np.newaxis] * axes[:, real] / np.sqrt(values[real])

    def solved(vector: Vector) -> Vector:
        with blas.one_thread():
            return np.asarray(root @ (vector @ root))

    return solved
