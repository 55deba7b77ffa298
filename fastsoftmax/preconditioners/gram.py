"""One Gram matrix for all classes, and a scale for each: where there are too many for blocks of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.kernels import blas
from fastsoftmax.preconditioners.projection import NOT_FINITE, ROOM, is_lost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Params
    from fastsoftmax.preconditioners.projection import Inverse

EPS = float(np.finfo(np.float64).eps)


class Spectrum(NamedTuple):
    """Σ wᵢ (xᵢ − m)(xᵢ − m)ᵀ / Σ wᵢ = U diag(λ) Uᵀ: `axes` U (d, d), `values` λ (d,), `mean` m (d,)."""

    axes: NDArray[np.float64]
    values: NDArray[np.float64]
    mean: NDArray[np.float64]


def spectrum(moments: NDArray[Any], weight: float, fit_intercept: bool) -> Spectrum:
    """Return the axes of the rows, around their mean where there is an intercept; around zero otherwise.

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
    Some 10 d³ flops. Of rows that depend on one another λ is rounding; it is raised to what that may be.
    """
    if not np.isfinite(moments).all():
        raise FloatingPointError(NOT_FINITE)
    matrix = moments[:-1, :-1] / weight
    mean = moments[-1, :-1] / weight if fit_intercept else np.zeros(len(matrix))
    lost = len(matrix) * EPS * matrix.diagonal().max(initial=0.0)  # by the subtraction of m mᵀ
    matrix -= np.outer(mean, mean)
    with blas.one_thread():  # the bits depend on their number
        values, axes = blas.away(np.linalg.eigh, matrix)  # SciPy's would keep the GIL
    return Spectrum(axes, np.maximum(values, lost), mean)


def inverse(rows: Spectrum, curvatures: NDArray[np.float64], l2: float, fit_intercept: bool) -> Inverse:
    """Return v ↦ blockdiag(Hₖ)⁻¹ v, in place, with Hₖ = qₖ Σ wᵢ x̃ᵢ x̃ᵢᵀ / Σ wᵢ + l2 · I.

    Parameters
    ----------
    rows : Spectrum
    curvatures : ndarray (K,)
        q: the weighted means of ∂²ℓ/∂z_k², in the place of each row's own.
    l2 : float
    fit_intercept : bool

    Notes
    -----
    With g and h the parts of v for coefficients and intercept, c = U (qₖ λ + l2)⁻¹ Uᵀ (g − h m) and
    h / qₖ − m·c: Hₖ with the intercept eliminated, which takes the rows to their mean. An application costs
    4 K d² flops.
    """
    q = np.maximum(curvatures, EPS * curvatures.max(initial=0.0))
    q[q == 0.0] = 1.0
    denominators = q[:, np.newaxis] * rows.values + l2
    if is_lost(l2, float(denominators.max())):
        denominators = np.maximum(denominators, ROOM * denominators.max())
    denominators[denominators == 0.0] = 1.0

    def apply(vector: Params) -> None:
        coef, intercept = vector
        with blas.one_thread():
            along = (coef - np.outer(intercept, rows.mean) if fit_intercept else coef) @ rows.axes
            along /= denominators
            np.matmul(along, rows.axes.T, out=coef)
            if fit_intercept:
                intercept /= q
                intercept -= coef @ rows.mean

    return apply
