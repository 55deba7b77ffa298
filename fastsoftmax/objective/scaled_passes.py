"""Passes over a small problem's rows, whose features are divided by a scale each: a change of variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector
    from fastsoftmax.kernels.cpu.direct import Passes


class ScaledPasses:
    """The passes of `kernels.cpu.direct.Passes` over scaled rows, for each of m parameters by its own scales.

    Parameters
    ----------
    passes : Passes
        Over the rows as they are.
    scale : ndarray (m, d), float64
        Positive.

    Attributes
    ----------
    coef, intercept, values, coef_sums, intercept_sums, weights, block, loss
        As those of `Passes`.
    factor : ndarray (m, d)
        1 / scale, to be written to.
    """

    def __init__(self, passes: Passes, scale: Vector) -> None:
        self._passes = passes
        self.loss: Any = passes.loss
        self.block, self.weights = passes.block, passes.weights
        self.intercept, self.intercept_sums = passes.intercept, passes.intercept_sums
        self.values = passes.values
        self.coef, self.coef_sums = np.zeros((2, *passes.coef.shape))
        self.factor: Vector = 1.0 / scale

    def evaluate(self, n_sets: int) -> None:
        """Compute the sums at the first `n_sets` parameters. One pass over X."""
        sets = slice(0, n_sets)
        self._give(sets)
        self._passes.evaluate(n_sets)
        self._take(sets)

    def logits(self, i: int) -> Vector:
        """Return the logits (n, K) at parameters i. Half a pass."""
        self._give(slice(i, i + 1))
        return self._passes.logits(i)

    def square(self, i: int) -> float:
        """Return Σ wᵢ ‖zᵢ‖² of the logits at parameters i. Half a pass."""
        self._give(slice(i, i + 1))
        return self._passes.square(i)

    def dual(self, i: int, total: float, mean_target: Vector) -> float:
        """Return the dual value near parameters i, in nats; sums of residuals take the place of the sums."""
        self._give(slice(i, i + 1))
        value = self._passes.dual(i, total, mean_target)
        self._take(slice(i, i + 1))
        return value

    def diagonal(self, i: int) -> None:
        """Leave the diagonal of the Hessian of Σ wᵢ ℓᵢ at parameters i in place of the sums. One pass."""
        self._give(slice(i, i + 1))
        self._passes.diagonal(i)
        self._take(slice(i, i + 1), power=2)

    def moments(self, fit_intercept: bool, i: int = 0) -> Vector:
        """Return (2, d): the means of the columns by weights i, and their variances around those."""
        found = self._passes.moments(fit_intercept, i)
        found[0] *= self.factor[i]
        found[1] *= self.factor[i] ** 2
        return found

    def _give(self, sets: slice) -> None:
        """Write the coefficients for the rows as they are."""
        np.multiply(
            self._by_class(self.coef, sets), self._factors(sets), self._by_class(self._passes.coef, sets)
        )

    def _take(self, sets: slice, power: int = 1) -> None:
        """Write the sums by feature for the scaled rows."""
        sums = self._by_class(self._passes.coef_sums, sets)
        np.multiply(sums, self._factors(sets) ** power, self._by_class(self.coef_sums, sets))

    def _factors(self, sets: slice) -> Vector:
        return self.factor[sets, np.newaxis]

    def _by_class(self, flat: Vector, sets: slice) -> Vector:
        """Return a view (m, K, d) of coefficients (m, K d)."""
        part = flat[sets]
        return part.reshape(len(part), -1, self.factor.shape[1])
