"""Proximal quasi-Newton steps: class blocks of the Hessian, corrected by pairs, with absolute values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.solvers.subspace import ROUNDED, Reached, is_lower

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.proximal import ProximalObjective

N_PAIRS = 10
# A model is minimised to this part of what its diagonal promises, in so many sweeps at most: those of nearly
# dependent columns would go on for thousands, and the next gradient tells more.
INEXACT, MAX_SWEEPS = 0.01, 100
# After how many steps blocks are summed anew: twice as many each time, as the point moves less and less.
FIRST_REBUILD = 2
# Few parameters that are about to come in wait so many steps, as blocks are summed anew for them.
FEW, PATIENCE = 0.1, 8
MIN_GROWTH = 512  # parameters that may come in at a time, if not as many as there are
# With the signs of so many steps before, a Newton step on what is not zero ends sooner.
SETTLED = 3
MAX_STEPS = 400
SUFFICIENT_DECREASE = 1e-4
MAX_HALVINGS = 20


class Metric:
    """Blocks B of the Hessian at some point, and the pairs (s, y) of steps since: L-BFGS's matrix from B.

    Parameters
    ----------
    objective : ProximalObjective
    x : ndarray (size,)
        Where the blocks are taken.
    places : ndarray (m,), int
        The parameters that steps change.
    """

    def __init__(self, objective: ProximalObjective, x: Vector, places: NDArray[np.intp]) -> None:
        self.places, self.blocks = objective.class_blocks(x, places)

    def low_rank(self, pairs: list[tuple[Vector, Vector]]) -> tuple[Vector, Vector]:
        """Return U, V (m, 2 p) of the matrix B − U Vᵀ of the pairs [1]_.

        .. [1] R. Byrd, J. Nocedal, R. Schnabel, "Representations of quasi-Newton matrices and their use in
           limited memory methods", Math. Programming 63 (1994), theorem 2.3.
        """
        m = len(self.places)
        among = [(s[self.places], y[self.places]) for s, y in pairs]
        among = [(s, y) for s, y in among if is_curved(s, y)]  # parameters that are out may have had it all
        if not among:
            return np.zeros((m, 0)), np.zeros((m, 0))
        steps, changes = (np.stack(vectors, axis=1) for vectors in zip(*among))
        images = self.blocks.product(steps)
        cross = steps.T @ changes
        lower = np.tril(cross, -1)
        middle = np.block([[steps.T @ images, lower], [lower.T, -np.diag(np.diag(cross))]])
        low = np.concatenate((images, changes), axis=1)
        return low, np.ascontiguousarray(np.linalg.solve(middle, low.T).T)


def descend(
    objective: ProximalObjective,
    point: Reached,
    goal: float,
    max_steps: int = MAX_STEPS,
    at: Callable[[Reached], bool] | None = None,
) -> tuple[Reached, float]:
    """Return a point from which a step promises at most `goal`, or one whose signs have settled.

    Parameters
    ----------
    objective : ProximalObjective
        Whose absolute values are those of single parameters.
    point : Reached
    goal : float
        In nats.
    max_steps : int
    at : callable, optional
        Called with the point after each step; True ends it.

    Returns
    -------
    point : Reached
    decrease : float
        Of the last step; 0 if none lowers F.

    Notes
    -----
    A step goes to the minimum of g · s + ½ sᵀ M s + Σ t |x + s|, by coordinate descent, with M of `Metric`
    [1]_; then it is halved until F falls. A pass a step, and those of the blocks.

    References
    ----------
    .. [1] K. Scheinberg, X. Tang, "Practical inexact proximal quasi-Newton method with global complexity
       analysis", Math. Programming 160 (2016).
    """
    thresholds = objective.among(np.arange(objective.size)).thresholds
    pairs: list[tuple[Vector, Vector]] = []
    metric, rebuild, since, settled = None, FIRST_REBUILD, 0, 0
    decrease = np.inf
    member = np.zeros(objective.size, dtype=bool)
    for _ in range(min(max_steps, MAX_STEPS)):
        newcomers = _beyond(objective, point, member)
        enough = len(newcomers) > FEW * np.count_nonzero(member)
        if metric is None or enough or since >= rebuild or (since >= PATIENCE and len(newcomers)):
            if since >= rebuild:
                rebuild *= 2
                member[:] = False
            member[objective.is_free(point.x)] = True
            member[newcomers] = True
            metric, since = Metric(objective, point.x, np.flatnonzero(member)), 0
        since += 1
        x, places = point.x.copy(), metric.places
        part = x[places]
        inner = _promise(objective, point, metric)
        try:
            low, scaled = metric.low_rank(pairs)
            metric.blocks.minimise(
                 low, scaled, point.grad[places], thresholds[places], part, INEXACT * inner,
                MAX_SWEEPS,
            )  # fmt: skip
        except (np.linalg.LinAlgError, FloatingPointError):
            pairs = []  # rounding has made the matrix indefinite
            low, scaled = metric.low_rank(pairs)
            metric.blocks.minimise(
                 low, scaled, point.grad[places], thresholds[places], part, INEXACT * inner,
                MAX_SWEEPS,
            )  # fmt: skip
        x[places] = part
        new = _lowered(objective, point, x, thresholds)
        if new is point:
            if not pairs:
                return point, 0.0
            pairs = []
            continue
        step, change = new.x - point.x, new.grad - point.grad
        if is_curved(step, change):
            pairs = [*pairs[1 - N_PAIRS :], (step, change)]
        settled = settled + 1 if np.array_equal(np.sign(new.x), np.sign(point.x)) else 0
        decrease = point.value - new.value
        point = new
        if at is not None and at(point):
            return point, 0.0
        if decrease <= goal or (settled >= SETTLED and not len(newcomers)):
            break
    return point, max(decrease, 0.0)


def is_curved(step: Vector, change: Vector) -> bool:
    """Return whether a pair has a curvature that rounding cannot have made."""
    return bool(step @ change > 1e-10 * np.linalg.norm(step) * np.linalg.norm(change))


def _beyond(objective: ProximalObjective, point: Reached, member: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the parameters at zero, not among the members, that the gradient moves."""
    rest = np.where(
        member | objective.is_free(point.x), 0.0, objective.least_subgradient(point.x, point.grad)
    )
    beyond = np.flatnonzero(rest)
    n_new = max(MIN_GROWTH, int(np.count_nonzero(member)))
    if len(beyond) > n_new:
        beyond = beyond[np.argpartition(-np.abs(rest[beyond]), n_new)[:n_new]]
    return beyond


def _promise(objective: ProximalObjective, point: Reached, metric: Metric) -> float:
    """Return what a step in the blocks' diagonal could gain at most."""
    rest = objective.least_subgradient(point.x, point.grad)[metric.places]
    return 0.5 * float(rest**2 @ (1.0 / metric.blocks.diagonal()))


def _lowered(objective: ProximalObjective, point: Reached, x: Vector, thresholds: Vector) -> Reached:
    """Return the first lower point on the way from `point` to x, in halves; `point` if there is none."""
    step = x - point.x
    slope = float(point.grad @ step) + float(thresholds @ (np.abs(x) - np.abs(point.x)))
    length = 1.0
    for _ in range(MAX_HALVINGS):
        trial_x = x if length == 1.0 else point.x + length * step
        trial = Reached(trial_x, *objective.value_and_grad(trial_x))
        if trial.value <= point.value + SUFFICIENT_DECREASE * length * slope:
            return trial
        if -length * slope <= ROUNDED * abs(point.value):
            return trial if is_lower(objective, trial, point) else point
        length *= 0.5
    return point
