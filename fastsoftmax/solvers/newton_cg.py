"""Truncated Newton method: the Newton system is solved roughly, by preconditioned conjugate gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.solvers.newton import descend

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.contracts.protocols import Checkpoint, Objective

# Conjugate-gradient iterations a step, a pass each: after those, a step with a new preconditioner gains more.
MAX_INNER = 250

NEEDS = frozenset({"gradient", "hessp", "preconditioner"})  # of an objective


def minimize(
    objective: Objective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], str | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return the minimum of a smooth convex objective by truncated Newton steps.

    Parameters
    ----------
    objective : Objective
    x0 : ndarray (size,), float64
    tol : float
        The relative suboptimality (F − F*) / F to stop at, certified or estimated (`Progress`).
    max_iter : int
        The most Newton steps.
    callback : callable, optional
        Called with a `Record` and the parameters at the start and after each step.
    checkpoint : Checkpoint, optional
        Offered the state before each step but the first. If it has a stored state, x0 is ignored.

    Returns
    -------
    Solution

    Notes
    -----
    A step costs one pass for the preconditioner, one for each inner iteration, and one for each step length
    tried. The inner solve ends at a relative residual of min(¼, √(‖g‖ / ‖g₀‖)) in the preconditioner's norm
    (a forcing sequence [1]_): loose far from the optimum, tight near it. If the objective no longer resolves
    a step, a step that shrinks the gradient is taken (the approximate Wolfe condition [2]_). Extra memory:
    about ten float64 vectors.

    References
    ----------
    .. [1] R. S. Dembo, S. C. Eisenstat, T. Steihaug, "Inexact Newton methods", SIAM J. Numer. Anal. 19
       (1982).
    .. [2] W. W. Hager, H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient
       line search", SIAM J. Optim. 16 (2005).
    """
    return descend(
        _conjugate_gradients,
        objective,
        x0,
        tol=tol,
        max_iter=max_iter,
        callback=callback,
        checkpoint=checkpoint,
    )


def _conjugate_gradients(objective: Objective, x: Vector, grad: Vector, forcing: float) -> Vector:
    """Return s with ∇²F s ≈ −∇F, to a relative residual of `forcing`, by preconditioned conjugate gradients.

    −M⁻¹ ∇F if not a single iteration is possible. One Hessian-vector product an iteration.
    """
    algebra = objective.algebra
    precondition = objective.preconditioner(x)
    multiply = objective.hessian(x)
    step = np.zeros_like(x)
    residual = -grad
    scaled = precondition(residual)
    direction = scaled.copy()
    energy = algebra.dot(residual, scaled)
    target = forcing**2 * energy
    for _ in range(MAX_INNER):
        if energy <= target or energy <= 0.0:
            break
        product = multiply(direction)
        curvature = algebra.dot(direction, product)
        if curvature <= 0.0:  # rounding, or a direction along which F is flat
            break
        length = energy / curvature
        algebra.moved(step, direction, length, out=step)
        algebra.moved(residual, product, -length, out=residual)
        scaled = precondition(residual)
        energy, before = algebra.dot(residual, scaled), energy
        algebra.moved(scaled, direction, energy / before, out=direction)
    return step if step.any() else precondition(-grad)
