"""Cholesky factors of matrices that rounding may have left short of positive definite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastsoftmax.kernels import blas
from fastsoftmax.kernels.executor import even_bounds, kernel, run
from fastsoftmax.preconditioners.projection import NOT_FINITE

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROWTH = 100.0  # of the shift, each time it was too small
MOST_SHIFTS = 12
LEAST = 1e-200  # less curvature is none; 1 / √LEAST squared is still far from overflow


class Factor(NamedTuple):
    """S A S = L Lᵀ, with S = diag(scale) bringing the diagonal to one; L (D, D) is C-ordered."""

    lower: NDArray[Any]
    scale: NDArray[np.float64]


@kernel(fastmath={"reassoc", "contract"})
def _solve(start, stop, _, lowers, scales, vectors):
    """Solve systems start to stop: vectors (m, D) become S L⁻ᵀ L⁻¹ S vectors, of one factor or m."""
    size = vectors.shape[1]
    u = np.empty(size, lowers.dtype)
    for v in range(start, stop):
        m = min(v, len(lowers) - 1)
        for i in range(size):
            u[i] = scales[m, i] * vectors[v, i]
        # Forward and back, L goes by row by row as it lies.
        for i in range(size):
            row = lowers[m, i, :i]
            known = u[:i]
            total = u[i]
            for j in range(len(row)):
                total -= row[j] * known[j]
            u[i] = total / lowers[m, i, i]
        for i in range(size - 1, -1, -1):
            row = lowers[m, i, :i]
            others = u[:i]
            found = u[i] / lowers[m, i, i]
            u[i] = found
            for j in range(len(row)):
                others[j] -= row[j] * found
        for i in range(size):
            vectors[v, i] = scales[m, i] * u[i]


def solve(
    lowers: NDArray[Any], scales: NDArray[np.float64], vectors: NDArray[np.float64], n_threads: int | None
) -> None:
    """Solve m systems in place: vectors (m, D); `lowers` (m, D, D) and `scales` (m, D) of their factors.

    One factor, (1, D, D), serves them all.
    """
    m = len(vectors)
    work = 0.3 * lowers[0].size * m
    run(_solve, even_bounds(m, m), lowers, scales, vectors, work=work, n_threads=n_threads)


def unit_scale(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what brings the diagonal to one, and leaves a column without curvature as it is.

    Raises FloatingPointError if the diagonal holds NaN or infinity.
    """
    diagonal = matrix.diagonal()
    if not np.isfinite(diagonal).all():
        raise FloatingPointError(NOT_FINITE)
    return np.asarray(1.0 / np.sqrt(np.where(diagonal > LEAST, diagonal, 1.0)))


def factor(matrix: NDArray[np.float64], shift: float, dtype: Any = np.float64) -> Factor:
    """Return the factor of a symmetric matrix, of which the lower triangle is read.

    Parameters
    ----------
    matrix : ndarray (D, D), float64
        Is written over.
    shift : float
        Added to the diagonal once that has been brought to one: as large as the matrix's relative error. It
        grows where it turns out to be too small.
    dtype : {float32, float64}
        What the factor is kept in.

    Raises
    ------
    FloatingPointError
        If the matrix holds NaN or infinity.

    Notes
    -----
    D³ / 3 flops. Columns of very different units are brought to one scale first, so that what the shift
    drowns does not depend on them. A column without curvature gets a one.
    """
    scale = unit_scale(matrix)
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    places = np.diag_indices_from(matrix)
    for _ in range(MOST_SHIFTS):
        matrix[places] = 1.0 + shift
        with blas.one_thread():  # its others would wait for work where ours want to run
            lower, failed = lapack.dpotrf(matrix, lower=True)
        if not failed:
            return Factor(np.ascontiguousarray(lower, dtype), scale)
        shift *= GROWTH
    raise FloatingPointError(NOT_FINITE)
