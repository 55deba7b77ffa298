"""The whole Hessian as the preconditioner, where it is small: conjugate gradients end after a step or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Params
from fastsoftmax.linalg.cholesky import NOT_FINITE, factor, solve, unit_scale
from fastsoftmax.preconditioners import hidden
from fastsoftmax.preconditioners.projection import is_lost
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Array, Vector
    from fastsoftmax.preconditioners.projection import Inverse

# The cosine of an angle between spans that is taken for none: it is either that, or the span is resolved.
SHARED = 0.7


def inverse(
    pairs: Array,
    n_classes: int,
    weight: float,
    l2: float,
    fit_intercept: bool,
    invariant: bool,
    dependent: Vector | None = None,
    hessp: Callable[[Params], Params] | None = None,
) -> Inverse:
    """Return v ↦ H⁻¹ v, in place; with `invariant`, only of vectors that sum to zero over classes.

    Parameters
    ----------
    pairs : ndarray (K (K + 1) / 2, d + 1, d + 1)
        Lower triangles of the blocks of class pairs (0, 0), (1, 0), (1, 1), …; the last row and column are
        the intercept's.
    n_classes : int
    weight : float
        Σ wᵢ of the rows that the pairs were summed over.
    l2 : float
    fit_intercept : bool
    invariant : bool
        Whether adding one vector to every class changes no loss. Without l2 the Hessian is singular along
        those directions; a multiple of (1 1ᵀ / K) ⊗ diag is added, which does not change the others.
    dependent : ndarray (m, d + 1), optional
        Directions of a class's coefficients and intercept along which its columns nearly cancel.
    hessp : callable, optional
        The Hessian-vector product, in float64, for those of them that rounding hides from the blocks.

    Raises
    ------
    FloatingPointError
        If a block is not finite.

    Notes
    -----
    (K d)³ / 3 flops to build (about ten times that without a penalty), 2 (K d)² to apply.
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
    # Units differ: a penalty that is lost in rounding in one column may not be in another.
    largest = np.einsum("kjkj->kj", hessian).max(axis=0)[:n_features]
    singular = is_lost(l2, float(np.min(largest, where=largest > 0.0, initial=np.inf)))
    penalty = np.where(largest > 0.0, 0.0, l2) if singular else np.full(n_features, l2)
    for k in range(n_classes):
        hessian[k, features, k, features] += penalty
    if invariant:
        diagonal = np.arange(size)
        if fit_intercept and not singular:
            # The matrix that is added for the invariant directions would hide a class without curvature.
            intercepts = np.einsum("kk->k", hessian[:, -1, :, -1])
            intercepts[intercepts == 0.0] = intercepts.max() or 1.0
        fill = np.mean([hessian[k, diagonal, k, diagonal] for k in range(n_classes)], axis=0) / n_classes
        for k in range(n_classes):
            for other in range(k + 1):
                hessian[k, diagonal, other, diagonal] += fill
    order = n_classes * size
    matrix = hessian.reshape(order, order)
    error = float(np.finfo(np.float64).eps) * order

    def split(flat: Vector) -> Params:
        stacked = flat.reshape(n_classes, size)
        if not fit_intercept:
            return Params(stacked, np.zeros(n_classes))
        return Params(stacked[:, :-1], stacked[:, -1])

    def joined(vector: Params) -> Vector:
        if not fit_intercept:
            return vector.coef.reshape(-1)
        return np.concatenate((vector.coef, vector.intercept[:, np.newaxis]), axis=1).reshape(-1)

    if singular:
        solve_flat = _by_axes(
            matrix,
            error,
            n_classes,
            None if dependent is None else dependent[:, :size],
            None if hessp is None else lambda flat: joined(hessp(split(flat))),
        )
    else:
        solve_flat = _by_factor(matrix, error)

    def apply(vector: Params) -> None:
        coef, intercept = split(solve_flat(joined(vector)))
        vector.coef[:] = coef
        if fit_intercept:
            vector.intercept[:] = intercept

    return apply


def _by_factor(matrix: Vector, error: float) -> Callable[[Vector], Vector]:
    """Return v ↦ H⁻¹ v, by Cholesky, of a matrix whose smallest curvature, l2, exceeds its relative error."""
    lower, scale = factor(matrix, error)

    def solved(vector: Vector) -> Vector:
        out = vector[np.newaxis].copy()
        solve(lower[np.newaxis], scale[np.newaxis], out, 1)
        return np.asarray(out[0])

    return solved


def _by_axes(
    matrix: Vector,
    error: float,
    n_classes: int,
    dependent: Vector | None,
    hessp: Callable[[Vector], Vector] | None,
) -> Callable[[Vector], Vector]:
    """Return v ↦ H⁺ v, by eigenvectors, of a matrix that may be singular.

    Along directions that no row has a component in, gradient and curvature are rounding, and so would be
    their quotient: the pseudo-inverse is zero there. Those of nearly equal columns look alike in the matrix;
    `hessp` tells them apart. About ten times the cost of a factor.
    """
    # One scale for each column of all classes, so that scaling commutes with the mean over classes.
    class_scale = unit_scale(matrix).reshape(n_classes, -1)
    scale = np.tile(1.0 / np.sqrt(np.mean(class_scale**-2, axis=0)), n_classes)
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    curved = np.flatnonzero(matrix.diagonal() > 0.0)  # those of a column of zeros are left out
    scale = scale[curved]
    with blas.one_thread():  # results depend on the number of threads
        values, axes = blas.away(np.linalg.eigh, matrix[np.ix_(curved, curved)])  # SciPy's would hold the GIL
        resolved = values > error * values.max(initial=0.0)
        root = np.zeros((len(matrix), np.count_nonzero(resolved)))
        root[curved] = scale[:, np.newaxis] * axes[:, resolved] / np.sqrt(values[resolved])
    if dependent is not None and hessp is not None and not resolved.all():
        among = hidden.of_every_class(dependent, n_classes)[:, curved]
        shared = _within(axes[:, ~resolved], among / scale)
        directions = np.zeros((len(shared), len(matrix)))
        directions[:, curved] = shared * scale
        root = np.concatenate((root, hidden.root_of(directions, hessp, values.max())), axis=1)

    def solved(vector: Vector) -> Vector:
        with blas.one_thread():
            return np.asarray(root @ (vector @ root))

    return solved


def _within(axes: Vector, directions: Vector) -> Vector:
    """Return orthonormal directions of the span of `axes` (D, r) that that of `directions` (m, D) shares."""
    with blas.one_thread():
        basis, _ = np.linalg.qr(directions.T)
        _, cosines, combinations = np.linalg.svd(basis.T @ axes, full_matrices=False)
        return np.asarray(combinations[cosines > SHARED] @ axes.T)
