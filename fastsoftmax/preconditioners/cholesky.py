"""Cholesky factors of matrices that rounding may have left short of positive definite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROWTH = 100.0  # of the shift, each time it was too small
MOST_SHIFTS = 12
LEAST = 1e-200  # less curvature is none; 1 / √LEAST squared is still far from overflow


class Factor(NamedTuple):
    """S A S = L Lᵀ, with S = diag(scale) bringing the diagonal to one."""

    lower: NDArray[Any]
    scale: NDArray[np.float64]

    def solve(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return A⁻¹ b."""
        scaled = (self.scale * b).astype(self.lower.dtype, copy=False)
        solution: NDArray[Any] = scipy.linalg.cho_solve((self.lower, True), scaled, check_finite=False)
        return self.scale * solution


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
    diagonal = matrix.diagonal()
    if not np.isfinite(diagonal).all():
        raise FloatingPointError("the Hessian is not finite; X or the parameters are too large")
    scale = 1.0 / np.sqrt(np.where(diagonal > LEAST, diagonal, 1.0))
    matrix *= scale
    matrix *= scale[:, np.newaxis]
    places = np.diag_indices_from(matrix)
    for _ in range(MOST_SHIFTS):
        matrix[places] = 1.0 + shift
        try:
            lower = scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            shift *= GROWTH
        else:
            return Factor(lower.astype(dtype, copy=False), scale)
    raise FloatingPointError("the Hessian is not finite; X or the parameters are too large")
