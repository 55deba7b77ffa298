"""Absolute values of single parameters, for a solver that works on some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector


class Separable(NamedTuple):
    """The function Σ t |x| of m parameters, with what a solver asks of an objective's absolute values.

    Parameters
    ----------
    thresholds : ndarray (m,)
        t, zero for a free parameter.
    sums : ndarray (r, K), int
        Sets of parameters along whose sum the smooth part is flat, if all of them are free.
    """

    thresholds: Vector
    sums: NDArray[np.intp]

    @property
    def bends(self) -> bool:
        """False: it has no curvature."""
        return False

    def steps(self, diagonal: Vector) -> Vector:
        """Return the step lengths 1 / diagonal for `prox`."""
        floor = 1e-12 * diagonal.max(initial=0.0) or 1.0
        return np.asarray(1.0 / np.maximum(diagonal, floor))

    def prox(self, x: Vector, steps: Vector) -> Vector:
        """Return the proximal map, scaled by `steps`, at x."""
        return np.asarray(np.sign(x) * np.maximum(np.abs(x) - steps * self.thresholds, 0.0))

    def of_absolutes(self, x: Vector) -> float:
        """Return Σ t |x|."""
        return float(self.thresholds @ np.abs(x))

    def least_subgradient(self, x: Vector, grad: Vector) -> Vector:
        """Return the shortest subgradient at x, from the gradient of the smooth part."""
        at_zero = np.sign(grad) * np.maximum(np.abs(grad) - self.thresholds, 0.0)
        return np.where(x != 0.0, grad + self.thresholds * np.sign(x), at_zero)

    def is_free(self, x: Vector) -> NDArray[np.bool_]:
        """Return which parameters are not at a kink."""
        return np.asarray((x != 0.0) | (self.thresholds == 0.0))

    def flat_sums(self, free: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return the sets of `sums` that are free."""
        return self.sums[free[self.sums].all(axis=1)]

    def without_crossings(self, x: Vector, before: Vector) -> Vector:
        """Return x with zero where the sign is not that of `before`."""
        return np.where((x * before > 0.0) | (self.thresholds == 0.0), x, 0.0)

    def first_crossing(self, x: Vector, step: Vector) -> float:
        """Return the least part of a step at which a parameter becomes zero; inf if none does."""
        crosses = (x * step < 0.0) & (self.thresholds > 0.0)
        ratio = np.abs(x[crosses] / step[crosses])
        return float(ratio.min(initial=np.inf)) * (1.0 + 1e-12)

    def bend(self, x: Vector, direction: Vector) -> Vector:
        """Return zeros: there is no curvature."""
        return np.zeros_like(direction)
