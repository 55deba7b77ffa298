"""A minimisation: its solver by name, what becomes of the solution, and what is said if it falls short."""

from __future__ import annotations

import copy
import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax import solvers
from fastsoftmax.contracts import Solution
from fastsoftmax.estimator import callbacks as observers
from fastsoftmax.estimator import interrupts
from fastsoftmax.estimator.fitting import LOOSE
from fastsoftmax.runtime import blas, library
from fastsoftmax.solvers.progress import TINY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastsoftmax.contracts import Record, Vector
    from fastsoftmax.contracts.protocols import Checkpoint, Objective
    from fastsoftmax.estimator.fitting import Fit
    from fastsoftmax.estimator.progress_line import ProgressLine


class Minimising:
    """The mixin of SoftmaxRegression that minimises an objective and keeps the result."""

    tol: float
    max_iter: int
    max_seconds: float | None
    callbacks: Iterable[Any] | None

    def _minimize(
        self,
        solver: str,
        objective: Objective,
        start: Vector,
        line: ProgressLine | None,
        tasks: observers.Tasks | None = None,
        checkpoint: Checkpoint | None = None,
        last: interrupts.LastPoint | None = None,
        deadline: observers.Deadline | None = None,
        model_at: Callable[[Record, Vector], Any] | None = None,
    ) -> Solution:
        """Return the solution of a solver, with this estimator's limits and observers.

        With `last`, that of an interrupted minimisation is the last point reached. `deadline` is by default
        that of `max_seconds` from here on; `model_at` is for callbacks that want the model of each step.
        """
        limits: dict[str, Any] = {"tol": self.tol, "max_iter": self.max_iter}
        if deadline is None and self.max_seconds is not None:
            deadline = observers.Deadline(self.max_seconds)
        watched = observers.watching(self.callbacks or (), line, tasks, last, deadline, model_at)
        with watched as callback:
            run = functools.partial(minimize, objective, start, solver, **limits, callback=callback)
            return run(checkpoint=checkpoint) if last is None else last.kept(run, checkpoint)

    def _keep(self, solution: Solution, fit: Fit, solver: str) -> None:
        """Set the fitted attributes."""
        attributes, solution = fit.stored(solution, self.tol)
        self.__dict__.update(attributes)
        self._float64_products = fit.float64_products
        # A point that is evaluated again with float64 products is a record, but not a step.
        self.n_iter_ = np.array([min(len(solution.history) - 1, self.max_iter)], dtype=np.int32)
        self.solver_, self.device_ = fit.ran(solver), fit.device
        self.kernels_ = library.identity()
        self.objective_ = solution.value
        self.duality_gap_ = solution.gap
        self.history_ = list(solution.history)

    def _models_of(self, fit: Fit, solver: str) -> Callable[[Record, Vector], Any]:
        """Return a function from a record and its parameters to a copy of this model at that step."""
        history: list[Record] = []
        before = copy.copy(self)
        before.callbacks = None
        before.__dict__.update(fit.data[1].attributes)

        def model_at(record: Record, x: Vector) -> Any:
            if not history or record is not history[-1]:  # one model for each callback that wants it
                history.append(record)
            model: Any = copy.copy(before)
            gap = np.inf if record.gap is None else record.gap
            excess = gap / max(abs(record.objective), TINY)
            grad = np.full_like(x, np.nan)
            point = (x, record.objective, grad, record.gap, excess, False, "", list(history))
            model._keep(Solution(*point), fit, solver)
            return model

        return model_at

    def _warn(self, solution: Solution, of: str = "") -> None:
        """Warn that a fit stopped short of its tolerance, unless a callback asked for that."""
        if solution.message == observers.ASKED:
            return
        end, shortfall, kind = "failed to converge", shortfall_of, ConvergenceWarning
        if solution.message == interrupts.INTERRUPTED:
            end, shortfall, kind = "was interrupted", interrupts.shortfall, interrupts.InterruptedFit
        warnings.warn(
            f"{self.solver_}{of} {end} after {self.n_iter_[0]} iteration(s): {shortfall(solution, self.tol)}",
            kind,
            stacklevel=4,  # the caller of fit: above are this function, fit, and scikit-learn's wrapper
        )

    def _warn_of_path(self, short: dict[float, tuple[str, Solution]], n_fits: int) -> None:
        """Warn once of a path's fits, by C, that stopped short of their tolerance, each with its solver."""
        worst = max(short, key=lambda C: short[C][1].suboptimality)
        solver, solution = short[worst]
        of = f" for C={worst:g}"
        if len(short) > 1:
            of = f" for {len(short)} of {n_fits} C, {min(short):g} to {max(short):g}, the furthest{of},"
        warnings.warn(
            f"{solver}{of} failed to converge: {shortfall_of(solution, self.tol)}",
            ConvergenceWarning,
            stacklevel=4,  # as above, of fit_path
        )


def minimize(
    objective: Objective,
    start: Vector,
    solver: str,
    *,
    tol: float,
    max_iter: int,
    callback: Any,
    checkpoint: Checkpoint | None = None,
) -> Solution:
    """Return the solution of the solver of that name from `start`, or from the checkpoint's state.

    Raises ValueError if the numbers in X are so large that the objective or its Hessian overflows.
    """
    # One BLAS thread: idle ones would spin on the cores of the kernels, and the bits of inner products would
    # depend on their number.
    with blas.one_thread():
        if solver == "lbfgs" and tol >= LOOSE and "direct" in objective.offers:
            solver = "direct"  # the same method, where calls cost more than passes
        try:
            solution = solvers.accepting(solver, objective).minimize(
                objective, start, tol=tol, max_iter=max_iter, callback=callback, checkpoint=checkpoint
            )
        except FloatingPointError as error:
            raise ValueError(str(error)) from error
    return solution


def shortfall_of(solution: Solution, tol: float) -> str:
    """Return the text of a convergence warning: why the solver stopped, the gap, and advice."""
    kind = "duality gap" if solution.gap is not None else "estimated gap"
    advice = "Increase the number of iterations (max_iter), scale the data, or raise tol."
    if "separable" in solution.message:
        advice = "Give a finite C."
    elif "max_seconds" in solution.message:
        advice = "Give it more time, or raise tol."
    elif "precision" in solution.message:
        advice = "Give a smaller C, or raise tol."  # products are float64 by then, for any dtype of X
    return (
        f"{solution.message}. Relative {kind} {solution.suboptimality:.2g}, and tol={tol:g}, after "
        f"{solution.history[-1].passes} passes over X. {advice}"
    )
