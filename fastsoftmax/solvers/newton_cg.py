"""Truncated Newton: each step solves the Newton system roughly, by preconditioned conjugate gradients."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.solvers.progress import Progress, refined_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.protocols import Checkpoint, Objective

LOOSEST = 0.25  # the residual that ends an early inner solve, relative to the gradient
MOST_INNER = 250
MOST_HALVINGS = 30
SUFFICIENT_DECREASE = 1e-4
# Below this relative change the objective, a sum of float32 products, no longer resolves a step.
RESOLUTION = 1e-7
NUMBERS = ("n_steps", "refined", "value", "first_norm")  # of a state


def minimize(
    objective: Objective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return the minimum of a smooth convex objective by Newton steps.

    Parameters
    ----------
    objective : Objective
    x0 : ndarray (size,), float64
    tol : float
        Relative suboptimality to stop at, as `Progress` judges it.
    max_iter : int
        The most Newton steps.
    callback : callable, optional
        Called with a `Record` and the parameters at the start and after each step.
    checkpoint : Checkpoint, optional
        Is offered the state before each step but the first. With a state it has, x0 is not looked at.

    Returns
    -------
    Solution

    Notes
    -----
    A step costs one pass for the preconditioner, one for each inner iteration, and one for each step length
    tried. The inner solve ends at a relative residual of min(¼, √(‖g‖ / ‖g₀‖)) in the preconditioner's norm
    (a forcing sequence [1]_): loose far from the optimum, tight near it. Where the objective no longer
    resolves a step, a step is taken if it shrinks the gradient (the approximate Wolfe condition [2]_).

    References
    ----------
    .. [1] R. S. Dembo, S. C. Eisenstat, T. Steihaug, "Inexact Newton methods", SIAM J. Numer. Anal. 19
       (1982).
    .. [2] W. W. Hager, H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient
       line search", SIAM J. Optim. 16 (2005).
    """
    kept = None if checkpoint is None else checkpoint.state()
    if kept is None:
        progress = Progress(objective, tol, callback)
        x = np.array(x0, dtype=np.float64)
        value, grad = objective.value_and_grad(x)
        first, refined, first_norm = 0, False, objective.algebra.norm(grad)
        done = progress.at(x, value, grad)
    else:
        first, refined, value, first_norm = (kept.numbers[name] for name in NUMBERS)
        x, grad, done = kept.arrays["x"], kept.arrays["grad"], False
        objective = refined_if(objective, refined)
        progress = Progress(objective, tol, callback)
        progress.resume(kept.numbers["progress"], x)
    for n_steps in range(first, max_iter):
        if done:
            break
        if checkpoint is not None and n_steps > first:
            numbers = dict(zip(NUMBERS, (n_steps, refined, value, first_norm), strict=True))
            checkpoint.offer(functools.partial(_state, numbers, x, grad, progress))
        forcing = min(LOOSEST, float(np.sqrt(objective.algebra.norm(grad) / first_norm)))
        step = _newton_direction(objective, x, grad, forcing)
        slope = objective.algebra.dot(grad, step)
        trial = _shortened(objective, x, value, grad, step, slope)
        if trial is None:
            done = progress.at(x, value, grad, -0.5 * slope)
            if done:
                break
            finer = progress.finer(x)
            if finer is None:
                progress.stopped("no step lowers the objective any more at the precision of the products")
                break
            objective, value, grad = finer
            refined = True
            continue
        x, value, grad, length = trial
        # F − F* before the step was about −slope / 2, and a full Newton step leaves less than that.
        done = progress.at(x, value, grad, -0.5 * slope if length == 1.0 else np.inf)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x, value, grad)


def _state(numbers: dict[str, Any], x: Vector, grad: Vector, progress: Progress) -> State:
    """Return all that the next step depends on: what it builds, it builds at x."""
    return State({**numbers, "progress": progress.state()}, {"x": x, "grad": grad})


def _newton_direction(objective: Objective, x: Vector, grad: Vector, forcing: float) -> Vector:
    """Return s with ∇²F s ≈ −∇F by conjugate gradients, preconditioned."""
    algebra = objective.algebra
    precondition = objective.preconditioner(x)
    multiply = objective.hessian(x)
    step = np.zeros_like(x)
    residual = -grad
    scaled = precondition(residual)
    direction = scaled.copy()
    energy = algebra.dot(residual, scaled)
    target = forcing**2 * energy
    for _ in range(MOST_INNER):
        if energy <= target or energy <= 0.0:
            break
        product = multiply(direction)
        curvature = algebra.dot(direction, product)
        if curvature <= 0.0:  # rounding, or a direction along which F is flat
            break
        length = energy / curvature
        algebra.moved(step, direction, length, out=step)
        algebra.moved(residual, product, -length, out=residual)
        scaled = precondition(residual)
        energy, before = algebra.dot(residual, scaled), energy
        algebra.moved(scaled, direction, energy / before, out=direction)
    return step if step.any() else precondition(-grad)


def _shortened(
    objective: Objective, x: Vector, value: float, grad: Vector, step: Vector, slope: float
) -> tuple[Vector, float, Vector, float] | None:
    """Return the first of the step, its half, its quarter … that lowers F enough; None if none does."""
    if slope >= 0.0:
        return None
    algebra = objective.algebra
    length = 1.0
    norm = algebra.norm(grad)
    for _ in range(MOST_HALVINGS):
        trial = algebra.moved(x, step, length)
        trial_value, trial_grad = objective.value_and_grad(trial)
        if trial_value <= value + SUFFICIENT_DECREASE * length * slope:
            return trial, trial_value, trial_grad, length
        if abs(trial_value - value) <= RESOLUTION * abs(value) and algebra.norm(trial_grad) < 0.9 * norm:
            return trial, trial_value, trial_grad, length
        if length * -slope <= np.finfo(np.float64).eps * abs(value):
            return None
        length *= 0.5
    return None
