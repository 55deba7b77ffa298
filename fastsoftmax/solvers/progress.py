"""What every solver does between its steps: measure, record, and see whether it is done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Record, Solution

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Vector
    from fastsoftmax.protocols import Objective

TINY = float(np.finfo(np.float64).tiny)
EPS = float(np.finfo(np.float64).eps)
# Without a penalty, separable classes have their optimum at infinity: the loss falls to zero and the
# coefficients grow for ever. Nothing is left to learn below this many nats a row.
SEPARATED = 1e-12
PASSES_A_BOUND = 60
WAIT_SHARE = 20  # one bound after another waits for so small a share of the passes there have been
# The certificate may need a gradient far smaller than F tells apart: steps are taken for its sake alone, as
# long as one in so many halves it.
STALLED = 20
# Float32 products do not resolve so small a share of F. And where the gradient leaves so little of the gap to
# stop at, but a larger one is found, the rounding of F is what lies between.
RESOLVED = 1e-8
ROUNDED = 0.1


class Progress:
    """The history of a minimisation and its stopping rule.

    Parameters
    ----------
    objective : Objective
    tol : float
        Stop once (F − F*) / max(F, tiny) is at most this: certified by a lower bound of F* where the
        objective has one, otherwise as the solver estimates it.
    callback : callable, optional
        Called with each `Record` and the parameters there.

    Notes
    -----
    A lower bound holds for good, so the best one so far serves every later point. A new one may cost a few
    passes over the data: it is asked for at a start that is not zero, when the solver's estimate and the
    gradient say that the goal is reached, then more and more rarely, otherwise after every 60 passes, and at
    the end.
    """

    def __init__(
        self, objective: Objective, tol: float, callback: Callable[[Record, Vector], None] | None
    ) -> None:
        self._objective = objective
        self._tol = tol
        self._callback = callback
        self._start = time.perf_counter()
        self._first_pass = objective.passes
        self._bound: float | None = None
        self._bound_pass = self._first_pass
        self._least_norm = np.inf
        self._still = 0
        self.history: list[Record] = []
        self.suboptimality = np.inf
        self.converged = False
        self.message = ""

    def state(self) -> dict[str, Any]:
        """Return what `resume` takes: all that the records and the stopping rule depend on."""
        return {
            "seconds": time.perf_counter() - self._start,
            "passes": self._objective.passes - self._first_pass,
            "bound": self._bound,
            "bound_pass": self._bound_pass - self._first_pass,
            "least_norm": self._least_norm,
            "still": self._still,
            "history": [list(record) for record in self.history],
        }

    def resume(self, state: dict[str, Any], x: Vector) -> None:
        """Go on at x from where `state` was asked for; what the objective has read so far does not count."""
        self._start = time.perf_counter() - state["seconds"]
        self._first_pass = self._objective.passes - state["passes"]
        self._bound = state["bound"]
        self._bound_pass = self._first_pass + state["bound_pass"]
        self._least_norm, self._still = state["least_norm"], state["still"]
        self.history = [Record(*line) for line in state["history"]]
        if self._callback is not None:
            self._callback(self.history[-1], x)

    def at(
        self, x: Vector, value: float, grad: Vector, decrement: float = np.inf, *, trusted: bool = True
    ) -> bool:
        """Record a point, and return whether to stop there.

        `decrement` is the solver's estimate of F − F*. Where it is not to be `trusted` it tells when a bound
        is worth its pass, but does not end the fit of an objective that has no bound.
        """
        if not np.isfinite(value):
            raise FloatingPointError(f"the objective became {value}; X or the parameters are too large")
        goal = self._goal(value)
        waited = self._objective.passes - self._bound_pass
        most = min(PASSES_A_BOUND, 1 + (self._objective.passes - self._first_pass) // WAIT_SHARE)
        warm = not self.history and x.any()  # such a start may be the end already
        resolved = RESOLVED * abs(value)
        least = decrement  # of what the gap may be; what the gradient leaves of it is looked at near the end
        if decrement <= max(goal, resolved):
            least = max(decrement, self._objective.likely_gap(grad))
        asked = warm or waited >= (most if least <= goal else PASSES_A_BOUND)
        if asked:
            self._improve_bound(x, value, grad)
        gap = None if self._bound is None else max(value - self._bound, 0.0)
        record = Record(
            time.perf_counter() - self._start,
            value,
            self._objective.algebra.norm(grad),
            gap,
            self._objective.passes - self._first_pass,
        )
        self.history.append(record)
        if self._callback is not None:
            self._callback(record, x)
        estimate = decrement if trusted and not self._objective.has_lower_bound else np.inf
        excess = estimate if gap is None else gap
        self.suboptimality = excess / max(abs(value), TINY)
        if excess <= goal or record.grad_norm == 0.0:
            self.converged = True
            self.message = "estimated by the Newton decrement" if gap is None else "certified"
        elif not self._objective.has_lower_bound and value <= SEPARATED:
            self.message = (
                f"the loss fell below {SEPARATED:g} nats a row: the classes are separable, and without a "
                "penalty the coefficients grow without bound"
            )
        if decrement > EPS * abs(value) or record.grad_norm < 0.5 * self._least_norm:
            self._least_norm, self._still = record.grad_norm, 0
        else:
            self._still += 1
        rounded = least <= ROUNDED * goal if asked else goal < resolved and least <= resolved
        if rounded and excess > goal and self._objective.has_finer:
            self._still = STALLED
        return bool(self.message)

    def _goal(self, value: float) -> float:
        return self._tol * max(abs(value), TINY)

    @property
    def goal(self) -> float:
        """The F − F* to stop at, as of the last point."""
        return self._goal(self.history[-1].objective)

    @property
    def stalled(self) -> bool:
        """Whether steps promise less than the rounding of F, and have not halved the gradient for long.

        Where there are finer products, promising so little is enough.
        """
        return self._still >= STALLED

    def _improve_bound(self, x: Vector, value: float, grad: Vector) -> None:
        bound = self._objective.lower_bound(x, value, grad)
        self._bound_pass = self._objective.passes
        if bound is not None:
            self._bound = bound if self._bound is None else max(bound, self._bound)

    def finer(
        self, x: Vector, value: float, grad: Vector, decrement: float
    ) -> tuple[Objective, float, Vector] | None:
        """Go on where no step lowers the objective any more at the precision of the products.

        Returns the objective's more precise form, with F and ∇F at x; None where there is none, or that
        precision was enough: then this is the end. The arguments are those of `at`.
        """
        if self.at(x, value, grad, decrement):
            return None
        objective = self._objective.finer()
        if objective is None:
            self.stopped("no step lowers the objective any more at the precision of the products")
            return None
        self._objective = objective
        self._least_norm, self._still = np.inf, 0
        # It bounds another function, by some roundings.
        self._bound, self._bound_pass = None, self._first_pass
        return objective, *objective.value_and_grad(x)

    def stopped(self, message: str) -> None:
        """Note why the solver ended short of the tolerance."""
        self.message = message

    def solution(self, x: Vector, value: float, grad: Vector) -> Solution:
        """Return what was reached."""
        if self._bound is None:
            self._improve_bound(x, value, grad)
        gap = None if self._bound is None else max(value - self._bound, 0.0)
        if gap is not None:
            self.suboptimality = gap / max(abs(value), TINY)
            self.converged |= self.suboptimality <= self._tol
            self.history[-1] = self.history[-1]._replace(gap=gap)
        return Solution(
            x,
            value,
            grad,
            gap,
            self.suboptimality,
            self.converged,
            self.message,
            self.history,
        )


def refined_if(objective: Objective, refined: bool) -> Objective:
    """Return the objective that a state was kept with: this one, or its more precise form."""
    if not refined:
        return objective
    finer = objective.finer()
    if finer is None:
        raise ValueError("the state kept was reached with more precise products than this objective has")
    return finer
