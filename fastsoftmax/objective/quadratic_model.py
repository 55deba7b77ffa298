"""A quadratic function as a model of an objective of one logit: a Hessian of (d + 1)² numbers, factorised."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.linalg.cholesky import factor, solve

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import DType, Vector

SHIFT = 16.0  # of a matrix of unit diagonal, in units in the last place of the products


class QuadraticModel:
    """xᵀ H x / 2, whose Hessian H is that of an objective near a point.

    Parameters
    ----------
    matrix : ndarray (D, D), float64
        H, lower triangle; overwritten.
    dtype : dtype
        Of the products that it was summed by.
    n_threads : int or None
    recipe : ndarray (m, D)
        What `FewReadings.model_at` makes the same model from.

    Notes
    -----
    Three matrices while it is made, then one factor, in float64: next to the minimum a step is the difference
    of products with points 10⁶ times as long. 2 D² flops for a product and for a solution. Products are those
    of the factor, so that they agree with solutions.
    """

    def __init__(self, matrix: Vector, dtype: DType, n_threads: int | None, recipe: Vector) -> None:
        self.recipe = recipe
        shift = float(np.finfo(dtype).eps) * SHIFT
        self._lower, self._scale = factor(matrix, shift)
        self._n_threads = n_threads

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return its value and gradient."""
        grad = self._product(x)
        return 0.5 * float(x @ grad), grad

    def hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ H v."""
        return self._product

    def inverse(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ H⁻¹ v."""
        return self._solution

    def end(self, x: Vector, grad: Vector, steps: list[Vector]) -> Vector:
        """Return the first of the steps: it is straight."""
        return steps[0]

    def solved(self, x: Vector, target: Vector, inverse: Callable[[Vector], Vector]) -> Vector:
        """Return the point where its gradient is `target`."""
        rest: Vector = target - self._product(x)
        return x + self._solution(rest)

    def _product(self, vector: Vector) -> Vector:
        product: Vector = (self._lower @ (self._lower.T @ (vector / self._scale))) / self._scale
        return product

    def _solution(self, vector: Vector) -> Vector:
        out: Vector = np.array(vector, np.float64)
        solve(self._lower[np.newaxis], self._scale[np.newaxis], out[np.newaxis], self._n_threads)
        return out
