"""The variances of coefficients alone: the information and its inverse as half a matrix.

LAPACK's rectangular full packed format [1]_ holds one triangle of a matrix of order n in n (n + 1) / 2
numbers, as two triangles and a rectangle of matrices on which BLAS works as on any others.

References
----------
.. [1] F. G. Gustavson, J. Waśniewski, J. J. Dongarra, J. Langou, "Rectangular full packed format for
   Cholesky's algorithm", ACM Transactions on Mathematical Software 37 (2010).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from fastsoftmax.estimator.covariances import LEAST_PIVOT, Found, singular
from fastsoftmax.linalg.cholesky import MIN_CURVATURE
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Vector
    from fastsoftmax.estimator.information import Fitted
    from fastsoftmax.objective.score_sums import ScoreSums

COLUMNS = 64  # of the inverse that are held whole at a time, with their places


class PackedMatrix:
    """A symmetric matrix of order n, by its lower triangle in LAPACK's format of transr="N", uplo="L"."""

    def __init__(self, order: int) -> None:
        self.order = order
        self._half, self._down = (order + 1) // 2, 1 - order % 2
        self._array = np.zeros((order + self._down, self._half), order="F")

    @property
    def flat(self) -> Vector:
        """The numbers as LAPACK takes them, in the same memory."""
        return self._array.reshape(-1, order="F")

    def _places(self, rows: ArrayLike, columns: ArrayLike) -> tuple[Vector, Vector]:
        """Return the places in the array of entries, of either triangle."""
        i, j = np.maximum(rows, columns), np.minimum(rows, columns)
        first = j < self._half
        return (
            np.where(first, i + self._down, j - self._half),
            np.where(first, j, i - self._half + 1 - self._down),
        )

    def at(self, rows: ArrayLike, columns: ArrayLike) -> Vector:
        """Return the entries at places that broadcast with each other."""
        return self._array[self._places(rows, columns)]

    def put(self, row: int, column: int, block: Vector) -> None:
        """Set a block whose first entry has that place, on the diagonal or below it."""
        for j, numbers in enumerate(block.T):
            below = j if row == column else 0
            i = np.arange(row + below, row + len(numbers))
            self._array[self._places(i, column + j)] = numbers[below:]

    def columns(self, first: int, last: int) -> Vector:
        """Return whole columns, (n, last − first)."""
        return self.at(np.arange(self.order)[:, np.newaxis], np.arange(first, last))


def variances_alone(
    fitted: Fitted,
    sums: ScoreSums,
    names: Sequence[str],
    X_depends: Callable[[], str | None],
    factor: float,
) -> Found:
    """Return the variances of a softmax's coefficients; as `covariances.whole_of`, of half a matrix."""
    m, q = len(fitted.kept), fitted.n_terms
    order = m * q
    diagonal = sums.curvature.diagonal + [fitted.penalty_of(k, k) for k in range(m)]
    scale = 1.0 / np.sqrt(np.where(diagonal > MIN_CURVATURE, diagonal, 1.0))
    matrix = PackedMatrix(order)
    for k, other, block in sums.curvature.pairs():
        np.einsum("jj->j", block)[...] += fitted.penalty_of(k, other)
        block *= scale[other][:, np.newaxis] * scale[k]  # the block is symmetric: below the diagonal as above
        matrix.put(other * q, k * q, block)
    # The right sides: a Newton step, and the intercepts of rows as they are.
    slope = (sums.score - fitted.penalty_slope()) * scale
    sides = np.zeros((order, 1 + m), order="F")
    sides[:, 0] = slope.ravel()
    if fitted.to_constant is not None:
        for k in range(m):
            sides[k * q : (k + 1) * q, 1 + k] = fitted.to_constant * scale[k]
    with blas.one_thread():
        _, failed = lapack.dpftrf(order, matrix.flat, transr="N", uplo="L", overwrite_a=True)
    places = np.arange(order)
    pivots = np.square(matrix.at(places, places)[: failed - 1 if failed else order])
    bad = np.flatnonzero(pivots < LEAST_PIVOT)
    if failed or len(bad):
        place = int(bad[0]) if len(bad) else failed - 1
        raise ValueError(X_depends() or singular([f"{names[place]} and others"]))
    with blas.one_thread():
        solved, _ = lapack.dpftrs(order, matrix.flat, sides, transr="N", uplo="L")
        lapack.dpftri(order, matrix.flat, transr="N", uplo="L", overwrite_a=True)
    inverse = matrix.at(places, places)
    distance = float(np.abs(solved[:, 0] / np.sqrt(inverse)).max())
    df = float(order)
    if not fitted.penalty.is_none:
        df -= _penalised(fitted, matrix, scale)
    variances = inverse.copy()
    if sums.products is not None:
        _scale(sums.products, scale.ravel())
        variances = factor * _of_sandwich(matrix, sums.products)
    if fitted.to_constant is not None:
        of_constants = solved[:, 1:]
        others = sides[:, 1:] if sums.products is None else factor * (sums.products @ of_constants)
        variances[::q] = np.einsum("ik,ik->k", of_constants, others) / scale[:, 0] ** 2
    return Found(None, variances.reshape(m, q) * scale**2, df, distance)


def _scale(products: Vector, scale: Vector) -> None:
    """Scale the products of scores as the information is, in place."""
    products *= scale
    products *= scale[:, np.newaxis]


def _of_sandwich(inverse: PackedMatrix, products: Vector) -> Vector:
    """Return the diagonal of A M A."""
    found = np.empty(inverse.order)
    for first in range(0, inverse.order, COLUMNS):
        last = min(first + COLUMNS, inverse.order)
        columns = inverse.columns(first, last)
        found[first:last] = np.einsum("ij,ij->j", columns, products @ columns)
    return found


def _penalised(fitted: Fitted, inverse: PackedMatrix, scale: Vector) -> float:
    """Return tr (H + P)⁻¹ P."""
    m, q = scale.shape
    terms, total = np.arange(q), 0.0
    for k in range(m):
        for other in range(m):
            of_pair = inverse.at(k * q + terms, other * q + terms) * scale[k] * scale[other]
            total += float(of_pair @ fitted.penalty_of(k, other))
    return total
