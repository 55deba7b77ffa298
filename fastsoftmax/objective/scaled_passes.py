"""Passes over a small problem's rows, whose features are centred and scaled: a change of variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector
    from fastsoftmax.kernels.cpu.direct import Passes


class ScaledPasses:
    """The passes of `kernels.cpu.direct.Passes` over rows (x − mean) / scale, for m parameters by m of both.

    `sources.scaled` does the same for queries.

    Parameters
    ----------
    passes : Passes
        Over the rows as they are.
    features : ndarray (m, 2, d), float64
        1 / scale and the mean; zeros of that centre nothing.

    Attributes
    ----------
    coef, intercept, values, coef_sums, intercept_sums, weights, block, loss
        As those of `Passes`.
    features : ndarray (m, 2, d)
        To be written to.
    """

    def __init__(self, passes: Passes, features: Vector) -> None:
        self._passes = passes
        self.loss: Any = passes.loss
        self.block, self.weights, self.values = passes.block, passes.weights, passes.values
        self.coef, self.coef_sums = np.zeros((2, *passes.coef.shape))
        self.intercept, self.intercept_sums = np.zeros((2, *passes.intercept.shape))
        self.features = features

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
        """Leave the diagonal of the Hessian of Σ wᵢ ℓᵢ at parameters i in place of the sums. One pass.

        Of centred features it is estimated, by the variance 1.
        """
        self._give(slice(i, i + 1))
        self._passes.diagonal(i)
        factor, mean = self.features[i]
        self.intercept_sums[i] = self._passes.intercept_sums[i]
        coef = self._passes.coef_sums[i].reshape(-1, len(factor)) * factor**2
        coef[:, mean != 0.0] = self.intercept_sums[i][:, np.newaxis]
        self.coef_sums[i] = coef.ravel()

    def moments(self, fit_intercept: bool, i: int = 0) -> Vector:
        """Return (2, d): the means of the columns by weights i, and their variances around those.

        0 and 1 of centred ones: the rows' sums would tell their variance to some digits less.
        """
        found = self._passes.moments(fit_intercept, i)
        factor, mean = self.features[i]
        found *= factor, factor**2
        found[0, mean != 0.0], found[1, mean != 0.0] = 0.0, 1.0
        return found

    def _give(self, sets: slice) -> None:
        """Write the parameters for the rows as they are."""
        inner, (factor, mean) = self._passes, self._of(sets)
        coef = self._by_class(inner.coef, sets)
        np.multiply(self._by_class(self.coef, sets), factor, coef)
        inner.intercept[sets] = self.intercept[sets] - np.einsum("mkd,mod->mk", coef, mean)

    def _take(self, sets: slice) -> None:
        """Write the sums for the scaled rows."""
        inner, (factor, mean) = self._passes, self._of(sets)
        self.intercept_sums[sets] = inner.intercept_sums[sets]
        coef = self._by_class(self.coef_sums, sets)
        np.multiply(self.intercept_sums[sets][:, :, np.newaxis], -mean, coef)
        coef += self._by_class(inner.coef_sums, sets)
        coef *= factor

    def _of(self, sets: slice) -> tuple[Vector, Vector]:
        """Return 1 / scale and the mean, each (m, 1, d)."""
        part = self.features[sets]
        return part[:, :1], part[:, 1:]

    def _by_class(self, flat: Vector, sets: slice) -> Vector:
        """Return a view (m, K, d) of coefficients (m, K d)."""
        part = flat[sets]
        return part.reshape(len(part), -1, self.features.shape[2])
