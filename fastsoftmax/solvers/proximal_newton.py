"""Proximal Newton method on working sets of features, for penalties with absolute values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.solvers import block_quasi_newton
from fastsoftmax.solvers.interior_point import EPS, minimum
from fastsoftmax.solvers.progress import Progress
from fastsoftmax.solvers.subspace import ROUNDED, Direct, Quadratic, Reached, descend, is_lower

if TYPE_CHECKING:
    from collections.abc import Callable

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
MAX_MODEL_STEPS, MAX_PART_STEPS = 10, 4
MAX_DIRECT_STEPS = 8
MAX_HALVINGS = 20
# A step that promises so small a part of F leaves the Hessian as it is, for the next step's purposes.
NEAR = 1e-6
SUFFICIENT_DECREASE = 1e-4


class Known:
    """The Hessian of the last model, which serves the next as well if the step between them was short."""

    def __init__(self) -> None:
        self.is_near = False
        self._objective: ProximalObjective | None = None
        self._places: NDArray[np.intp] = np.empty(0, np.intp)
        self._matrix: Vector = np.empty((0, 0))

    def hessian(self, objective: ProximalObjective, point: Reached, places: NDArray[np.intp]) -> Vector:
        """Return the smooth function's Hessian among some parameters, at a point or near it."""
        if not (self.is_near and objective is self._objective and np.isin(places, self._places).all()):
            self._objective, self._places = objective, places
            self._matrix = objective.reduced_hessian(point.x, places)
            return self._matrix
        among = np.searchsorted(self._places, places)
        return np.ascontiguousarray(self._matrix[np.ix_(among, among)])


def minimize(
    objective: ProximalObjective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], None] | None = None,
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
    checkpoint : None
        States are not stored.

    Returns
    -------
    Solution
        Coefficients at zero are exactly zero.

    Raises
    ------
    ValueError
        If a checkpoint is given.

    Notes
    -----
    A step takes the features in use, and those whose gradient is beyond what keeps them at zero, the
    farthest first; the others stay at zero, and their gradients are looked at after it [1]_. With few
    parameters it minimises the quadratic model there (`subspace`), from one Hessian, and halves the way to
    its minimum until F falls [2]_; with more it takes proximal and truncated Newton steps of F itself, on a
    copy of the columns. Then one pass over all features gives F, the gradient and the bound.

    References
    ----------
    .. [1] J. Fan, J. Lv, T. Hastie et al., "Strong rules for discarding predictors in lasso-type problems",
       J. R. Stat. Soc. B 74 (2012), sec. 7: the check after.
    .. [2] J. D. Lee, Y. Sun, M. A. Saunders, "Proximal Newton-type methods for minimizing composite
       functions", SIAM J. Optim. 24 (2014).
    """
    if checkpoint is not None:
        raise ValueError("solver 'proximal-newton' stores no checkpoints")
    progress = Progress(objective, tol, callback)
    x = np.array(x0, dtype=np.float64)
    point = Reached(x, *objective.value_and_grad(x))
    done = progress.at(*point)
    last: tuple[NDArray[np.intp], ProximalObjective | None] | None = None
    decrement, approach, known = np.inf, True, Known()

    def at(reached: Reached) -> bool:
        return progress.at(*reached)

    for _ in range(max_iter):
        if done:
            break
        features = _working_set(objective, point)
        if last is None or not np.isin(features, last[0]).all():
            last = features, objective.of_features(features)
            approach = True
        features = last[0]
        part = last[1]
        approach = approach and objective.has_class_blocks
        before = point
        goal = PART_GOAL * min(decrement, point.value)
        if part is None:
            point, new = _stepped(objective, point, goal, known, full=True, approach=approach, at=at)
        else:
            start = Reached(objective.part_of(point.x, features), point.value,
                            objective.part_of(point.grad, features))  # fmt: skip
            reached, new = _stepped(part, start, goal, known, full=False, approach=approach)
            x = objective.whole_of(reached.x, features)
            point = Reached(x, *objective.value_and_grad(x))
        # Where a model's step gained much of what the step before did, signs have yet to settle.
        approach, decrement = new > PART_GOAL * decrement, new
        if np.array_equal(point.x, before.x):
            progress.stopped("no step lowers the objective any more at the precision of the products")
            break
        done = progress.at(*point, decrement)
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(*point)


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
    *,
    full: bool,
    approach: bool,
    at: Callable[[Reached], bool] | None = None,
) -> tuple[Reached, float]:
    """Return a lower point of the objective, and what was to be gained by the last step.

    One step, or as many as it takes to leave less than `goal` unless `full`.
    """
    decrement = np.inf
    if approach:
        start = point
        point, decrement = block_quasi_newton.descend(objective, point, 0.0 if full else goal, at=at)
        if (decrement <= goal and not full) or decrement == 0.0 < start.value - point.value:
            return point, decrement
    for _ in range(1 if full else MAX_PART_STEPS):
        candidates = _candidates(objective, point)
        if candidates is None:
            diagonal = objective.diagonal(point.x)
            function = Direct(objective, diagonal)
            new, left = descend(function, objective, point, diagonal, goal, 1 if full else MAX_DIRECT_STEPS)
            return new, min(left, max(point.value - new.value, 0.0))
        new, decrement = _model_step(objective, point, candidates, goal, known)
        lower = new.x is not point.x
        point = new
        if decrement <= goal or not lower:
            break
    return point, decrement


def _candidates(objective: ProximalObjective, point: Reached) -> NDArray[np.intp] | None:
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
    objective: ProximalObjective, point: Reached, places: NDArray[np.intp], goal: float, known: Known
) -> tuple[Reached, float]:
    """Return the point of a proximal Newton step of some parameters, and what the model promised."""
    shape: Absolutes = objective
    if objective.bends:
        matrix = objective.hessian_matrix(point.x)
    else:
        matrix, shape = known.hessian(objective, point, places), objective.among(places)
    start = Reached(point.x[places], point.value, point.grad[places])
    model = Quadratic(shape, start, matrix)
    diagonal, near = matrix.diagonal().copy(), 0.01 * goal
    best, left = descend(model, shape, start, diagonal, near, MAX_MODEL_STEPS)
    if left > near and not objective.bends:
        thresholds = objective.among(places).thresholds
        sums = shape.flat_sums(thresholds == 0.0)
        inner = minimum(matrix, start.grad, start.x, thresholds, sums, max(0.01 * near, EPS * start.value))
        reached = model.at(inner)
        if reached.value < best.value:
            best, _ = descend(model, shape, reached, diagonal, near, MAX_MODEL_STEPS)
    decrement = start.value - best.value
    known.is_near = decrement <= NEAR * start.value
    step = best.x - start.x
    length = 1.0
    for _ in range(MAX_HALVINGS):
        x = point.x.copy()
        x[places] = best.x if length == 1.0 else start.x + length * step
        trial = Reached(x, *objective.value_and_grad(x))
        if trial.value <= point.value - SUFFICIENT_DECREASE * length * decrement:
            return trial, decrement if length == 1.0 else max(decrement, 2.0 * goal)
        if length * decrement <= ROUNDED * abs(point.value):
            return (trial if is_lower(objective, trial, point) else point), decrement
        length *= 0.5
    return point, decrement
