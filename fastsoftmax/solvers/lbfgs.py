"""Limited-memory BFGS on float64 vectors."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.solvers.pairs import Pairs
from fastsoftmax.solvers.progress import TINY, Progress, refined_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.protocols import Checkpoint, Objective

# Three vectors each, of many parameters at half the width; where those outweigh the passes, few pairs take as
# many steps within some hundredths, and a tenth less time.
LEAST_PAIRS = 5
MOST_PAIRS = 14  # more help where the Hessian changes for long, and mislead elsewhere
PAIRS_BYTES = 2**24
TRUSTED_PAIRS = 8  # know enough of the curvature to estimate F − F*; fewer, where there is no room for more
# The preconditioner is built anew after so many steps at least, then after twice as many, and so on: early
# the curvature changes with each step, near the optimum no more. Each takes twice the rows of the one before,
# so that what is spent on it keeps pace with what the steps have cost.
FIRST_REBUILD = 4
FIRST_SHARE = 0.25
# It is worth its cost if the steps that are left, at the rate of the last few, cost so many times as much.
REMAINING = 4.0
RATE_STEPS = 3
SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MOST_TRIALS = 12
RESOLUTION = 1e-7  # as in newton_cg: smaller relative changes of F are rounding where products are float32


class _Place(NamedTuple):
    """Where the solver stands between two steps: F, ∇F, and whether they come from the finer products."""

    n_steps: int
    refined: bool
    x: NDArray[np.float64]
    value: float
    grad: NDArray[np.float64]


class _Point(NamedTuple):
    """A trial step length with F, ∇F and the slope along the direction there."""

    length: float
    x: NDArray[np.float64]
    value: float
    grad: NDArray[np.float64]
    slope: float


@dataclass(slots=True)
class _Builds:
    """When the preconditioner is built next, and from what share of the rows; from what the last one was."""

    wait: int = 0
    share: float = FIRST_SHARE
    last_x: Vector = field(default_factory=lambda: np.empty(0))
    last_share: float = 0.0
    last_step: int = 0
    decrements: list[float] = field(default_factory=list)  # the last few estimates of F − F*

    def build(self, objective: Objective, x: Vector) -> Callable[[Vector], Vector]:
        """Return the preconditioner at x."""
        self.last_x, self.last_share = x, self.share
        return objective.preconditioner(x, self.share)

    def advance(self, n_steps: int) -> None:
        """Note that the one that was due is built."""
        self.last_step = n_steps
        self.wait = max(FIRST_REBUILD, 2 * self.wait)
        self.share *= 2.0

    def note(self, decrement: float) -> None:
        """Note an estimate of F − F*."""
        self.decrements = [*self.decrements[-RATE_STEPS:], decrement]

    def is_due(self, objective: Objective, n_steps: int, goal: float) -> bool:
        """Whether to build one before the next step, with F − F* to become `goal`.

        First where the fit begins; later once the steps since then have cost as much as it will, unless the
        goal is in sight: then it would cost more than it could save. But the estimates may be wrong, and a
        certificate may want a smaller gradient than they promise: it is not put off for ever.
        """
        if n_steps == 0:
            return True
        cost = objective.preconditioner_cost(self.share)
        least, since = max(self.wait, cost), n_steps - self.last_step
        if since < least:
            return False
        before, now = self.decrements[0], self.decrements[-1]
        if since >= REMAINING * least or before <= now:
            return True
        if now <= goal:
            return False
        rate = math.log(before / now) / (len(self.decrements) - 1)
        left = math.log(now) - math.log(max(goal, TINY))
        return left > REMAINING * cost * rate


def minimize(
    objective: Objective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], None] | None = None,
    checkpoint: Checkpoint | None = None,
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
    checkpoint : Checkpoint, optional
        Is offered the state before each step but the first. With a state it has, x0 is not looked at.

    Returns
    -------
    Solution

    Notes
    -----
    The directions [1]_ come from the last 5 to 14 pairs (what 16 MiB hold) and the objective's
    preconditioner (scaled, as usual, by the last pair), which stands where a multiple of the identity often
    does; a line search looks for the strong Wolfe conditions by safeguarded cubic interpolation [2]_. One
    pass for each step length tried, usually one a step, and what the preconditioner costs: at the start, and
    later where it is worth that (`_Builds`).

    References
    ----------
    .. [1] J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980).
    .. [2] J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, alg. 3.5 and 3.6.
    """
    fitting = PAIRS_BYTES // (3 * 8 * max(1, objective.size))
    n_pairs = int(np.clip(fitting, LEAST_PAIRS, MOST_PAIRS))
    pairs = Pairs(objective.algebra, objective.size, n_pairs)
    kept = None if checkpoint is None else checkpoint.state()
    if kept is None:
        progress = Progress(objective, tol, callback)
        x = np.array(x0, dtype=np.float64)
        here, builds = _Place(0, False, x, *objective.value_and_grad(x)), _Builds()
        done = progress.at(x, here.value, here.grad)
    else:
        here, builds, objective = _restored(kept, objective, pairs)
        progress = Progress(objective, tol, callback)
        progress.resume(kept.numbers["progress"], here.x)
        (direction, slope), done = pairs.direction(here.grad), False
    first, refined, x, value, grad = here
    for n_steps in range(first, max_iter):
        if done:
            break
        if checkpoint is not None and n_steps > first:
            here = _Place(n_steps, refined, x, value, grad)
            checkpoint.offer(functools.partial(_state, here, builds, pairs, progress))
        if builds.is_due(objective, n_steps, progress.goal):
            pairs.restart(functools.partial(builds.build, objective, x), grad)
            builds.advance(n_steps)
            direction, slope = pairs.direction(grad)
        start = _Point(0.0, x, value, grad, slope)
        found = None if progress.stalled else _line_search(objective, start, direction)
        if found is not None:
            pairs.move(x, grad, found.x, found.grad)
            x, value, grad = found.x, found.value, found.grad
        elif len(pairs) and not (progress.stalled or objective.has_finer):
            # The curvature remembered may be rounding: once more from the preconditioner alone. Where
            # products can be finer it is the gradient that is rounded, and that would not help.
            pairs.clear()
        else:
            # Nothing lowers F along −M g either, or has for long, at this precision: what the direction
            # promises is left.
            finer = progress.finer(x, value, grad, -0.5 * slope)
            if finer is None:
                break
            objective, value, grad = finer
            refined = True
            pairs.restart(functools.partial(builds.build, objective, x), grad)
        # gᵀ H g / 2 with the curvature remembered estimates F − F* as the Newton decrement does.
        direction, slope = pairs.direction(grad)
        builds.note(-0.5 * slope)
        done = progress.at(x, value, grad, -0.5 * slope, trusted=len(pairs) >= min(n_pairs, TRUSTED_PAIRS))
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x, value, grad)


def _state(place: _Place, builds: _Builds, pairs: Pairs, progress: Progress) -> State:
    """Return what `_restored` takes, and the state of the progress."""
    inner = pairs.state()
    numbers = {
        "n_steps": place.n_steps,
        "refined": place.refined,
        "value": place.value,
        "builds": [builds.wait, builds.share, builds.last_share, builds.last_step, builds.decrements],
        "progress": progress.state(),
    }
    arrays = {"x": place.x, "grad": place.grad, "built_at": builds.last_x}
    return State({**numbers, **inner.numbers}, {**arrays, **inner.arrays})


def _restored(kept: State, objective: Objective, pairs: Pairs) -> tuple[_Place, _Builds, Objective]:
    """Return the place and the plan of a state, and the objective as it was there; give the pairs theirs."""
    numbers, arrays = kept
    place = _Place(numbers["n_steps"], numbers["refined"], arrays["x"], numbers["value"], arrays["grad"])
    wait, share, last_share, last_step, decrements = numbers["builds"]
    builds = _Builds(wait, share, arrays["built_at"], last_share, last_step, decrements)
    objective = refined_if(objective, place.refined)
    # Of the preconditioner only its ingredients are kept: it is built anew, to the same bits.
    pairs.restore(kept, objective.preconditioner(arrays["built_at"], last_share), place.grad)
    return place, builds, objective


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
