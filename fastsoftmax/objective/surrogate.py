"""A sample of the rows as a model of all of them: gradients, products and inverses that cost no reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.objective.conjugate_gradients import conjugate_gradients, scaled, with_diagonal

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Vector
    from fastsoftmax.objective.source_objective import SourceObjective

# The accuracy of a product with the inverse of the sample's Hessian, and the most steps for it. The sample's
# Hessian is that of all rows to some per cent: more digits gain nothing (docs/decisions.md). They may take as
# long as so many readings of rows that cost no more than to compute on.
CG_TOL, CG_STEPS, MIN_CG_STEPS = 1e-2, 60, 8
CG_READINGS = 4.0
# Newton's steps of `solved`, and the part of a step's decrement at which it ends: the sample is no better.
NEWTON_STEPS, SOLVED, ROUGH = 4, 1e-2, 0.1
HALVINGS = 10
# Of the second derivative in an intercept, which is at most 1/4: below it, no row is undecided.
FLAT = 1e-10
TINY = float(np.finfo(np.float64).tiny)
# A step of another kind, or shorter, is taken in place of the first if other rows predict so much more of it.
MORE = 1.1
SHORTEST = 1e-3


class Surrogate:
    """The objective of a sample of the rows.

    Parameters
    ----------
    sampled : SourceObjective
        Of rows in memory.
    inner : callable
        The preconditioner of conjugate gradients.
    n_rows : int
        The number of all rows, to which the work is proportioned.
    lacking : callable, optional
        x ↦ what the diagonal of the sample's Hessian lacks of that of all rows, or None.
    recipe : ndarray (m, size)
        What `FewReadings.model_at` makes the same model from.
    others : SourceObjective, optional
        The same of rows that are sampled independently: what fits the sample only is not taken for a step.
    """

    def __init__(
        self,
        sampled: SourceObjective,
        inner: Callable[[Vector], Vector],
        n_rows: int,
        lacking: Callable[[Vector], Vector | None],
        recipe: Vector,
        others: SourceObjective | None = None,
    ) -> None:
        self.recipe = recipe
        self._exact = sampled.in_float64() or sampled
        self._sampled, self._others, self._inner, self._lacking = sampled, others, inner, lacking
        ratio = n_rows / max(1, sampled._rows.spec.n_rows)
        self._max_steps = int(min(CG_STEPS, max(MIN_CG_STEPS, CG_READINGS * ratio)))

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return the sample's F and ∇F, by float64 products.

        They are subtracted from those at another point: next to the minimum a step changes them by less than
        float32 products round.
        """
        return self._exact.value_and_grad(x)

    def hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ ∇²F(x) v of the sample."""
        return self._sampled.hessian(x)

    def inverse(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ (∇²F(x))⁻¹ v of the sample, by conjugate gradients, to `CG_TOL`.

        Features that are rarer in the sample than in all rows are given the diagonal that they lack: with
        none at all their steps would be as long as the penalty allows.
        """
        return self._inverse(x, CG_TOL, self._max_steps, self._others)

    def _inverse(
        self, x: Vector, tol: float, max_steps: int, others: SourceObjective | None
    ) -> Callable[[Vector], Vector]:
        inner, product = self._inner, self._sampled.hessian(x)
        lacking, diagonal = self._lacking(x), self._sampled.diagonal(x)
        intercepts = self._sampled._layout.split(diagonal).intercept
        if self._sampled.fit_intercept and intercepts.min() < FLAT:
            # the sample is certain of a class: its intercept may be anything there
            flat = np.zeros(len(diagonal))
            self._sampled._layout.split(flat).intercept[:] = np.where(intercepts < FLAT, FLAT, 0.0)
            lacking = flat if lacking is None else lacking + flat
        if lacking is not None:
            diagonal = np.maximum(diagonal, TINY)
            inner = scaled(inner, np.sqrt(diagonal / (diagonal + lacking)))
            product = with_diagonal(product, lacking)
        algebra, other = self._sampled.algebra, None if others is None else others.hessian(x)

        def apply(vector: Vector) -> Vector:
            return conjugate_gradients(product, inner, vector, max_steps, tol, algebra, other)

        return apply

    def end(self, x: Vector, grad: Vector, steps: list[Vector]) -> Vector:
        """Return the step from x, of these or shorter ones, that other rows predict the most of.

        What rows predict of a step s is F(x + s) − F(x) + (∇F − ∇F(x))ᵀ s with their F, for the gradient ∇F
        of all rows, `grad`: here the mean over this sample, whose rows weigh most, and the others, which have
        not made the steps. The first step is preferred, unless another is better by a tenth.
        """
        both = [self._sampled] if self._others is None else [self._sampled, self._others]
        algebra = self._sampled.algebra
        value, correction = 0.0, np.zeros_like(x)
        for each in both:
            its_value, its_grad = each.value_and_grad(x)
            value += its_value
            correction = algebra.moved(algebra.moved(correction, grad, 1.0), its_grad, -1.0)
        best, least = steps[0], np.inf
        for step in steps:
            slope, length, last = algebra.dot(correction, step), 1.0, np.inf
            while length > SHORTEST:
                trial = algebra.moved(x, step, length)
                change = sum(each.value_and_grad(trial)[0] for each in both) - value + length * slope
                if change < 0.0 and change < (least if least == np.inf else MORE * least):
                    best, least = length * step, change
                if change >= (0.0 if last == np.inf else last):
                    if last < np.inf:
                        break
                else:
                    last = change
                length *= 0.5
        return best

    def solved(self, x: Vector, target: Vector, inverse: Callable[[Vector], Vector]) -> Vector:
        """Return a point where the sample's gradient is about `target`: by Newton's steps from x.

        `inverse` is that of the Hessian at x, or another that serves for the first step.
        """
        algebra = self._sampled.algebra

        def tilted(z: Vector) -> tuple[float, Vector]:
            value, grad = self.value_and_grad(z)
            return value - algebra.dot(target, z), algebra.moved(grad, target, -1.0)

        value, grad = tilted(x)
        first = None
        for _ in range(NEWTON_STEPS):
            step = inverse(grad)
            slope = -algebra.dot(grad, step)
            first = slope if first is None else first
            if slope >= SOLVED**2 * first or slope >= 0.0:
                break
            length = 1.0
            for _ in range(HALVINGS):
                z = algebra.moved(x, step, -length)
                its_value, its_grad = tilted(z)
                if its_value <= value + 1e-4 * length * slope:
                    break
                length *= 0.5
            else:
                break
            x, value, grad = z, its_value, its_grad
            inverse = self._inverse(x, ROUGH, self._max_steps // 2, None)
        return x
