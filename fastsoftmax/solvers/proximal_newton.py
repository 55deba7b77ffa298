"""Proximal Newton method on working sets of features, for penalties with absolute values."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.solvers import block_quasi_newton
from fastsoftmax.solvers.block_quasi_newton import Approach
from fastsoftmax.solvers.interior_point import EPS, minimum
from fastsoftmax.solvers.known_hessian import SERVES, Known
from fastsoftmax.solvers.progress import Progress
from fastsoftmax.solvers.subspace import ROUNDED, Direct, Quadratic, Reached, descend, is_lower

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.contracts.protocols import Checkpoint
    from fastsoftmax.contracts.proximal import Absolutes, ProximalObjective

NEEDS = frozenset({"prox", "hessp"})  # of an objective

# Up to so many parameters that are not zero, or about to be, their Hessian is one matrix, and steps
# of the model read no rows. Of groups it is that of all parameters.
MATRIX_ORDER, GROUPED_ORDER = 2048, 768
# A working set is grown by at most as many features as it has, and these at least.
MIN_GROWTH = 128
# The part of what a step gained that is left to gain on a working set before all features are looked at.
PART_GOAL = 0.1
MAX_MODEL_STEPS, MAX_PART_STEPS = 20, 4
MAX_DIRECT_STEPS = 8
MAX_HALVINGS = 20
MAX_SWEEPS = 10  # of coordinates, before the first Newton step of a model
SUFFICIENT_DECREASE = 1e-4


def minimize(
    objective: ProximalObjective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], str | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return the minimum of a smooth convex function plus absolute values of coefficients.

    Parameters
    ----------
    objective : Objective
        With the capability "prox"; its gradients are those of its smooth part.
    x0 : ndarray (size,), float64
    tol : float
        The relative suboptimality (F − F*) / F to stop at, certified or estimated (`Progress`).
    max_iter : int
        The most steps.
    callback : callable, optional
        Called with a `Record` and the parameters at the start and after each step.
    checkpoint : Checkpoint, optional
        Offered the state before each step but the first. If it has a stored state, x0 is ignored.

    Returns
    -------
    Solution
        Coefficients at zero are exactly zero.

    Notes
    -----
    A step takes the features in use, and those whose gradient is beyond what keeps them at zero, the
    farthest first; the others stay at zero, and their gradients are looked at after it [1]_. With few
    parameters it minimises the quadratic model there (`subspace`), from one Hessian, and halves the way to
    its minimum until F falls [2]_; with more it takes proximal and truncated Newton steps of F itself, on a
    copy of the columns. Where class blocks of the Hessian are known, quasi-Newton steps with these come first
    (`block_quasi_newton`), until signs have settled. Then one pass over all features gives F, the gradient
    and the bound.

    References
    ----------
    .. [1] J. Fan, J. Lv, T. Hastie et al., "Strong rules for discarding predictors in lasso-type problems",
       J. R. Stat. Soc. B 74 (2012), sec. 7: the check after.
    .. [2] J. D. Lee, Y. Sun, M. A. Saunders, "Proximal Newton-type methods for minimizing composite
       functions", SIAM J. Optim. 24 (2014).
    """
    progress = Progress(objective, tol, callback)
    stored = None if checkpoint is None else checkpoint.state()
    known = Known.of(objective, np.asarray(x0, dtype=np.float64))
    approaches = not known.is_ahead
    last: tuple[NDArray[np.intp], ProximalObjective | None] | None = None
    approach: Approach | None = None  # of all features, a step at a time
    if stored is None:
        x = np.array(x0, dtype=np.float64)
        point = Reached(x, *objective.value_and_grad(x))
        first, decrement, done = 0, np.inf, progress.at(*point)
    else:
        numbers, arrays = stored.numbers, stored.arrays
        first, value, decrement, approaches = (
            numbers[name] for name in ("n_steps", "value", "decrement", "approaches")
        )
        point, done = Reached(arrays["x"], value, arrays["grad"]), False
        last = arrays["features"], objective.of_features(arrays["features"])
        known.restore(last[1] or objective, arrays)  # before passes are told: they count for none
        if numbers["approach"] is not None:
            approach = Approach(objective)
            approach.restore(State(numbers["approach"], arrays))
        objective.restore(State(numbers["kept"], arrays))
        progress.resume(numbers["progress"], point.x)
    for n_steps in range(first, max_iter):
        if done:
            break
        if checkpoint is not None and last is not None and n_steps > first:
            numbers = {"n_steps": n_steps, "value": point.value, "decrement": decrement}
            numbers |= {"approaches": approaches, "approach": None}
            arrays = {**known.kept(last[1] or objective), "x": point.x, "grad": point.grad}
            arrays["features"] = last[0]
            checkpoint.offer(functools.partial(_state, numbers, arrays, objective, approach, progress))
        before = point
        if approach is None:
            features = _working_set(objective, point)
            if last is None or not np.isin(features, last[0]).all():
                last = features, objective.of_features(features)
                approaches = not known.is_ahead
            approaches = approaches and objective.has_class_blocks
            if approaches and last[1] is None:
                approach = Approach(objective)
        assert last is not None
        features, part = last
        if approach is not None:
            point = approach.step(point)
            if not approach.is_over:
                done = progress.at(*point)
                continue
            approach = None
        goal = PART_GOAL * min(decrement, point.value)
        known.served = False
        if known.is_ahead and progress.history[-1].gap is not None:
            goal = min(goal, PART_GOAL * progress.history[-1].gap)
        if part is None:
            point, new = _stepped(objective, point, goal, known, None, full=True)
        else:
            of_whole = known.places_of(objective, features)
            start = Reached(objective.part_of(point.x, features), point.value,
                            objective.part_of(point.grad, features))  # fmt: skip
            reached, new = _stepped(part, start, goal, known, of_whole, full=False, approaches=approaches)
            x = objective.whole_of(reached.x, features)
            point = Reached(x, *objective.value_and_grad(x))
        # Where a model's step gained much of what the step before did, signs have yet to settle.
        approaches, decrement = not known.served and new > PART_GOAL * decrement, new
        if np.array_equal(point.x, before.x):
            progress.stopped("no step lowers the objective any more at the precision of the products")
            break
        done = progress.at(*point, decrement)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(*point)


def _state(
    numbers: dict[str, Any],
    arrays: dict[str, Vector],
    objective: ProximalObjective,
    approach: Approach | None,
    progress: Progress,
) -> State:
    """Return the state between two steps; the next step builds everything else from it."""
    kept = objective.kept()
    numbers, arrays = {**numbers, "kept": kept.numbers}, {**kept.arrays, **arrays}
    if approach is not None:
        of_approach = approach.kept()
        numbers["approach"] = of_approach.numbers
        arrays |= of_approach.arrays
    numbers["progress"] = progress.state()
    return State(numbers, arrays)


def _working_set(objective: ProximalObjective, point: Reached) -> NDArray[np.intp]:
    """Return the features that the next step changes, ascending."""
    in_use = objective.in_use(point.x)
    excess = np.where(in_use, 0.0, objective.excess(point.grad))
    beyond = np.flatnonzero(excess > 1.0)
    n_new = max(MIN_GROWTH, int(np.count_nonzero(in_use)))
    if len(beyond) > n_new:
        farthest = np.argpartition(-excess[beyond], n_new)[:n_new]
        beyond = beyond[farthest]
    chosen = in_use.copy()
    chosen[beyond] = True
    return np.flatnonzero(chosen)


def _stepped(
    objective: ProximalObjective,
    point: Reached,
    goal: float,
    known: Known,
    of_whole: NDArray[np.intp] | None,
    *,
    full: bool,
    approaches: bool = False,
) -> tuple[Reached, float]:
    """Return a lower point of the objective, and what was to be gained by the last step.

    One step, or as many as it takes to leave less than `goal` unless `full`; after an approach, if it
    `approaches`.
    """
    decrement = np.inf
    if approaches:
        point, decrement = block_quasi_newton.descend(objective, point, goal)
        # What a quasi-Newton step gained is no estimate of what is left: without a bound, a model's is.
        if 0.0 < decrement <= goal and objective.has_lower_bound:
            return point, decrement
    for _ in range(1 if full else MAX_PART_STEPS):
        chosen = candidates(objective, point)
        if chosen is None:
            diagonal = objective.diagonal(point.x)
            function = Direct(objective, diagonal)
            new, left = descend(function, objective, point, diagonal, goal, 1 if full else MAX_DIRECT_STEPS)
            return new, min(left, max(point.value - new.value, 0.0))
        new, decrement = _model_step(objective, point, chosen, goal, known, of_whole)
        lower = new.x is not point.x
        point = new
        if decrement <= goal or not lower:
            break
    return point, decrement


def candidates(objective: ProximalObjective, point: Reached) -> NDArray[np.intp] | None:
    """Return the parameters of a quadratic model, ascending; None if they are too many for a matrix.

    Those that are not at zero, and those whose gradient is beyond what keeps them there.
    """
    rest = objective.least_subgradient(point.x, point.grad)
    free = objective.is_free(point.x)
    beyond = np.flatnonzero(~free & (rest != 0.0))
    n_free = int(np.count_nonzero(free))
    n_new = max(MIN_GROWTH, n_free)
    if len(beyond) > n_new:
        beyond = beyond[np.argpartition(-np.abs(rest[beyond]), n_new)[:n_new]]
    free[beyond] = True
    places = np.flatnonzero(free)
    if objective.bends:
        fits = objective.size <= GROUPED_ORDER and objective.has_explicit_hessian
        return np.arange(objective.size) if fits else None
    return places if len(places) <= min(MATRIX_ORDER, objective.reduced_order) else None


def _model_step(
    objective: ProximalObjective,
    point: Reached,
    places: NDArray[np.intp],
    goal: float,
    known: Known,
    of_whole: NDArray[np.intp] | None,
) -> tuple[Reached, float]:
    """Return the point of a proximal Newton step of some parameters, and what the model promised."""
    best, decrement = _target(objective, point, places, goal, known, of_whole)
    step = best.x - point.x[places]
    length = 1.0
    for _ in range(MAX_HALVINGS):
        x = point.x.copy()
        x[places] = best.x if length == 1.0 else point.x[places] + length * step
        trial = Reached(x, *objective.value_and_grad(x))
        if trial.value <= point.value - SUFFICIENT_DECREASE * length * decrement:
            if not objective.bends:
                known.learn(objective, trial.x - point.x, trial.grad - point.grad, of_whole)
            return trial, decrement if length == 1.0 else max(decrement, 2.0 * goal)
        if length * decrement <= ROUNDED * abs(point.value):
            return (trial if is_lower(objective, trial, point) else point), decrement
        length *= 0.5
    return point, decrement


def _target(
    objective: ProximalObjective,
    point: Reached,
    places: NDArray[np.intp],
    goal: float,
    known: Known,
    of_whole: NDArray[np.intp] | None,
) -> tuple[Reached, float]:
    """Return the minimum of the model of some parameters, (m,), and what it promises."""
    start = Reached(point.x[places], point.value, point.grad[places])
    if objective.bends:
        best = model_minimum(
            objective, objective, start, places, objective.hessian_matrix(point.x), 0.01 * goal
        )
        return best, start.value - best.value
    shape = objective.among(places)
    best, decrement = start, np.inf
    if known.serves(objective, places, of_whole):
        matrix = known.among(objective, places, of_whole)
        best = model_minimum(objective, shape, start, places, matrix, 0.01 * goal)
        decrement = start.value - best.value
    if decrement > SERVES * known.promised or decrement == np.inf:
        most = min(MATRIX_ORDER, objective.reduced_order)
        matrix = known.take(objective, point, places, of_whole, most)
        best = model_minimum(objective, shape, start, places, matrix, 0.01 * goal)
        decrement = start.value - best.value
    known.promised = decrement
    return best, decrement


def _swept(
    objective: ProximalObjective,
    model: Quadratic,
    start: Reached,
    matrix: Vector,
    thresholds: Vector,
    near: float,
) -> Reached:
    """Return the point of a model after a few sweeps of coordinate descent, which find most of the signs."""
    if not (matrix.diagonal() > 0.0).all():
        return start
    x, none = start.x.copy(), np.zeros((len(matrix), 0))
    objective.one_block(matrix).minimise(none, none, start.grad, thresholds, x, near, MAX_SWEEPS)
    reached = model.at(x)
    return reached if reached.value < start.value else start


def model_minimum(
    objective: ProximalObjective,
    shape: Absolutes,
    start: Reached,
    places: NDArray[np.intp],
    matrix: Vector,
    near: float,
) -> Reached:
    """Return the minimum of the quadratic model of some parameters to about `near`. No pass.

    `shape` is what the absolute values are to them, `start` where they are, `matrix` their Hessian.
    """
    model = Quadratic(shape, start, matrix)
    diagonal = matrix.diagonal().copy()
    thresholds = np.zeros(0) if objective.bends else objective.among(places).thresholds
    best = start if objective.bends else _swept(objective, model, start, matrix, thresholds, near)
    best, left = descend(model, shape, best, diagonal, near, MAX_MODEL_STEPS)
    if left > near and thresholds.any():
        sums = shape.flat_sums(thresholds == 0.0)
        inner = minimum(matrix, start.grad, start.x, thresholds, sums, max(0.01 * near, EPS * start.value))
        reached = model.at(inner)
        if reached.value < best.value:
            best, _ = descend(model, shape, reached, diagonal, near, MAX_MODEL_STEPS)
    return best
