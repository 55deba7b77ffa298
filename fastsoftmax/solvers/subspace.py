"""Descent of a smooth function plus absolute values: proximal steps, and Newton steps of what is not zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from scipy.linalg import lapack

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.proximal import Absolutes, ProximalObjective

SUFFICIENT_DECREASE = 1e-4  # Armijo's condition, at its usual value
MAX_HALVINGS = 12  # of a Newton step that is bent where signs change; then a proximal step is all there is
BENT_TRIES = 3  # steps across changes of sign, before the step ends at the first of them
MAX_GROWTH = 40  # of the factor of the proximal step's curvature: doublings
# A proximal step is left out while what it could gain beyond the support is a small part of all.
OUTSIDE = 0.25
RIDGE = 1e-9  # of the diagonal: along equal columns, and what all classes have in common, the model is flat
MAX_CG = 100
MODEL_FORCING = 1e-6  # of conjugate gradients on a model, which read no rows
# The change of a function that is taken for its rounding: the subgradient then tells what a step is worth.
ROUNDED = 16.0 * float(np.finfo(np.float64).eps)


class Reached(NamedTuple):
    """A point: x, the function with its absolute values, and the gradient of its smooth part."""

    x: Vector
    value: float
    grad: Vector


class Smooth(Protocol):
    """A function to lower: its value and smooth gradient, and Newton directions of some parameters."""

    @property
    def is_exact(self) -> bool:
        """Whether a whole Newton step ends at the minimum of those parameters."""

    def at(self, x: Vector) -> Reached:
        """Return the point at x."""

    def newton(self, point: Reached, free: NDArray[np.bool_], residual: Vector, forcing: float) -> Vector:
        """Return s with (Hessian s)_free ≈ residual_free, zero elsewhere."""


class Quadratic:
    """The model of F around a point x: g · s + ½ sᵀ H s, with the absolute values at x + s.

    Parameters
    ----------
    shape : Objective or Separable
        What there is to know of the absolute values.
    point : Reached
    matrix : ndarray (m, m)
        H. Not changed.
    """

    def __init__(self, shape: Absolutes, point: Reached, matrix: Vector) -> None:
        self._objective, self._base, self._matrix = shape, point, matrix
        self._absolutes = shape.of_absolutes(point.x)
        self.is_exact = not shape.bends

    def at(self, x: Vector) -> Reached:
        """Return the point of the model at x."""
        step = x - self._base.x
        product = self._matrix @ step
        value = self._base.value + float(self._base.grad @ step) + 0.5 * float(step @ product)
        value += self._objective.of_absolutes(x) - self._absolutes
        return Reached(x, value, self._base.grad + product)

    def newton(self, point: Reached, free: NDArray[np.bool_], residual: Vector, forcing: float) -> Vector:
        """Return the Newton direction by a Cholesky factor."""
        matrix, sums = self._matrix, self._objective.flat_sums(free)
        diagonal = matrix.diagonal()
        if self._objective.bends:

            def product(v: Vector) -> Vector:
                return np.asarray(matrix @ v + self._objective.bend(point.x, v))

            return conjugate_gradients(product, diagonal, free, residual, MODEL_FORCING, sums)
        places = np.flatnonzero(free)
        part = matrix.take(places, axis=0).take(places, axis=1)
        number = np.cumsum(free) - 1
        for among in number[sums]:
            part[np.ix_(among, among)] += part[among, among].mean() / len(among)
        step = np.zeros_like(residual)
        step[places] = solved(part, residual[places])
        return step


class Direct:
    """F itself, as its objective has it: Newton directions by conjugate gradients, a pass each.

    `diagonal` is that of the Hessian somewhere near.
    """

    def __init__(self, objective: ProximalObjective, diagonal: Vector) -> None:
        self._objective, self.diagonal = objective, diagonal
        self.is_exact = False

    def at(self, x: Vector) -> Reached:
        """Return the point at x. One pass."""
        return Reached(x, *self._objective.value_and_grad(x))

    def newton(self, point: Reached, free: NDArray[np.bool_], residual: Vector, forcing: float) -> Vector:
        """Return the Newton direction to a relative residual of `forcing`."""
        multiply = self._objective.hessian(point.x)
        bends = self._objective.bends

        def product(v: Vector) -> Vector:
            out: Vector = multiply(v)
            return out + self._objective.bend(point.x, v) if bends else out

        sums = self._objective.flat_sums(free)
        return conjugate_gradients(product, self.diagonal, free, residual, forcing, sums)


def descend(
    function: Smooth, shape: Absolutes, point: Reached, diagonal: Vector, goal: float, max_steps: int
) -> tuple[Reached, float]:
    """Return a point from which little is to be gained, and the last step's decrease: inf if more were due.

    Parameters
    ----------
    function : Smooth
    shape : Objective or Separable
        What there is to know of the absolute values.
    point : Reached
        Where to start.
    diagonal : ndarray (m,)
        Of the Hessian: the metric of proximal steps.
    goal : float
        End when a whole Newton step lowers the function by less, and the diagonal metric promises no more.
    max_steps : int

    Notes
    -----
    A step is a proximal one in the diagonal metric, which finds the support, and a Newton step of the
    parameters that are then not zero [1]_: a coefficient that changes its sign on the way is set to zero.
    Both lower the function, or are not taken. Far from the minimum proximal steps are left out while most is
    to be gained on the support.

    References
    ----------
    .. [1] T. Chen, F. E. Curtis, D. P. Robinson, "A reduced-space algorithm for minimizing ℓ1-regularized
       convex functions", SIAM J. Optim. 27 (2017).
    """
    steps = shape.steps(diagonal)
    growth, decrease, first, length, is_whole = 1.0, np.inf, 0.0, 1.0, False
    for _ in range(max_steps):
        before = point
        rest = shape.least_subgradient(point.x, point.grad)
        gains = steps * rest**2
        free = shape.is_free(point.x)
        promised = 0.5 * float(gains.sum())
        first = first or promised
        if promised <= 0.1 * goal and is_whole and (function.is_exact or decrease <= goal):
            return point, min(decrease, promised)
        outside = 0.5 * float(gains[~free].sum())
        # Newton steps of a norm shrink it, and never take it to zero.
        if outside > OUTSIDE * promised or decrease <= goal or length < 1.0 or shape.bends:
            point, growth = _proximal(function, shape, point, steps, growth)
            free = shape.is_free(point.x)
        forcing = min(0.25, float(np.sqrt(promised / first))) if first > 0.0 else 0.25
        moved, length, is_whole = _newton(function, shape, point, free, forcing)
        if moved is before:
            moved, growth = _proximal(function, shape, point, steps, growth)
        point = moved
        decrease = before.value - point.value
        if decrease <= ROUNDED * abs(point.value) and not is_lower(shape, point, before):
            return before if decrease < 0.0 else point, max(decrease, 0.0)
    return point, np.inf


def is_lower(shape: Absolutes, point: Reached, before: Reached) -> bool:
    """Return whether a point, whose function is not higher but for rounding, has a shorter subgradient."""
    if not point.value <= before.value + ROUNDED * abs(before.value):
        return False
    rest, last = (shape.least_subgradient(each.x, each.grad) for each in (point, before))
    return bool(np.linalg.norm(rest) < 0.9 * np.linalg.norm(last))


def _proximal(
    function: Smooth, shape: Absolutes, point: Reached, steps: Vector, growth: float
) -> tuple[Reached, float]:
    """Return the point of a proximal step, and the factor of the metric that made it lower the function."""
    absolutes = shape.of_absolutes(point.x)
    for _ in range(MAX_GROWTH):
        length = steps / growth
        x = shape.prox(point.x - length * point.grad, length)
        step = x - point.x
        model = float(point.grad @ step) + 0.5 * float(step @ (step / length))
        model += shape.of_absolutes(x) - absolutes
        if model >= 0.0:
            return point, growth
        trial = function.at(x)
        if trial.value <= point.value + model + ROUNDED * abs(point.value):
            return trial, max(0.5 * growth, 0.5)
        growth *= 2.0
    return point, growth


def _newton(
    function: Smooth, shape: Absolutes, point: Reached, free: NDArray[np.bool_], forcing: float
) -> tuple[Reached, float, bool]:
    """Return the point of a Newton step of the free parameters, which part was taken, and if it was whole.

    `point` and 0 where none lowers the function; whole is one that changes no sign.
    """
    rest = shape.least_subgradient(point.x, point.grad)
    residual = np.where(free, -rest, 0.0)
    if not residual.any():
        return point, 1.0, True
    step = function.newton(point, free, residual, forcing)
    slope = -float(residual @ step)
    if not slope < 0.0:
        return point, 0.0, True
    length = 1.0
    crossing = shape.first_crossing(point.x, step)
    is_smooth = crossing > 1.0
    for n_tried in range(MAX_HALVINGS):
        if n_tried >= BENT_TRIES and crossing < length:
            length = crossing  # up to there nothing bends: a quadratic falls all the way
            crossing = np.inf
        x = shape.without_crossings(point.x + length * step, point.x)
        trial = function.at(x)
        expected = float(residual @ (x - point.x))
        if expected > 0.0 and trial.value <= point.value - SUFFICIENT_DECREASE * expected:
            return trial, length, is_smooth and length == 1.0
        if -length * slope <= ROUNDED * abs(point.value):
            return (trial, length, True) if is_lower(shape, trial, point) else (point, 0.0, True)
        length *= 0.5
    return point, 0.0, True


def solved(matrix: Vector, vector: Vector) -> Vector:
    """Return matrix⁻¹ vector, of a positive semidefinite matrix with a ridge that makes it definite."""
    return solve(*factor(matrix), vector)


def factor(matrix: Vector) -> tuple[Vector, Vector]:
    """Return the Cholesky factor of a matrix brought to a unit diagonal, with a ridge, and its scale."""
    scale = matrix.diagonal().copy()
    scale[scale <= 0.0] = 1.0
    scale = 1.0 / np.sqrt(scale)
    ridge = RIDGE
    while True:
        unit = matrix * scale
        unit *= scale[:, np.newaxis]
        np.einsum("ii->i", unit)[:] += ridge
        # Symmetric: its transpose is what LAPACK takes without a copy.
        lower, info = lapack.dpotrf(unit.T, lower=1, overwrite_a=1, clean=0)
        if info == 0:
            break
        ridge *= 100.0
        if not np.isfinite(ridge) or ridge > 1.0:
            raise FloatingPointError("the Hessian is not finite; X or the parameters are too large")
    return lower, scale


def solve(lower: Vector, scale: Vector, vector: Vector) -> Vector:
    """Return matrix⁻¹ vector by the result of `factor`."""
    solution, _ = lapack.dpotrs(lower, scale * vector, lower=1)
    return np.asarray(scale * solution)


def conjugate_gradients(
    product: Callable[[Vector], Vector],
    diagonal: Vector,
    free: NDArray[np.bool_],
    residual: Vector,
    forcing: float,
    sums: NDArray[np.intp],
) -> Vector:
    """Return s with (A s)_free ≈ residual_free and zero elsewhere, preconditioned by the diagonal.

    Along each of the `sums` (m, K) of parameters A is flat; it is given their mean curvature.
    """
    weight = diagonal[sums].mean(axis=1, keepdims=True) / max(sums.shape[1], 1)
    floor = 1e-12 * diagonal.max(initial=0.0) or 1.0
    inverse = np.where(free, 1.0 / np.maximum(diagonal, floor), 0.0)
    step = np.zeros_like(residual)
    left = np.where(free, residual, 0.0)
    scaled = inverse * left
    direction = scaled.copy()
    energy = float(left @ scaled)
    target = forcing**2 * energy
    for _ in range(MAX_CG):
        if energy <= target or energy <= 0.0:
            break
        image = np.where(free, product(direction), 0.0)
        image[sums] += weight * direction[sums].sum(axis=1, keepdims=True)
        curvature = float(direction @ image)
        if curvature <= RIDGE * float(direction @ (diagonal * direction)):
            break  # flat, or rounding
        length = energy / curvature
        step += length * direction
        left -= length * image
        scaled = inverse * left
        energy, last = float(left @ scaled), energy
        direction = scaled + energy / last * direction
    return step if step.any() else inverse * residual
