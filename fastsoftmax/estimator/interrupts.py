"""The last point of a fit that was interrupted (Ctrl-C), kept as its result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax.contracts import Record, Solution
from fastsoftmax.solvers.progress import TINY

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import State, Vector
    from fastsoftmax.contracts.protocols import Checkpoint
    from fastsoftmax.estimator.callbacks import Deadline

INTERRUPTED = "interrupted"  # the message of a Solution


class InterruptedFit(ConvergenceWarning):
    """The warning of a fit that was interrupted, and keeps the last point it reached."""


class LastPoint:
    """The last point that a solver has recorded, and the records up to it.

    An interrupt may come between any two lines. So the point is copied, and takes the last one's place in one
    assignment, together with the number of records that lead to it.
    """

    def __init__(self) -> None:
        self._reached: tuple[Vector, int] | None = None
        self._records: list[Record] = []

    def kept(self, minimize: Callable[..., Solution], checkpoint: Checkpoint | None) -> Solution:
        """Return the solution of minimize(checkpoint=…), or the last point if it is interrupted.

        Raises KeyboardInterrupt if there is none yet.
        """
        watched = None if checkpoint is None else _Watched(checkpoint, self._records)
        try:
            return minimize(checkpoint=watched)
        except KeyboardInterrupt:
            if self._reached is None:
                raise
            return self._solution(*self._reached)

    def note(self, record: Record, x: Vector) -> None:
        """Keep a point of the solver's."""
        if self._reached is None:
            del self._records[-1:]  # of a fit that goes on the first record is the last stored one again
        self._records.append(record)
        self._reached = np.array(x), len(self._records)

    def _solution(self, x: Vector, n_records: int) -> Solution:
        history = self._records[:n_records]
        last = history[-1]
        excess = np.inf if last.gap is None else last.gap
        return Solution(
            x,
            last.objective,
            np.full_like(x, np.nan),  # not recorded
            last.gap,
            excess / max(abs(last.objective), TINY),
            False,
            INTERRUPTED,
            history,
        )


class _Watched:
    """A checkpoint whose stored records are copied into a list when a solver asks for its state."""

    def __init__(self, checkpoint: Checkpoint, records: list[Record]) -> None:
        self._checkpoint = checkpoint
        self._records = records
        self.offer = checkpoint.offer

    def state(self) -> State | None:
        """Return the stored state."""
        state = self._checkpoint.state()
        if state is not None:
            self._records[:] = [Record(*line) for line in state.numbers["progress"]["history"]]
        return state


def may_go_on(solution: Solution, deadline: Deadline | None) -> bool:
    """Return whether a fit ended by Ctrl-C or its time limit, so that its checkpoint is worth keeping."""
    reasons = (INTERRUPTED, None if deadline is None else deadline.reason())
    return not solution.converged and solution.message in reasons


def shortfall(solution: Solution, tol: float) -> str:
    """Return the text of the warning: how far the fit was, and how to go on."""
    last = solution.history[-1]
    far = "no bound of the gap is known yet"
    if solution.gap is not None:
        far = f"relative duality gap {solution.suboptimality:.2g}"
    return (
        f"the last point reached is kept, after {last.passes} passes over X: objective {last.objective:.9g} "
        f"nats, {far}, and tol={tol:g}. Fit again for the optimum; warm_start=True begins here."
    )
