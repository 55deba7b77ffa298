"""The state of L-BFGS minimisations that one kernel advances together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts.minimisations import (
    CODE,
    CURVATURE,
    EVALUATE,
    L2,
    N_COUNTS,
    N_NUMBERS,
    N_PAIRS,
    PHASE,
    SCALE,
)
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Vector

# Pairs. On problems of 10 to 24,000 parameters 12 of them took as many passes, and 6 up to a tenth more.
MEMORY = 8

EPS = 2.0**-52

_advance = Kernel("fastsoftmax.linalg.jitted.quasi_newton", "advance", divisible=True)


class Minimisations:
    """m minimisations of F = scale · Σ wᵢ ℓᵢ + (l2 / 2) ‖W‖² of one shape, by L-BFGS, in memory taken once.

    The preconditioner is diagonal in the coefficients and intercepts of centred rows. The first step's
    length is the minimum along its direction of a quadratic with the curvature of the loss at zero.

    Parameters
    ----------
    n_together : int
        m.
    n_outputs, n_features : int
        K and d. There always are intercepts here: of a model without them, their sums have to be zero.

    Attributes
    ----------
    counts, numbers : ndarrays (m, N_COUNTS) int64 and (m, N_NUMBERS)
        By the names in `contracts.minimisations`.
    x, grad : ndarrays (m, K (d + 1))
        The points and ∇F there: coefficients (K, d) in C order, then intercepts.
    direction : ndarray (m, K (d + 1))
        Of the present searches.

    Notes
    -----
    19 vectors of float64 each. An advance costs some 100 flops a parameter.
    """

    def __init__(self, n_together: int, n_outputs: int, n_features: int) -> None:
        size = n_outputs * (n_features + 1)
        self.counts = np.zeros((n_together, N_COUNTS), np.int64)
        self.numbers = np.zeros((n_together, N_NUMBERS))
        self.x, self.grad, self.direction = np.zeros((3, n_together, size))
        self._s, self._y = np.zeros((2, n_together, MEMORY, size))
        self._rho = np.zeros((n_together, MEMORY))
        self._mean, self._inverse, self._curvature = np.zeros((3, n_together, n_features))
        self._n_coef = n_outputs * n_features

    def coef(self, i: int) -> Vector:
        """Return the coefficients (K d,) of point i, as a view."""
        return self.x[i, : self._n_coef]

    def intercept(self, i: int) -> Vector:
        """Return the intercepts (K,) of point i, as a view."""
        return self.x[i, self._n_coef :]

    def begin(self, i: int, x: Vector, *, l2: float, scale: float, moments: Vector, curvature: float) -> None:
        """Begin minimisation i at x. Its trial point has to be x, too.

        Parameters
        ----------
        i : int
        x : ndarray (K (d + 1),), or (K d,) where there are no intercepts
        l2, scale : float
        moments : ndarray (2, d)
            The rows' weighted means, and the variances around them.
        curvature : float
            c where ∂²ℓ/∂z² = c I at z = 0.
        """
        self.counts[i], self.numbers[i], self._rho[i] = 0, 0.0, 0.0
        self.numbers[i, [L2, SCALE, CURVATURE]] = l2, scale, curvature
        self.x[i] = 0.0
        self.x[i, : len(x)] = x
        self._precondition_by(i, moments, curvature, l2)

    def _precondition_by(self, i: int, moments: Vector, curvature: float, l2: float) -> None:
        self._mean[i] = moments[0]
        np.multiply(curvature, moments[1], out=self._curvature[i])
        np.divide(1.0, self._curvature[i] + l2, out=self._inverse[i])

    def go_on(self, i: int, l2: float) -> None:
        """Begin minimisation i with another penalty, at the point that it has reached.

        Its trial point has to be that, too. Its pairs become those of the new F: the penalty's part of a
        change of ∇F is l2 times the step.
        """
        change = l2 - self.numbers[i, L2]
        self.counts[i, CODE], self.counts[i, PHASE] = EVALUATE, 0
        self.numbers[i, L2] = l2
        np.divide(1.0, self._curvature[i] + l2, out=self._inverse[i])
        n_coef = self._n_coef
        self._y[i, :, :n_coef] += change * self._s[i, :, :n_coef]
        products = np.einsum("pj,pj->p", self._s[i], self._y[i])
        squares = (np.einsum("pj,pj->p", a[i], a[i]) for a in (self._s, self._y))
        least = EPS * np.sqrt(np.multiply(*squares))
        held = self._rho[i] != 0.0
        if not (products[held] > least[held]).all():  # what is left of a pair's curvature is rounding
            self.counts[i, N_PAIRS] = 0
        np.divide(1.0, products, out=self._rho[i], where=products > 0.0)

    def restore(self, arrays: dict[str, Array], moments: Vector, curvature: float) -> None:
        """Restore the state of one minimisation from its `arrays`."""
        for name, array in self.arrays().items():
            array[:] = arrays[name]
        self._precondition_by(0, moments, curvature, float(self.numbers[0, L2]))

    def advance(self, start: int, stop: int, sums: tuple[Array, ...], trial: tuple[Array, ...]) -> None:
        """Take minimisations start to stop from the sums at their trial points to the next trial points.

        Parameters
        ----------
        start, stop : int
        sums : tuple
            Σ wᵢ ℓᵢ (m,), and its gradient (m, K d) and (m, K), which is overwritten.
        trial : tuple
            Receives the points: coefficients (m, K d) and intercepts (m, K).
        """
        _advance.serial(
            start, stop, 0, self.counts, self.numbers, *sums, *trial, self.x, self.grad, self.direction,
            self._s, self._y, self._rho, self._mean, self._inverse,
        )  # fmt: skip

    def copy(self, source: int, target: int) -> None:
        """Replace minimisation `target` by `source`."""
        for array in (*self.arrays().values(), self._mean, self._inverse, self._curvature):
            array[target] = array[source]

    def arrays(self) -> dict[str, Array]:
        """Return all arrays of the state, by name; they are not copied."""
        names = "counts", "numbers", "x", "grad", "direction", "_s", "_y", "_rho"
        return {name.removeprefix("_"): getattr(self, name) for name in names}
