"""Newton's method with a Cholesky factor of the whole Hessian, for few parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.solvers.newton import descend

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Record, Solution, Vector
    from fastsoftmax.contracts.protocols import Checkpoint, Objective

NEEDS = frozenset({"gradient", "inverse_hessian"})  # of an objective


def minimize(
    objective: Objective,
    x0: Vector,
    *,
    tol: float = 1e-6,
    max_iter: int = 1000,
    callback: Callable[[Record, Vector], str | None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return the minimum of a smooth convex objective by exact Newton steps.

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
    A step costs one pass and n (K d)² flops for the Hessian, (K d)³ / 3 for its factor, and one pass for each
    step length tried.
    """
    return descend(
        _exact, objective, x0, tol=tol, max_iter=max_iter, callback=callback, checkpoint=checkpoint
    )


def _exact(objective: Objective, x: Vector, grad: Vector, forcing: float) -> Vector:
    """Return −(∇²F)⁻¹ ∇F; the system is solved exactly: `forcing` is not used."""
    return objective.inverse_hessian(x)(-grad)
