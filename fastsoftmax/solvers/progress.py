"""The history and the stopping rule that all solvers share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastsoftmax.contracts import Record, Solution

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.protocols import Objective
    from fastsoftmax.contracts.proximal import ProximalObjective

TINY = float(np.finfo(np.float64).tiny)
EPS = float(np.finfo(np.float64).eps)
# Without a penalty, separable classes have their optimum at infinity: the loss falls to zero while the
# coefficients grow without limit. Below this many nats a row nothing is left to learn.
SEPARATED = 1e-12
# A bound costs two passes or a few more. It is computed after so many passes in any case: a thirtieth of the
# time, against a fit that goes on although it could be certified.
PASSES_A_BOUND = 60
# Bounds that are expected to certify the fit, but do not, are 1 / WAIT_FRACTION of all passes apart.
WAIT_FRACTION = 20
# The certificate may need a gradient far smaller than the precision of F resolves: steps are taken for its
# sake alone, as long as one in so many halves the gradient's norm.
STALLED = 20
# With float32 products that the solver's estimate no longer needs, so few: what is left is rounding.
STALLED_FLOAT32 = 6
# Where the gradient's gap is so many times the goal, the penalty is too weak for it: a corrected bound costs
# less than the steps to a gradient that small. A gradient that no longer falls is corrected in any case,
# after UNCHANGED steps.
WEAK = 100.0
UNCHANGED = 5  # steps in which the gradient's norm has not halved, though the estimate has reached the goal
# The part of the gradient's norm that a corrected bound asks for, at which it is tried again.
MARGIN = 0.7
# The fraction of F below which float32 products do not resolve differences. And if the gradient predicts less
# than ROUNDED of the gap to stop at, but a larger gap is found, the rest is the rounding of F.
RESOLVED = 1e-8
ROUNDED = 0.1
# The most that float32 products, or float32 storage, may hide, as a fraction of the F − F* to stop at.
HIDDEN = 0.25


class Progress:
    """The history of a minimisation and its stopping rule.

    Parameters
    ----------
    objective : Objective
    tol : float
        Stop once (F − F*) / max(F, tiny) is at most this: certified by a lower bound of F* where the
        objective has one, otherwise by the solver's estimate.
    callback : callable, optional
        Called with each `Record` and the parameters there. If it returns a reason, the fit ends there, with
        that message.
    margin : float
        The part of `tol` to go on to; `tol` itself is what a solution has to meet.

    Notes
    -----
    A lower bound of F* holds at every point, so the best one so far serves all later points. A new one may
    cost a few passes over the data: it is computed at a start that is not zero; when the solver's estimate
    and the gradient predict that it will certify the goal, then at growing intervals; otherwise after every
    60 passes; and at the end. Where the estimate has reached the goal, but the gradient is far from what that
    bound asks for (a weak penalty, or float32 products that do not resolve such a gradient), it is the
    corrected bound (`Objective.corrected_bound`), as soon as the gradient's norm is as small as the last
    attempt found to be necessary.

    Where products are float32, F at the last point is corrected to that of float64 products at the parameters
    as they will be stored (`Objective.as_stored`). The gap then includes what was hidden; if that is too much
    for the tolerance, the objective has to go on in float64. A corrected bound hides nothing.
    """

    def __init__(
        self,
        objective: Objective,
        tol: float,
        callback: Callable[[Record, Vector], str | None] | None,
        *,
        margin: float = 1.0,
    ) -> None:
        self._objective = objective
        self._tol, self._margin = tol, margin
        self._callback = callback
        self._is_smooth = "gradient" in objective.offers
        self._bound_is_free = "free_bound" in objective.offers
        self._start = time.perf_counter()
        self._first_pass = objective.passes
        self._bound: float | None = None
        self._bound_pass = self._first_pass
        self._is_corrected = False  # whether the bound is a corrected one
        self._awaited_norm = np.inf  # of the gradient, before a corrected bound is tried again
        self._least_norm = np.inf
        self._stalled_steps = 0
        self._checked: tuple[float, float] | None = None  # F as stored at the last point, and the correction
        self._doubted = False  # whether float32 products hid too much
        self.history: list[Record] = []
        self.suboptimality = np.inf
        self.converged = False
        self.message = ""

    def state(self) -> dict[str, Any]:
        """Return the state for `resume`: everything that the records and the stopping rule depend on."""
        return {
            "seconds": time.perf_counter() - self._start,
            "passes": self._objective.passes - self._first_pass,
            "bound": self._bound,
            "bound_pass": self._bound_pass - self._first_pass,
            "is_corrected": self._is_corrected,
            "awaited_norm": self._awaited_norm,
            "least_norm": self._least_norm,
            "still": self._stalled_steps,
            "doubted": self._doubted,
            "history": [list(record) for record in self.history],
        }

    def resume(self, state: dict[str, Any], x: Vector, *, announce: bool = True) -> None:
        """Continue at x from the result of `state`; passes that the objective has made since do not count.

        `announce` calls the callback with the last record.
        """
        self._start = time.perf_counter() - state["seconds"]
        self._first_pass = self._objective.passes - state["passes"]
        self._bound = state["bound"]
        self._bound_pass = self._first_pass + state["bound_pass"]
        self._least_norm, self._stalled_steps = state["least_norm"], state["still"]
        # Files of earlier versions do not have these.
        self._doubted = state.get("doubted", False)
        self._is_corrected = state.get("is_corrected", False)
        self._awaited_norm = state.get("awaited_norm", np.inf)
        self.history = [Record(*line) for line in state["history"]]
        if announce and self._callback is not None:
            self._callback(self.history[-1], x)

    def at(
        self, x: Vector, value: float, grad: Vector, decrement: float = np.inf, *, trusted: bool = True
    ) -> bool:
        """Record a point, and return whether to stop there.

        `decrement` is the solver's estimate of F − F*, in nats. Unless `trusted` it only decides when a bound
        is worth its passes, and does not end the fit of an objective that has no bound. Raises
        FloatingPointError if F is not finite.
        """
        if not np.isfinite(value):
            raise FloatingPointError(f"the objective became {value}; X or the parameters are too large")
        goal = self._goal(value)
        waited = self._objective.passes - self._bound_pass
        interval = min(PASSES_A_BOUND, 1 + (self._objective.passes - self._first_pass) // WAIT_FRACTION)
        # may be the optimum already, unless the solver can tell
        warm_start = not self.history and x.any() and decrement == np.inf
        resolved = RESOLVED * abs(value)
        predicted_gap = decrement  # a lower estimate; the gradient's part matters near the end only
        if decrement <= max(goal, resolved):
            predicted_gap = max(decrement, self._objective.likely_gap(grad))
        bound_is_due = warm_start or waited >= (interval if predicted_gap <= goal else PASSES_A_BOUND)
        bound_is_due |= self._bound_is_free
        subgradient = grad
        if not self._is_smooth:
            subgradient = cast("ProximalObjective", self._objective).least_subgradient(x, grad)
        grad_norm = self._objective.algebra.norm(subgradient)
        weak = decrement <= goal < predicted_gap  # the penalty is too weak for the gradient as it is
        far = predicted_gap > WEAK * goal or self._stalled_steps >= UNCHANGED
        if self._bound is not None and value - self._bound <= goal:
            pass  # nothing more is asked of a bound
        elif weak and far and (bound_is_due or (waited >= interval and grad_norm <= self._awaited_norm)):
            self._correct_bound(x, value, grad, goal, grad_norm)
        elif bound_is_due:
            self._improve_bound(x, value, grad)
        gap = None if self._bound is None else max(value - self._bound, 0.0)
        estimate = decrement if trusted and not self._objective.has_lower_bound else np.inf
        excess = estimate if gap is None else gap
        at_minimum = grad_norm == 0.0
        stops = excess <= goal or at_minimum
        self._checked = None
        if stops and self._objective.is_float32:
            stops = not self._doubted and self._is_confirmed(x, value, grad, goal)
            gap = None if self._bound is None else max(value - self._bound, 0.0)
            if stops:
                value, gap = self._of_stored(gap)
                excess = estimate if gap is None else gap
                stops = excess <= goal or at_minimum
        passes = self._objective.passes - self._first_pass
        # of rows in memory, and of objectives that know nothing of a reading, there is nothing to read
        n_bytes = passes * int(getattr(self._objective, "bytes_a_pass", 0))
        record = Record(time.perf_counter() - self._start, value, grad_norm, gap, passes, n_bytes)
        self.history.append(record)
        reason = None if self._callback is None else self._callback(record, x)
        self.suboptimality = excess / max(abs(value), TINY)
        if stops:
            self.converged = True
            self.message = "estimated by the Newton decrement" if gap is None else "certified"
        elif not self._objective.has_lower_bound and value <= SEPARATED:
            self.message = (
                f"the loss fell below {SEPARATED:g} nats a row: the classes are separable, and without a "
                "penalty the coefficients grow without bound"
            )
        elif reason is not None:
            self.message = reason
        needed = goal if self._objective.is_float32 else EPS * abs(value)
        if decrement > needed or record.grad_norm < 0.5 * self._least_norm:
            self._least_norm, self._stalled_steps = record.grad_norm, 0
        else:
            self._stalled_steps += 1
        if bound_is_due:
            rounded = predicted_gap <= ROUNDED * goal
        else:
            rounded = goal < resolved and predicted_gap <= resolved
        rounded |= self._stalled_steps >= STALLED_FLOAT32
        if self._objective.is_float32 and (self._doubted or (rounded and excess > goal)):
            self._stalled_steps = STALLED
        return bool(self.message)

    def _check(self, x: Vector, value: float, grad: Vector) -> tuple[float, float]:
        """Return F at x as stored, and what float32 products and storage hid, in nats.

        That is what they hid of F, and of the gap's part that the gradient predicts.
        """
        exact_value, hidden_gap = self._objective.as_stored(x, value, grad)
        hidden = 0.0 if self._is_corrected else abs(hidden_gap)
        self._checked = exact_value, abs(exact_value - value) + hidden
        return self._checked

    def _is_confirmed(self, x: Vector, value: float, grad: Vector, goal: float) -> bool:
        """Return whether float32 products hide little beside the goal at x; if not, doubt them for good.

        If it is the bound's gradient that they hide too much of, a corrected bound may take its place.
        """
        error = self._check(x, value, grad)[1]
        if error > HIDDEN * goal and not self._is_corrected:
            self._correct_bound(x, value, grad, goal, self._objective.algebra.norm(grad))
            error = self._check(x, value, grad)[1]
        self._doubted = not error <= HIDDEN * goal
        return not self._doubted

    def _of_stored(self, gap: float | None) -> tuple[float, float | None]:
        """Return F and its gap at the stored parameters, after `_check`, from the gap by float32 products."""
        assert self._checked is not None
        exact_value, error = self._checked
        return exact_value, None if gap is None else gap + error

    def _goal(self, value: float) -> float:
        """Return the F − F* to stop at, for that value of F."""
        return self._margin * self._tol * max(abs(value), TINY)

    @property
    def goal(self) -> float:
        """The F − F* to stop at, in nats, at the last point."""
        return self._goal(self.history[-1].objective)

    @property
    def stalled(self) -> bool:
        """Whether predicted decreases are below the rounding of F, and the gradient has not halved for long.

        With float32 products, a predicted decrease below their rounding is enough.
        """
        return self._stalled_steps >= STALLED

    def _improve_bound(self, x: Vector, value: float, grad: Vector) -> None:
        """Compute a lower bound at x, and keep the better of it and the last."""
        bound = self._objective.lower_bound(x, value, grad)
        self._bound_pass = self._objective.passes
        self._keep_better(bound, corrected=False)

    def _correct_bound(self, x: Vector, value: float, grad: Vector, goal: float, grad_norm: float) -> None:
        """Compute a corrected lower bound at x, if it is likely to certify the goal, and keep the better."""
        n_passes = self._objective.passes - self._first_pass
        if not self.history:  # a start that may be an optimum, certified so before
            n_passes = max(n_passes, PASSES_A_BOUND)
        waited = self._objective.passes - self._bound_pass
        bound, predicted_gap = self._objective.corrected_bound(x, grad, goal, n_passes)
        if predicted_gap <= goal or waited >= PASSES_A_BOUND:
            self._bound_pass = self._objective.passes  # a mere prediction puts off no other bound
        if bound is not None and value - bound <= goal:
            self._bound, self._is_corrected = bound, True  # what it replaces may be float32 rounding
        else:
            self._keep_better(bound, corrected=True)
        gap = predicted_gap if bound is None else max(predicted_gap, value - bound)
        self._awaited_norm = MARGIN * grad_norm * float(np.sqrt(min(1.0, goal / max(gap, TINY))))
        if bound is None and predicted_gap <= goal:
            self._awaited_norm *= MARGIN**4  # the step is too long for a correction that is linear in it

    def _keep_better(self, bound: float | None, *, corrected: bool) -> None:
        """Keep the better of a bound and the last."""
        if bound is not None and (self._bound is None or bound > self._bound):
            self._bound, self._is_corrected = bound, corrected

    def in_float64(
        self, x: Vector, value: float, grad: Vector, decrement: float
    ) -> tuple[Objective, float, Vector] | None:
        """Return the objective with float64 products, and F and ∇F at x; None to stop at x.

        Called when no step lowers the objective any more at the precision of the products. None if the
        point is good enough, or products are float64 already. The arguments are those of `at`.
        """
        if self.at(x, value, grad, decrement):
            return None
        objective = self._objective.in_float64()
        if objective is None:
            self.stopped("no step lowers the objective any more at the precision of the products")
            return None
        self._objective = objective
        self._checked = None
        self._least_norm, self._stalled_steps = np.inf, 0
        if not self._is_corrected:
            self._bound = None  # it is of another function, by the rounding of its products
        self._bound_pass, self._awaited_norm = self._first_pass, np.inf
        return objective, *objective.value_and_grad(x)

    def stopped(self, message: str) -> None:
        """Set the message of a solver that ends short of the tolerance."""
        self.message = message

    def solution(self, x: Vector, value: float, grad: Vector) -> Solution:
        """Return the solution at x, with a bound if the objective has one."""
        if self._bound is None:
            self._improve_bound(x, value, grad)
        if self._bound is None and self.converged:  # by the estimate
            n_passes = self._objective.passes - self._first_pass
            goal = self._goal(value)
            self._bound = self._objective.unpenalised_bound(x, value, grad, goal, n_passes)
            if self._bound is not None and value - self._bound <= goal:
                self.message = "certified"
        gap = None if self._bound is None else max(value - self._bound, 0.0)
        rounded = self._objective.is_float32
        if rounded:
            if self._checked is None:
                self._check(x, value, grad)
            value, gap = self._of_stored(gap)
        if gap is not None:
            self.suboptimality = gap / max(abs(value), TINY)
            self.converged |= self.suboptimality <= self._tol
        self.history[-1] = self.history[-1]._replace(objective=value, gap=gap)
        return Solution(
            x,
            value,
            grad,
            gap,
            self.suboptimality,
            self.converged,
            self.message,
            self.history,
            rounded,
        )


def in_float64_if(objective: Objective, refined: bool) -> Objective:
    """Return the objective, with float64 products if the stored state was reached with those."""
    if not refined:
        return objective
    refined_objective = objective.in_float64()
    if refined_objective is None:
        raise ValueError("the state kept was reached with more precise products than this objective has")
    return refined_objective
