"""Preconditioned limited-memory BFGS (L-BFGS) on float64 vectors."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.solvers.pairs import Pairs
from fastsoftmax.solvers.progress import TINY, Progress, in_float64_if

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.contracts.protocols import Checkpoint, Objective

# A pair is three vectors (float32 above 65,536 parameters). Where vectors cost more than passes, five pairs
# take as many steps as eight within a few per cent, and a tenth less time at C = 100 (docs/decisions.md).
MIN_PAIRS = 5
MAX_PAIRS = 14  # more pairs help while the Hessian keeps changing, and mislead elsewhere
MAX_AFFORDED_PAIRS = 50  # where passes take far longer than products with pairs, as the objective says
PAIRS_BYTES = 2**24  # the memory of the pairs that decides how many there are between those limits
# So many pairs know enough of the curvature to estimate F − F*; fewer suffice where memory allows no more.
TRUSTED_PAIRS = 8
# The preconditioner is rebuilt after at least so many steps, then after twice as many, and so on: the
# curvature changes with each step early on, and hardly near the optimum. Each is built from twice the rows of
# the last, so that its cost keeps pace with that of the steps (docs/decisions.md).
FIRST_REBUILD = 4
FIRST_FRACTION = 0.25
# A rebuild is worth its cost if the remaining steps, at the rate of the last RATE_STEPS, cost so many times
# as much: the rate is an extrapolation, and a build that saves nothing costs about a dozen passes.
REMAINING = 4.0
RATE_STEPS = 3
# The constants of the strong Wolfe conditions, at the usual values for quasi-Newton methods.
SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9
MAX_TRIALS = 12
RESOLUTION = 1e-7  # as in `newton`: smaller relative changes of F are rounding if products are float32


class _Iterate(NamedTuple):
    """The iterate between two steps: x, F, ∇F, and whether products have been refined to float64."""

    n_steps: int
    refined: bool
    x: Vector
    value: float
    grad: Vector


class _Point(NamedTuple):
    """A trial step length with F, ∇F and the slope along the direction there."""

    length: float
    x: Vector
    value: float
    grad: Vector
    slope: float


@dataclass(slots=True)
class _Builds:
    """The schedule of preconditioners: when the next is built, from what fraction, and the last one's data.

    `wait` is the least number of steps before the next build, `fraction` that of the next; the `last_` fields
    describe the last build, so that it can be repeated from a checkpoint.
    """

    wait: int = 0
    fraction: float = FIRST_FRACTION
    last_x: Vector = field(default_factory=lambda: np.empty(0))
    last_fraction: float = 0.0
    last_step: int = 0
    decrements: list[float] = field(default_factory=list)  # the last few estimates of F − F*

    def build(self, objective: Objective, x: Vector) -> Callable[[Vector], Vector]:
        """Return the preconditioner at x, and note its ingredients."""
        self.last_x, self.last_fraction = x, self.fraction
        return objective.preconditioner(x, self.fraction)

    def advance(self, n_steps: int) -> None:
        """Schedule the next build after one at this step."""
        self.last_step = n_steps
        self.wait = max(FIRST_REBUILD, 2 * self.wait)
        self.fraction *= 2.0

    def note(self, decrement: float) -> None:
        """Record an estimate of F − F*."""
        self.decrements = [*self.decrements[-RATE_STEPS:], decrement]

    def is_due(self, objective: Objective, n_steps: int, goal: float) -> bool:
        """Return whether to build a preconditioner before the next step; `goal` is the F − F* to stop at.

        One is due where there is none yet; later once the steps since the last have cost as much as it will,
        unless the remaining steps would cost less than REMAINING times that. As the estimates may be wrong,
        and a certificate may need a smaller gradient than they predict, it is not put off for more than
        REMAINING times its cost.
        """
        if n_steps == 0 or self.wait == 0:
            return True
        cost = objective.preconditioner_cost(self.fraction)
        min_steps, since = max(self.wait, cost), n_steps - self.last_step
        if since < min_steps:
            return False
        before, now = self.decrements[0], self.decrements[-1]
        if since >= REMAINING * min_steps or before <= now:
            return True
        if now <= goal:
            return False
        rate = math.log(before / now) / (len(self.decrements) - 1)
        remaining = math.log(now) - math.log(max(goal, TINY))
        return remaining > REMAINING * cost * rate


NEEDS = frozenset({"gradient", "preconditioner"})  # of an objective


def minimize(
    objective: Objective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], str | None] | None = None,
    checkpoint: Checkpoint | None = None,
    after: tuple[int, dict[str, Any]] | None = None,
) -> Solution:
    """Return the minimum of a smooth convex objective by preconditioned L-BFGS.

    Parameters
    ----------
    objective : Objective
    x0 : ndarray (size,), float64
    tol : float
        The relative suboptimality (F − F*) / F to stop at, certified or estimated (`Progress`).
    max_iter : int
        The most steps.
    callback : callable, optional
        Called with a `Record` and the parameters at the start and after each step.
    checkpoint : Checkpoint, optional
        Offered the state before each step but the first. If it has a stored state, x0 is ignored.
    after : tuple, optional
        How many steps another solver has taken to x0, and the state of its `Progress`, which continues here.

    Returns
    -------
    Solution

    Notes
    -----
    The directions [1]_ come from the last 5 to 14 pairs (those that 16 MiB hold; up to 50 by `pairs_bytes`)
    and the objective's preconditioner, scaled by the last pair, in place of the usual multiple of the
    identity; a line search finds a step length that meets the strong Wolfe conditions by safeguarded cubic
    interpolation [2]_. Costs one pass for each step length tried, usually one a step, and the preconditioner:
    at the start, and later where it is worth its cost (`_Builds`). Extra memory: three vectors a pair
    (float32 above 65,536 parameters) and about ten of float64.

    References
    ----------
    .. [1] J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980).
    .. [2] J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer, 2006, alg. 3.5 and 3.6.
    """
    n_pairs = _n_pairs(objective)
    pairs = Pairs(objective.algebra, objective.size, n_pairs)
    stored = None if checkpoint is None else checkpoint.state()
    if stored is None:
        progress = Progress(objective, tol, callback)
        x = np.array(x0, dtype=np.float64)
        iterate, builds, done = _Iterate(0, False, x, *objective.value_and_grad(x)), _Builds(), False
        if after is None:
            done = progress.at(x, iterate.value, iterate.grad)
        else:
            iterate = iterate._replace(n_steps=after[0])
            progress.resume(after[1], x, announce=False)
    else:
        iterate, builds, objective = _restored(stored, objective, pairs)
        progress = Progress(objective, tol, callback)
        progress.resume(stored.numbers["progress"], iterate.x)
        (direction, slope), done = pairs.direction(iterate.grad), False
    first, refined, x, value, grad = iterate
    for n_steps in range(first, max_iter):
        if done:
            break
        if checkpoint is not None and n_steps > first:
            iterate = _Iterate(n_steps, refined, x, value, grad)
            checkpoint.offer(functools.partial(_state, iterate, builds, pairs, progress))
        if builds.is_due(objective, n_steps, progress.goal):
            pairs.restart(functools.partial(builds.build, objective, x), grad)
            builds.advance(n_steps)
            direction, slope = pairs.direction(grad)
        start = _Point(0.0, x, value, grad, slope)
        accepted = None if progress.stalled else _line_search(objective, start, direction)
        if accepted is not None:
            pairs.move(x, grad, accepted.x, accepted.grad)
            x, value, grad = accepted.x, accepted.value, accepted.grad
        elif len(pairs) and not (progress.stalled or objective.is_float32):
            # The curvature of the pairs may be rounding: try again from the preconditioner alone. If products
            # are float32 it is the gradient that is rounded, and that would not help.
            pairs.clear()
        else:
            # No step lowers F at this precision, not even along −M g. The predicted decrease is the estimate
            # of F − F* that is left.
            in_float64 = progress.in_float64(x, value, grad, -0.5 * slope)
            if in_float64 is None:
                break
            objective, value, grad = in_float64
            refined = True
            pairs.restart(functools.partial(builds.build, objective, x), grad)
        # gᵀ H g / 2 with the approximate inverse Hessian H estimates F − F* as the Newton decrement does.
        direction, slope = pairs.direction(grad)
        builds.note(-0.5 * slope)
        decrement, trusted = -0.5 * slope, len(pairs) >= min(n_pairs, TRUSTED_PAIRS)
        if trusted and decrement <= progress.goal and not objective.has_lower_bound:
            # Pairs know nothing of directions in which no step has gone. M does, if it is not too old.
            if pairs.decrement(grad) > progress.goal:
                builds.fraction = max(builds.fraction, 1.0)
                pairs.restart(functools.partial(builds.build, objective, x), grad)
                builds.advance(n_steps)
                direction, slope = pairs.direction(grad)
            decrement = max(-0.5 * slope, pairs.decrement(grad))
        done = progress.at(x, value, grad, decrement, trusted=trusted)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x, value, grad)


def _n_pairs(objective: Objective) -> int:
    """Return how many pairs are kept."""
    given = int(getattr(objective, "pairs_bytes", 0))
    usual = int(np.clip(PAIRS_BYTES // (3 * 8 * max(1, objective.size)), MIN_PAIRS, MAX_PAIRS))
    return max(usual, min(MAX_AFFORDED_PAIRS, given // Pairs.n_bytes(objective.size)))


def _state(iterate: _Iterate, builds: _Builds, pairs: Pairs, progress: Progress) -> State:
    """Return the state between two steps, which `_restored` and `Progress.resume` take."""
    pairs_state = pairs.state()
    numbers = {
        "n_steps": iterate.n_steps,
        "refined": iterate.refined,
        "value": iterate.value,
        "builds": [builds.wait, builds.fraction, builds.last_fraction, builds.last_step, builds.decrements],
        "progress": progress.state(),
    }
    arrays = {"x": iterate.x, "grad": iterate.grad, "built_at": builds.last_x}
    return State({**numbers, **pairs_state.numbers}, {**arrays, **pairs_state.arrays})


def _restored(stored: State, objective: Objective, pairs: Pairs) -> tuple[_Iterate, _Builds, Objective]:
    """Return the iterate, the schedule and the objective of a stored state, and restore the pairs."""
    numbers, arrays = stored
    iterate = _Iterate(numbers["n_steps"], numbers["refined"], arrays["x"], numbers["value"], arrays["grad"])
    wait, fraction, last_fraction, last_step, decrements = numbers["builds"]
    builds = _Builds(wait, fraction, arrays["built_at"], last_fraction, last_step, decrements)
    objective = in_float64_if(objective, iterate.refined)
    # Only the ingredients of the preconditioner are stored: it is rebuilt, to the same bits.
    pairs.restore(stored, objective.preconditioner(arrays["built_at"], last_fraction), iterate.grad)
    return iterate, builds, objective


def _line_search(objective: Objective, start: _Point, direction: Vector) -> _Point | None:
    """Return a point along the direction that meets the strong Wolfe conditions, or None if none is found."""
    if start.slope >= 0.0:
        return None
    length = 1.0
    low, high = start, None
    for _ in range(MAX_TRIALS):
        x = objective.algebra.moved(start.x, direction, length)
        value, grad = objective.value_and_grad(x)
        trial = _Point(length, x, value, grad, objective.algebra.dot(grad, direction))
        flat = abs(trial.value - start.value) <= RESOLUTION * abs(start.value)
        too_high = trial.value > start.value + SUFFICIENT_DECREASE * length * start.slope
        if flat and abs(trial.slope) <= CURVATURE * abs(start.slope):
            return trial  # approximate Wolfe: F no longer resolves the step, its slope does
        if not np.isfinite(trial.value) or too_high or trial.value >= low.value > start.value:
            high = trial
        elif abs(trial.slope) <= CURVATURE * abs(start.slope):
            return trial
        elif trial.slope > 0.0:
            high = trial
        else:
            low = trial
        length = 4.0 * length if high is None else _cubic_minimiser(low, high)
        if high is not None and abs(high.length - low.length) <= 1e-3 * max(high.length, low.length):
            break
    # A decrease within rounding is not a step.
    return low if start.value - low.value > RESOLUTION * abs(start.value) else None


def _cubic_minimiser(low: _Point, high: _Point) -> float:
    """Return the minimiser of the cubic through two points with their slopes, kept away from both ends.

    The midpoint if F is not finite at `high`, or if the cubic has no minimum.
    """
    width = high.length - low.length
    if np.isfinite(high.value):
        d1 = low.slope + high.slope - 3.0 * (high.value - low.value) / width
        square = d1 * d1 - low.slope * high.slope
        if square > 0.0:
            d2 = np.copysign(np.sqrt(square), width)
            fraction = 1.0 - (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2)
            return low.length + float(np.clip(fraction, 0.1, 0.9)) * width
    return low.length + 0.5 * width
