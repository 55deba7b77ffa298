"""Limited-memory BFGS on float64 vectors."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.solvers.pairs import Pairs
from fastsoftmax.solvers.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.protocols import Objective

LEAST_PAIRS = 8  # three vectors each, of many parameters at half the width
MOST_PAIRS = 14  # more help where the Hessian changes for long, and mislead elsewhere
PAIRS_BYTES = 2**24
# The preconditioner is built anew after so many steps, then after twice as many, and so on: early on the
# curvature changes with every step, near the optimum no more. Each takes twice the rows of the one before, so
# that what is spent on it keeps pace with what the steps have cost.
FIRST_REBUILD = 4
FIRST_SHARE = 0.25
SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MOST_TRIALS = 12
RESOLUTION = 1e-7  # as in newton_cg: smaller relative changes of F are rounding where products are float32


class _Point(NamedTuple):
    """A trial step length with F, ∇F and the slope along the direction there."""

    length: float
    x: NDArray[np.float64]
    value: float
    grad: NDArray[np.float64]
    slope: float


def minimize(
    objective: Objective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], None] | None = None,
) -> Solution:
    """Return the minimum of a smooth convex objective by limited-memory BFGS.

    Parameters
    ----------
    objective : Objective
    x0 : ndarray (size,), float64
    tol : float
        Relative suboptimality to stop at, as `Progress` judges it.
    max_iter : int
        The most steps.
    callback : callable, optional
        Called with a `Record` and the parameters at the start and after each step.

    Returns
    -------
    Solution

    Notes
    -----
    The directions [1]_ come from the last 8 to 14 pairs (what 16 MiB hold) and the objective's
    preconditioner (scaled, as usual, by the last pair), which stands where a multiple of the identity often
    does; a line search looks for the strong Wolfe conditions by safeguarded cubic interpolation [2]_. One
    pass for each step length tried, usually one a step, and what the preconditioner costs after 0, 4, 12,
    28 … steps.

    References
    ----------
    .. [1] J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980).
    .. [2] J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, alg. 3.5 and 3.6.
    """
    progress = Progress(objective, tol, callback)
    x = np.array(x0, dtype=np.float64)
    value, grad = objective.value_and_grad(x)
    fitting = PAIRS_BYTES // (3 * 8 * max(1, objective.size))
    algebra = objective.algebra
    pairs = Pairs(algebra, objective.size, int(np.clip(fitting, LEAST_PAIRS, MOST_PAIRS)))
    done = progress.at(x, value, grad)
    share, wait, rebuild = FIRST_SHARE, FIRST_REBUILD, 0
    for n_steps in range(max_iter):
        if done:
            break
        if n_steps == rebuild:
            pairs.restart(functools.partial(objective.preconditioner, x, share), grad)
            share, wait, rebuild = 2.0 * share, 2 * wait, n_steps + wait
            direction = pairs.direction()
            slope = algebra.dot(grad, direction)
        start = _Point(0.0, x, value, grad, slope)
        found = None if progress.stalled else _line_search(objective, start, direction)
        if found is not None:
            pairs.move(x, grad, found.x, found.grad)
            x, value, grad = found.x, found.value, found.grad
        elif len(pairs) and not progress.stalled:
            pairs.clear()  # the curvature remembered may be rounding: once more from the preconditioner alone
        else:
            # Nothing lowers F along −M g either, or has for long: what that direction promises is left.
            done = progress.at(x, value, grad, -0.5 * slope)
            if done:
                break
            finer = progress.finer(x)
            if finer is None:
                progress.stopped("no step lowers the objective any more at the precision of the products")
                break
            objective, value, grad = finer
            pairs.restart(functools.partial(objective.preconditioner, x, share), grad)
        direction = pairs.direction()
        # gᵀ H g / 2 with the curvature remembered estimates F − F* as the Newton decrement does.
        slope = algebra.dot(grad, direction)
        done = progress.at(x, value, grad, -0.5 * slope, trusted=len(pairs) >= LEAST_PAIRS)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x, value, grad)


def _line_search(objective: Objective, start: _Point, direction: Vector) -> _Point | None:
    """Return a point along the direction that meets the strong Wolfe conditions; None if none is found."""
    if start.slope >= 0.0:
        return None
    length = 1.0
    low, high = start, None
    for _ in range(MOST_TRIALS):
        x = objective.algebra.moved(start.x, direction, length)
        value, grad = objective.value_and_grad(x)
        here = _Point(length, x, value, grad, objective.algebra.dot(grad, direction))
        flat = abs(here.value - start.value) <= RESOLUTION * abs(start.value)
        too_high = here.value > start.value + SUFFICIENT_DECREASE * length * start.slope
        if flat and abs(here.slope) <= CURVATURE * abs(start.slope):
            return here  # approximate Wolfe: F no longer resolves the step, its slope does
        if not np.isfinite(here.value) or too_high or here.value >= low.value > start.value:
            high = here
        elif abs(here.slope) <= CURVATURE * abs(start.slope):
            return here
        elif here.slope > 0.0:
            high = here
        else:
            low = here
        length = 4.0 * length if high is None else _between(low, high)
        if high is not None and abs(high.length - low.length) <= 1e-3 * max(high.length, low.length):
            break
    # Lower, but by no more than rounding: that is no step.
    return low if start.value - low.value > RESOLUTION * abs(start.value) else None


def _between(low: _Point, high: _Point) -> float:
    """Return the minimiser of the cubic through two points and their slopes, kept off their ends."""
    width = high.length - low.length
    if np.isfinite(high.value):
        d1 = low.slope + high.slope - 3.0 * (high.value - low.value) / width
        square = d1 * d1 - low.slope * high.slope
        if square > 0.0:
            d2 = np.copysign(np.sqrt(square), width)
            share = 1.0 - (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2)
            return low.length + float(np.clip(share, 0.1, 0.9)) * width
    return low.length + 0.5 * width
