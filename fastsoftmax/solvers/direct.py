"""L-BFGS for small problems: between two passes one compiled call, in memory that is taken once."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.contracts.minimisations import (
    CODE,
    DECREMENT,
    FAILED,
    MOVED,
    PROBED,
    VALUE,
)
from fastsoftmax.solvers import lbfgs
from fastsoftmax.solvers.progress import TINY, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.contracts.protocols import Checkpoint

NEEDS = frozenset({"direct"})  # of an objective
# The part of the tolerance that steps go on to: two or three more, which cost little here. A diagonal
# preconditioner leaves the error in the coefficients of nearly dependent columns, of which F tells little.
MARGIN = 0.1
# Steps that the rate of convergence is taken from: so many at least, and a part of those that a better way
# costs. The decrement does not fall at every step (iris at C = 100 is one of 4 that were left too soon).
RATE_STEPS, MAX_RATE_STEPS, PATIENCE_PART = 8, 32, 0.25
ROTATED = "rotated"  # marks the states of a minimisation that goes on in the row space


def minimize(
    objective: Any,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], str | None] | None = None,
    checkpoint: Checkpoint | None = None,
    after: tuple[int, dict[str, Any]] | None = None,
) -> Solution:
    """Return the minimum of a small smooth convex objective by L-BFGS.

    Parameters
    ----------
    objective : Objective
        With the capability "direct".
    x0 : ndarray (size,), float64
    tol : float
        The relative suboptimality (F − F*) / F to stop at, certified (`Progress`).
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
    Products are float64. One pass for each step length tried, usually one a step, one for the moments of the
    columns, which precondition (`linalg.quasi_newton`), and half of one for the first step's
    length. A problem that takes more than `max_steps` of these, or on which a search fails, goes on in the
    row space where there is one, otherwise by `lbfgs`, whose preconditioner is worth its cost then.
    """
    stored = None if checkpoint is None else checkpoint.state()
    if stored is not None and stored.numbers.get(ROTATED):
        return _rotated(objective, x0, tol, max_iter, callback, checkpoint, stored, None)
    if stored is not None and checkpoint is not None and "counts" not in stored.arrays:
        handed_on = _HandedOn(checkpoint, stored)
        return lbfgs.minimize(
            objective, x0, tol=tol, max_iter=max_iter, callback=callback, checkpoint=handed_on
        )
    problem = objective.direct
    sums, layout = problem.sums, problem.layout
    trial, results = (sums.coef, sums.intercept), (sums.values, sums.coef_sums, sums.intercept_sums)
    state = problem.minimisations()
    progress = Progress(problem, tol, callback, margin=MARGIN)
    x, grad = state.x[0, : layout.size], state.grad[0, : layout.size]
    number, count = state.numbers[0], state.counts[0]

    def compute() -> int:
        """Take the minimisation from one trial point to the next; return what that led to."""
        problem.evaluate()
        state.advance(0, 1, results, trial)
        return int(count[CODE])

    def is_done() -> bool:
        point = x if callback is None else x.copy()  # a callback may keep it, and the next step writes to it
        return progress.at(point, float(number[VALUE]), grad, float(number[DECREMENT]))

    if stored is None:
        state.begin(
            0, x0, l2=problem.penalty.curvature, scale=1.0 / problem.total_weight, moments=problem.moments,
            curvature=problem.curvature,
        )  # fmt: skip
        sums.coef[0], sums.intercept[0] = state.coef(0), state.intercept(0)
        compute()
        if after is None:
            n_steps, done = 0, is_done()
        else:
            n_steps, done = after[0], False
            progress.resume(after[1], x, announce=False)
        if not done:
            number[PROBED] = problem.probe()
            state.advance(0, 1, results, trial)
    else:
        n_steps, done = stored.numbers["n_steps"], False
        state.restore(stored.arrays, problem.moments, problem.curvature)
        sums.coef[0], sums.intercept[0] = stored.arrays["coef"], stored.arrays["intercept"]
        progress.resume(stored.numbers["progress"], x)
    first = n_steps
    decrements: list[float] = [] if stored is None else stored.numbers["decrements"]
    last = n_steps + problem.max_steps if stored is None else stored.numbers["last"]
    last = min(max_iter, last)
    n_rated = _n_rated(problem.patience)
    while not done and n_steps < last:
        if checkpoint is not None and n_steps > first and count[CODE] == MOVED:
            checkpoint.offer(functools.partial(_state, n_steps, last, decrements, state, trial, progress))
        code = compute()
        if code == FAILED:
            break
        if code == MOVED:
            n_steps += 1
            done = is_done()
            decrements = [*decrements[-n_rated:], float(number[DECREMENT])]
            if not done and _is_slow(decrements, progress.goal, problem.patience):
                break
    if not done and n_steps < max_iter:
        # The rounding of these steps says nothing of those to come.
        reached = n_steps, progress.state() | {"still": 0, "least_norm": np.inf}
        if objective.rotation is not None:
            return _rotated(objective, x, tol, max_iter, callback, checkpoint, None, reached)
        return lbfgs.minimize(
            objective, x.copy(), tol=tol, max_iter=max_iter, callback=callback, checkpoint=checkpoint,
            after=reached,
        )  # fmt: skip
    if not done:
        progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(x.copy(), float(number[VALUE]), grad.copy())


def _n_rated(patience: float) -> int:
    """Return how many steps the rate of convergence is taken from."""
    wanted = int(min(PATIENCE_PART * patience, MAX_RATE_STEPS))
    return max(RATE_STEPS, wanted)


def _is_slow(decrements: list[float], goal: float, patience: float) -> bool:
    """Return whether there are more steps to come than `patience`, at the rate of the last ones."""
    n_rated = _n_rated(patience)
    if math.isinf(patience) or len(decrements) <= n_rated or decrements[-1] <= goal:
        return False
    rate = math.log(decrements[0] / decrements[-1]) / n_rated
    return rate * patience < math.log(decrements[-1] / max(goal, TINY))


def _state(
    n_steps: int,
    last: int,
    decrements: list[float],
    state: Any,
    trial: tuple[Vector, Vector],
    progress: Progress,
) -> State:
    """Return the state between two steps, from which a fit ends with the same bits."""
    arrays = state.arrays() | {"coef": trial[0][0], "intercept": trial[1][0]}
    numbers = {"n_steps": n_steps, "last": last, "decrements": decrements, "progress": progress.state()}
    return State(numbers, arrays)


class _HandedOn:
    """A checkpoint for the solver that goes on: with the state that was read, and marks for those to come."""

    def __init__(self, checkpoint: Checkpoint, stored: State | None, **marks: Any) -> None:
        self._checkpoint, self._stored, self._marks = checkpoint, stored, marks

    def state(self) -> State | None:
        """Return the stored state, without the marks."""
        if self._stored is None:
            return None
        return self._stored._replace(
            numbers={name: n for name, n in self._stored.numbers.items() if name not in self._marks}
        )

    def offer(self, state: Callable[[], State]) -> None:
        """Store state(), marked, if it is time to."""

        def marked() -> State:
            numbers, arrays = state()
            return State({**numbers, **self._marks}, arrays)

        self._checkpoint.offer(marked)


def _rotated(
    objective: Any,
    x: Vector,
    tol: float,
    max_iter: int,
    callback: Callable[[Record, Vector], str | None] | None,
    checkpoint: Checkpoint | None,
    stored: State | None,
    after: tuple[int, dict[str, Any]] | None,
) -> Solution:
    """Return the minimum by the objective of the rows' coordinates, from x or the checkpoint's state."""
    rotation = objective.rotation

    # To take a point back takes as long as a step, and few callbacks look at it.
    looks = getattr(callback, "looks_at_points", True)

    def announce(record: Record, point: Vector) -> str | None:
        assert callback is not None
        return callback(record, rotation.back(point) if looks else point)

    rest = lbfgs.minimize if rotation.objective.direct is None else minimize
    solution = rest(
        rotation.objective, rotation.to(x), tol=tol, max_iter=max_iter,
        callback=None if callback is None else announce,
        checkpoint=None if checkpoint is None else _HandedOn(checkpoint, stored, **{ROTATED: True}),
        after=after,
    )  # fmt: skip
    return solution._replace(x=rotation.back(solution.x), grad=rotation.back(solution.grad))
