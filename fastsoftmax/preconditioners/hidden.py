"""Directions whose curvature is hidden by the rounding of the matrices that preconditioners are built from.

Nearly equal columns differ by little, and their difference has a curvature of the square of that little: in a
sum over rows it stands beside 1, and a factorisation takes the direction for flat. A Hessian-vector product
has it to full precision, as the difference is taken in each row first. Only without a penalty: with one, that
is the curvature of such a direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack, solve_triangular

from fastsoftmax.contracts import Params
from fastsoftmax.linalg.cholesky import unit_scale
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Vector
    from fastsoftmax.preconditioners.projection import Inverse

# The most directions whose curvature is asked for, a pass each.
MAX_ASKED = 64
# The least root of a curvature that is not taken for rounding, in relative errors of a matrix, eps · order.
FAINTEST = 10.0


def root_of(directions: Vector, hessp: Callable[[Vector], Vector], largest: float = 1.0) -> Vector:
    """Return R (D, r) with R Rᵀ = Vᵀ (V H Vᵀ)⁺ V, of directions V (m, D).

    Parameters
    ----------
    directions : ndarray (m, D)
        In coordinates that bring the Hessian to a diagonal of about one.
    hessp : callable
        v ↦ H v (D,), in float64.
    largest : float
        The largest curvature in those coordinates.

    Notes
    -----
    One product if all curvatures are rounding, which a mixture of the directions tells: columns that depend
    on others exactly. Otherwise one for each direction. A row's logits have to be small along all of them:
    where only their differences are, as for a shift of all classes, the curvature is a difference of larger
    terms, whose rounding would be taken for it.
    """
    least = (FAINTEST * np.finfo(np.float64).eps * directions.shape[1]) ** 2 * largest
    weights = np.random.default_rng(0).normal(size=len(directions))
    mixture = weights @ directions
    if len(directions) == 0 or mixture @ hessp(mixture) <= least * (weights @ weights):
        return np.empty((directions.shape[1], 0))
    products = np.array([hessp(direction) for direction in directions])
    with blas.one_thread():  # results depend on the number of threads
        curvature = directions @ products.T
        curvature = 0.5 * (curvature + curvature.T)
        # Scaled first: curvatures of different sizes keep their digits.
        unit = np.sqrt(np.maximum(curvature.diagonal(), least))
        values, axes = blas.away(np.linalg.eigh, curvature / unit / unit[:, np.newaxis])
        axes = axes / unit[:, np.newaxis]
        kept = values > least * np.einsum("ij,ij->j", axes, axes)
        return np.asarray(directions.T @ (axes[:, kept] / np.sqrt(values[kept])))


def dependencies(matrix: Vector, resolution: float) -> Vector:
    """Return directions V (m, D) along which a positive semidefinite matrix (D, D) is nearly flat.

    Each is a column less the combination of others that comes nearest to it, to `resolution` of its square;
    none if there are more than 64. The lower triangle is read; overwritten. D³ / 3 flops.
    """
    scale = unit_scale(matrix)
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    curved = np.flatnonzero(matrix.diagonal() > 0.0)  # a column of zeros depends on nothing
    with blas.one_thread():
        lower, pivots, rank, _ = lapack.dpstrf(matrix[np.ix_(curved, curved)], tol=resolution, lower=True)
        pivots -= 1
        n_dependent = len(curved) - rank
        directions = np.zeros((n_dependent if n_dependent <= MAX_ASKED else 0, len(matrix)))
        if len(directions):
            combined = solve_triangular(lower[:rank, :rank], lower[rank:, :rank].T, trans=1, lower=True)
            directions[:, curved[pivots[:rank]]] = -combined.T
            directions[np.arange(n_dependent), curved[pivots[rank:]]] = 1.0
    directions *= scale
    return directions


def of_every_class(dependent: Vector, n_classes: int) -> Vector:
    """Return each direction (m, D) for each class alone, (K m, K D); none if there are more than 64."""
    if len(dependent) * n_classes > MAX_ASKED:
        dependent = dependent[:0]
    return np.asarray(np.kron(np.eye(n_classes), dependent), np.float64)


def added(inverse: Inverse, dependent: Vector, n_classes: int, hessp: Callable[[Params], Params]) -> Inverse:
    """Return v ↦ inverse v + R Rᵀ v, in place, with the curvatures of every class along `dependent`.

    Parameters
    ----------
    inverse : callable
        Works on `Params` in place.
    dependent : ndarray (m, d + 1)
        Directions of one class's coefficients and intercept.
    n_classes : int
    hessp : callable
        The Hessian-vector product without the penalty, in float64.
    """
    directions = of_every_class(dependent, n_classes)

    def stacked(vector: Params) -> Vector:
        return np.concatenate((vector.coef, vector.intercept[:, np.newaxis]), axis=1).ravel()

    def split(flat: Vector) -> Params:
        both = flat.reshape(n_classes, -1)
        return Params(both[:, :-1], both[:, -1])

    root = root_of(directions, lambda flat: stacked(hessp(split(flat))))
    if root.shape[1] == 0:
        return inverse

    def apply(vector: Params) -> None:
        with blas.one_thread():
            step = split(root @ (stacked(vector) @ root))
        inverse(vector)
        vector.coef[:] += step.coef
        vector.intercept[:] += step.intercept

    return apply
