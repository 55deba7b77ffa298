"""Cholesky factors of matrices that rounding may have made slightly indefinite."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType, Vector

_solve = Kernel("fastsoftmax.linalg.jitted.cholesky", "solve", divisible=True)

GROWTH = 100.0  # factor of the shift after each failure: a smaller one would factorise more often
MAX_SHIFTS = (
    12  # 100¹² times the first shift, of the order of eps, exceeds any unit-diagonal matrix of finite size
)
NOT_FINITE = "the Hessian is not finite; X or the parameters are too large"
# Below it a column has no curvature. Products of two scales, 1 / this, do not overflow, and columns of 1e-140
# keep theirs.
MIN_CURVATURE = 1e-290


class Factor(NamedTuple):
    """S A S = L Lᵀ, with S = diag(scale) bringing the diagonal to one; L (D, D) is C-ordered."""

    lower: Array
    scale: Vector


def solve(lowers: Array, scales: Vector, vectors: Vector, n_threads: int | None) -> None:
    """Solve m systems in place, by their Cholesky factors.

    Parameters
    ----------
    lowers : ndarray (m, D, D), or (1, D, D), one for all systems; float32 or float64, C-ordered
    scales : ndarray (m, D), or (1, D)
        Of each `Factor`.
    vectors : ndarray (m, D)
        Right-hand sides, overwritten by the solutions.
    n_threads : int or None

    Notes
    -----
    2 m D² flops; substitution runs in the dtype of `lowers`.
    """
    m = len(vectors)
    work = 0.3 * lowers[0].size * m
    run(_solve, even_bounds(m, m), lowers, scales, vectors, work=work, n_threads=n_threads)


def unit_scale(matrix: Vector) -> Vector:
    """Return the scale S (D,) for which S A S has a unit diagonal; 1 for a column without curvature.

    Raises FloatingPointError if the diagonal holds NaN or infinity.
    """
    diagonal = matrix.diagonal()
    if not np.isfinite(diagonal).all():
        raise FloatingPointError(NOT_FINITE)
    return np.asarray(1.0 / np.sqrt(np.where(diagonal > MIN_CURVATURE, diagonal, 1.0)))


def factor(matrix: Vector, shift: float, dtype: DType | type = np.float64) -> Factor:
    """Return the Cholesky factor of a symmetric matrix, after scaling it to a unit diagonal.

    Parameters
    ----------
    matrix : ndarray (D, D), float64
        The lower triangle is read; overwritten.
    shift : float
        Added to the unit diagonal: about the matrix's relative error. It grows until the factorisation
        succeeds.
    dtype : {float32, float64}
        Of the factor.

    Raises
    ------
    FloatingPointError
        If the matrix holds NaN or infinity.

    Notes
    -----
    D³ / 3 flops. Scaling first makes the effect of the shift independent of the units of the columns. A
    column without curvature gets a one on the diagonal.
    """
    scale = unit_scale(matrix)
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    diagonal = np.diag_indices_from(matrix)
    for _ in range(MAX_SHIFTS):
        matrix[diagonal] = 1.0 + shift
        with blas.one_thread():  # idle BLAS threads would spin on the cores that ours need
            lower, failed = lapack.dpotrf(matrix, lower=True)
        if not failed:
            return Factor(np.ascontiguousarray(lower, dtype), scale)
        shift *= GROWTH
    raise FloatingPointError(NOT_FINITE)
