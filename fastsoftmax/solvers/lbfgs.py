"""Limited-memory BFGS on float64 vectors."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.solvers.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Objective, Record, Solution, Vector

MEMORY = 20
SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MOST_TRIALS = 30
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
    callback: Callable[[Record], None] | None = None,
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
        Called with a `Record` after each step.

    Returns
    -------
    Solution

    Notes
    -----
    The two-loop recursion [1]_ over the last 20 pairs, and a line search for the strong Wolfe conditions by
    safeguarded cubic interpolation [2]_. One pass for each step length tried, usually one a step.

    References
    ----------
    .. [1] J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980).
    .. [2] J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, alg. 3.5 and 3.6.
    """
    progress = Progress(objective, tol, callback)
    x = np.array(x0, dtype=np.float64)
    value, grad = objective.value_and_grad(x)
    pairs: deque[tuple[Vector, Vector, float]] = deque(maxlen=MEMORY)
    direction = -grad
    done = progress.at(x, value, grad)
    for _ in range(max_iter):
        if done:
            break
        first = 1.0 if pairs else min(1.0, 1.0 / float(np.linalg.norm(grad)))
        start = _Point(0.0, x, value, grad, float(grad @ direction))
        found = _line_search(objective, start, direction, first)
        if found is None:
            if not pairs:
                progress.stopped("no step lowers the objective any more at the precision of the products")
                break
            pairs.clear()  # the curvature remembered may be rounding: once more from the gradient alone
            direction = -grad
            continue
        step, change = found.x - x, found.grad - grad
        curvature = float(step @ change)
        if curvature > np.finfo(np.float64).eps * float(change @ change):
            pairs.append((step, change, 1.0 / curvature))
        x, value, grad = found.x, found.value, found.grad
        direction = -_inverse_hessian_product(pairs, grad)
        # gᵀ H⁻¹ g / 2 with the curvature remembered estimates F − F* as the Newton decrement does.
        decrement = -0.5 * float(grad @ direction) if len(pairs) == MEMORY else np.inf
        done = progress.at(x, value, grad, decrement)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x, value, grad)


def _inverse_hessian_product(pairs: deque[tuple[Vector, Vector, float]], grad: Vector) -> Vector:
    """Return H g, with H the BFGS approximation of the inverse Hessian from the pairs."""
    product = grad.copy()
    shares = []
    for step, change, rho in reversed(pairs):
        share = rho * float(step @ product)
        product -= share * change
        shares.append(share)
    if pairs:
        _, change, rho = pairs[-1]
        product /= rho * float(change @ change)
    for (step, change, rho), share in zip(pairs, reversed(shares)):
        product += (share - rho * float(change @ product)) * step
    return product


def _line_search(objective: Objective, start: _Point, direction: Vector, length: float) -> _Point | None:
    """Return a point along the direction that meets the strong Wolfe conditions; None if none is found."""
    if start.slope >= 0.0:
        return None
    low, high = start, None
    for _ in range(MOST_TRIALS):
        x = start.x + length * direction
        value, grad = objective.value_and_grad(x)
        here = _Point(length, x, value, grad, float(grad @ direction))
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
            return low if low.length > 0.0 else None
    return low if low.length > 0.0 else None


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
