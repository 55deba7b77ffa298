"""Newton steps, however their systems are solved: shortened until they lower the objective enough."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.solvers.progress import Progress, refined_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.protocols import Checkpoint, Objective

    Direction: TypeAlias = Callable[[Objective, Vector, Vector, float], Vector]

LOOSEST = 0.25  # the residual that ends an early inner solve, relative to the gradient
MOST_HALVINGS = 30
SUFFICIENT_DECREASE = 1e-4
# Below this relative change the objective, a sum of float32 products, no longer resolves a step.
RESOLUTION = 1e-7
NUMBERS = ("n_steps", "refined", "value", "first_norm")  # of a state


def descend(
    direction: Direction,
    objective: Objective,
    x0: Vector,
    *,
    tol: float,
    max_iter: int,
    callback: Callable[[Record, Vector], None] | None,
    checkpoint: Checkpoint | None,
) -> Solution:
    """Return the minimum of a smooth convex objective by Newton steps that `direction` finds.

    `direction(objective, x, grad, forcing)` returns s with ‖∇²F s + ∇F‖ at most about `forcing` times ‖∇F‖;
    the other parameters are those of a solver. Where the objective no longer resolves a step, a step is taken
    if it shrinks the gradient (the approximate Wolfe condition).
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
        step = direction(objective, x, grad, forcing)
        slope = objective.algebra.dot(grad, step)
        trial = None if progress.stalled else _shortened(objective, x, value, grad, step, slope)
        if trial is None:
            finer = progress.finer(x, value, grad, -0.5 * slope)
            if finer is None:
                break
            objective, value, grad = finer
            refined = True
            continue
        x, value, grad, length = trial
        # F − F* before the step was about −slope / 2, and a full Newton step leaves less than that.
        done = progress.at(x, value, grad, -0.5 * slope, trusted=length == 1.0)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x, value, grad)


def _state(numbers: dict[str, Any], x: Vector, grad: Vector, progress: Progress) -> State:
    """Return all that the next step depends on: what it builds, it builds at x."""
    return State({**numbers, "progress": progress.state()}, {"x": x, "grad": grad})


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
