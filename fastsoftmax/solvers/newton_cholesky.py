"""Newton's method with the Hessian itself, factorised, where that is small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.solvers.newton import descend

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.protocols import Checkpoint, Objective


def minimize(
    objective: Objective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return the minimum of a smooth convex objective by Newton steps.

    Parameters
    ----------
    objective : Objective
    x0 : ndarray (size,), float64
    tol : float
        Relative suboptimality to stop at, as `Progress` judges it.
    max_iter : int
        The most Newton steps.
    callback : callable, optional
        Called with a `Record` and the parameters at the start and after each step.
    checkpoint : Checkpoint, optional
        Is offered the state before each step but the first. With a state it has, x0 is not looked at.

    Returns
    -------
    Solution

    Notes
    -----
    A step costs one pass and n (K d)² flops for the Hessian, (K d)³ / 3 for its factor, and one pass for each
    step length tried.
    """
    return descend(
        _exact, objective, x0, tol=tol, max_iter=max_iter, callback=callback, checkpoint=checkpoint
    )


def _exact(objective: Objective, x: Vector, grad: Vector, forcing: float) -> Vector:
    """Return −(∇²F)⁻¹ ∇F; no residual is left that `forcing` could allow."""
    return objective.inverse_hessian(x)(-grad)
