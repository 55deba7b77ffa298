"""The Kronecker preconditioner: one Gram matrix for all classes, scaled for each; for too many blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.linalg.cholesky import NOT_FINITE
from fastsoftmax.preconditioners.projection import FLOOR, is_lost
from fastsoftmax.runtime import blas

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Params, Vector
    from fastsoftmax.preconditioners.projection import Inverse

EPS = float(np.finfo(np.float64).eps)


class Spectrum(NamedTuple):
    """The rows' covariance Σ wᵢ (xᵢ − m)(xᵢ − m)ᵀ / Σ wᵢ = U diag(λ) Uᵀ.

    `axes` is U (d, d), `values` λ (d,) in ascending order, `mean` m (d,).
    """

    axes: Vector
    values: Vector
    mean: Vector


def spectrum(moments: Array, weight: float, fit_intercept: bool) -> Spectrum:
    """Return the spectrum of the rows around their weighted mean, or around zero without an intercept.

    Parameters
    ----------
    moments : ndarray (d + 1, d + 1)
        Σ wᵢ x̃ᵢ x̃ᵢᵀ of rows with a one appended; the lower triangle is read.
    weight : float
        Σ wᵢ.
    fit_intercept : bool

    Raises
    ------
    FloatingPointError
        If the moments are not finite.

    Notes
    -----
    About 10 d³ flops. Eigenvalues below the rounding error, of collinear columns, are raised to it.
    """
    if not np.isfinite(moments).all():
        raise FloatingPointError(NOT_FINITE)
    matrix = moments[:-1, :-1] / weight
    mean = moments[-1, :-1] / weight if fit_intercept else np.zeros(len(matrix))
    floor = len(matrix) * EPS * matrix.diagonal().max(initial=0.0)  # the rounding error of subtracting m mᵀ
    matrix -= np.outer(mean, mean)
    with blas.one_thread():  # results depend on the number of threads
        values, axes = blas.away(np.linalg.eigh, matrix)  # SciPy's eigh would hold the GIL
    return Spectrum(axes, np.maximum(values, floor), mean)


def inverse(rows: Spectrum, curvatures: Vector, l2: float, fit_intercept: bool) -> Inverse:
    """Return v ↦ blockdiag(Hₖ)⁻¹ v, in place, with Hₖ = qₖ Σ wᵢ x̃ᵢ x̃ᵢᵀ / Σ wᵢ + l2 · I.

    Parameters
    ----------
    rows : Spectrum
    curvatures : ndarray (K,)
        q: the weighted means of ∂²ℓ/∂z_k² over rows, used for every row.
    l2 : float
    fit_intercept : bool

    Notes
    -----
    With g and h the parts of v for coefficients and intercept, the result is c = U (qₖ λ + l2)⁻¹ Uᵀ (g − h m)
    and h / qₖ − m·c: eliminating the intercept centres the rows. 4 K d² flops to apply.
    """
    q = np.maximum(curvatures, EPS * curvatures.max(initial=0.0))
    q[q == 0.0] = 1.0
    denominators = q[:, np.newaxis] * rows.values + l2
    if is_lost(l2, float(denominators.max())):
        denominators = np.maximum(denominators, FLOOR * denominators.max())
    denominators[denominators == 0.0] = 1.0

    def apply(vector: Params) -> None:
        coef, intercept = vector
        with blas.one_thread():
            rotated = (coef - np.outer(intercept, rows.mean) if fit_intercept else coef) @ rows.axes
            rotated /= denominators
            np.matmul(rotated, rows.axes.T, out=coef)
            if fit_intercept:
                intercept /= q
                intercept -= coef @ rows.mean

    return apply
