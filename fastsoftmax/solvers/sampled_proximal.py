"""Proximal Newton method for penalties with absolute values, of rows whose reading is dear."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.solvers import proximal_newton
from fastsoftmax.solvers.progress import TINY, Progress
from fastsoftmax.solvers.proximal_newton import model_minimum
from fastsoftmax.solvers.subspace import ROUNDED, Reached, is_lower

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.contracts.protocols import Checkpoint
    from fastsoftmax.contracts.proximal import ModelledProximal, ProximalObjective

NEEDS = frozenset({"prox_model", "free_bound"})  # of an objective

CHOICES = 4  # of rows: at the start, and after the first steps
# How exactly a model is minimised: to this part of what the last step gained, relative to F, between limits.
MODEL_PART, LOOSEST, TIGHTEST = 1e-3, 1e-4, 1e-22
MODEL_STEPS = 30
SUFFICIENT_DECREASE = 1e-4
# A model by rows is damped more, by this factor, if F falls by less than the first part of what it promises,
# and less if by more than the second.
GROWTH, POOR, GOOD = 4.0, 0.25, 0.75
MAX_TRIALS = 12


class _Target(NamedTuple):
    """The minimum of a model, and what it promises."""

    x: Vector
    promised: float


def minimize(
    objective: ModelledProximal,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], str | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return the minimum of a smooth convex function plus absolute values of coefficients, in few passes.

    Parameters
    ----------
    objective : Objective
        With the capability "prox_model"; its gradients are those of its smooth part.
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
    A step ends at the minimum of a model with the absolute values of F, for which no rows are read: of the
    quadratic whose Hessian the last pass summed, if that has all parameters that are to change [1]_; else of
    the loss of chosen rows, tilted to the gradient of all [2]_. One pass gives F and its gradient there, the
    bound, and the Hessian of the parameters that the model leaves next to be changed. Where F does not fall
    the model by rows is damped.

    References
    ----------
    .. [1] J. D. Lee, Y. Sun, M. A. Saunders, "Proximal Newton-type methods for minimizing composite
       functions", SIAM J. Optim. 24 (2014).
    .. [2] O. Shamir, N. Srebro, T. Zhang, "Communication-efficient distributed optimization using an
       approximate Newton-type method", ICML 2014.
    """
    progress = Progress(objective, tol, callback)
    stored = None if checkpoint is None else checkpoint.state()
    if stored is None:
        x = np.array(x0, dtype=np.float64)
        point = Reached(x, *objective.value_and_grad(x, chooses=True))
        first, n_choices, gained, done = 0, 1, np.inf, progress.at(*point)
        damping = objective.damping(x)
    else:
        names = ("n_steps", "n_choices", "gained", "damping", "value")
        first, n_choices, gained, damping, value = (stored.numbers[name] for name in names)
        point, done = Reached(stored.arrays["x"], value, stored.arrays["grad"]), False
        objective.restore(State(stored.numbers["kept"], stored.arrays))
        progress.resume(stored.numbers["progress"], point.x)
    for n_steps in range(first, max_iter):
        if done:
            break
        if checkpoint is not None and n_steps > first:
            numbers = {"n_steps": n_steps, "n_choices": n_choices, "gained": gained, "damping": damping}
            checkpoint.offer(functools.partial(_state, numbers, objective, point, progress))
        before = point
        target = _of_hessian(objective, point, gained)
        if target is not None:
            model = objective.model(before.x, before.grad, damping)
            point = _tried(objective, model, before, target, chooses=False)
        for _ in range(MAX_TRIALS):
            if point is not before:
                break
            model = objective.model(before.x, before.grad, damping)
            target = _of_rows(model, before, gained)
            point = _tried(objective, model, before, target, chooses=n_choices < CHOICES)
            n_choices += 1
            if target.promised <= ROUNDED * abs(before.value):
                break
            ratio = (before.value - point.value) / target.promised
            damping = damping * GROWTH if ratio < POOR else damping / GROWTH if ratio > GOOD else damping
        if point is before or target is None:
            progress.stopped("no step lowers the objective any more at the precision of the products")
            break
        gained = max(before.value - point.value, 0.0)
        done = progress.at(*point, max(target.promised, gained))
    else:
        if not done:
            progress.stopped(f"max_iter={max_iter} steps were taken")
    return progress.solution(*point)


def _of_hessian(objective: ModelledProximal, point: Reached, gained: float) -> _Target | None:
    """Return the minimum of the quadratic by the Hessian that was summed; None if too much is beside it.

    That is a parameter in use, or more to be gained from others than from those that it has.
    """
    known = objective.known_hessian(point.x)
    if known is None:
        return None
    places, matrix = known
    beside = np.ones(len(point.x), bool)
    beside[places] = False
    if (objective.is_free(point.x) & beside).any():
        return None
    shape = objective if objective.bends else objective.among(places)
    start = Reached(point.x[places], point.value, point.grad[places])
    best = model_minimum(objective, shape, start, places, matrix, _accuracy(point, gained) * abs(point.value))
    x = point.x.copy()
    x[places] = best.x
    target = _Target(x, start.value - best.value)
    rest = objective.least_subgradient(point.x, point.grad)[beside]
    gains = objective.steps(objective.diagonal_of_last(point.x))[beside] * rest**2
    return target if 0.5 * float(gains.sum()) <= target.promised else None


def _of_rows(model: ProximalObjective, point: Reached, gained: float) -> _Target:
    """Return the minimum of the model by chosen rows."""
    value = model.value_and_grad(point.x)[0]
    solution = proximal_newton.minimize(
        model, point.x, tol=_accuracy(point, gained) * abs(point.value) / max(abs(value), TINY),
        max_iter=MODEL_STEPS,
    )  # fmt: skip
    return _Target(solution.x, value - solution.value)


def _accuracy(point: Reached, gained: float) -> float:
    """Return how exactly to minimise a model, relative to F."""
    return float(np.clip(MODEL_PART * gained / max(abs(point.value), TINY), TIGHTEST, LOOSEST))


def _tried(
    objective: ModelledProximal, model: ProximalObjective, point: Reached, target: _Target, *, chooses: bool
) -> Reached:
    """Return the target, if F is low enough there, else `point`. One pass."""
    x = target.x
    if np.array_equal(x, point.x):
        return point
    objective.expect(x, model.value_and_grad(x)[1])
    trial = Reached(x, *objective.value_and_grad(x, chooses=chooses))
    lower = trial.value <= point.value - SUFFICIENT_DECREASE * target.promised
    return trial if lower or is_lower(objective, trial, point) else point


def _state(
    numbers: dict[str, float], objective: ModelledProximal, point: Reached, progress: Progress
) -> State:
    """Return the state between two steps; the next step builds everything else from the point."""
    kept = objective.kept()
    return State(
        {**numbers, "value": point.value, "kept": kept.numbers, "progress": progress.state()},
        {**kept.arrays, "x": point.x, "grad": point.grad},
    )
