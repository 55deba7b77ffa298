"""The iteration of Newton's method, for any solver of the Newton system, with step halving."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.solvers.progress import Progress, in_float64_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.contracts.protocols import Checkpoint, Objective

    Direction: TypeAlias = Callable[[Objective, Vector, Vector, float], Vector]

LOOSEST = 0.25  # the relative residual at which the first inner solves end: far off, steps need not be exact
MAX_HALVINGS = 30  # 2⁻³⁰ of a step: below, F of usual size changes by no more than rounding
SUFFICIENT_DECREASE = 1e-4  # Armijo's condition, at its usual value
# The relative change of F below which a step is not resolved, as F is a sum of float32 products.
RESOLUTION = 1e-7
NUMBERS = ("n_steps", "refined", "value", "first_norm")  # of a `State`; these names are in files


def descend(
    direction: Direction,
    objective: Objective,
    x0: Vector,
    *,
    tol: float,
    max_iter: int,
    callback: Callable[[Record, Vector], str | None] | None,
    checkpoint: Checkpoint | None,
) -> Solution:
    """Return the minimum of a smooth convex objective by Newton steps computed by `direction`.

    `direction(objective, x, grad, forcing)` returns s with ‖∇²F s + ∇F‖ at most about `forcing` times ‖∇F‖;
    the other parameters are those of a solver. If the objective no longer resolves a step, a step that
    shrinks the gradient is taken (the approximate Wolfe condition).
    """
    stored = None if checkpoint is None else checkpoint.state()
    if stored is None:
        progress = Progress(objective, tol, callback)
        x = np.array(x0, dtype=np.float64)
        value, grad = objective.value_and_grad(x)
        first, refined, first_norm = 0, False, objective.algebra.norm(grad)
        done = progress.at(x, value, grad)
    else:
        first, refined, value, first_norm = (stored.numbers[name] for name in NUMBERS)
        x, grad, done = stored.arrays["x"], stored.arrays["grad"], False
        objective = in_float64_if(objective, refined)
        progress = Progress(objective, tol, callback)
        progress.resume(stored.numbers["progress"], x)
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
            in_float64 = progress.in_float64(x, value, grad, -0.5 * slope)
            if in_float64 is None:
                break
            objective, value, grad = in_float64
            refined = True
            continue
        x, value, grad, length = trial
        # F − F* before the step was about −slope / 2 (the Newton decrement); after a full step it is less.
        done = progress.at(x, value, grad, -0.5 * slope, trusted=length == 1.0)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x, value, grad)


def _state(numbers: dict[str, Any], x: Vector, grad: Vector, progress: Progress) -> State:
    """Return the state between two steps; the next step builds everything else from x."""
    return State({**numbers, "progress": progress.state()}, {"x": x, "grad": grad})


def _shortened(
    objective: Objective, x: Vector, value: float, grad: Vector, step: Vector, slope: float
) -> tuple[Vector, float, Vector, float] | None:
    """Return the first of the points x + step, x + step / 2, … that lowers F enough, or None.

    The result is (x, F, ∇F, length) of that point. One pass for each length tried.
    """
    if slope >= 0.0:
        return None
    algebra = objective.algebra
    length = 1.0
    norm = algebra.norm(grad)
    for _ in range(MAX_HALVINGS):
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
