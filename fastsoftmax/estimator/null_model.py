"""The log-likelihood of constants beside an offset, which has no closed form."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Params

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector
    from fastsoftmax.estimator.information import Fitted
    from fastsoftmax.objective.score_sums import ScoreSums

MAX_STEPS = 100
MAX_HALVINGS = 40
CLOSE = 1e-10  # nats: half of a Newton step's promised gain, below which the constants are the best


def null_beside_offset(fitted: Fitted) -> float:
    """Return the log-likelihood of the best constants of rows with an offset, by Newton's method.

    A few sums over the rows' offsets and targets; X is not read. Every class must have a row.

    Raises FloatingPointError if no best constants are found: of offsets so large that no probability
    depends on them.
    """
    rows = fitted.rows._replace(X=np.empty((fitted.rows.n_rows, 0)))
    n_outputs = len(fitted.params.intercept)

    def sums_at(constants: Vector) -> ScoreSums:
        params = Params(np.empty((n_outputs, 0)), constants)
        return replace(fitted, rows=rows, params=params, constant=True, centre=None).sums()

    # Constants that cancel the offset's mean: probabilities at zero may all be 0 or 1.
    constants = -(fitted.rows.weight @ np.asarray(fitted.offset)) / fitted.total_weight
    sums = sums_at(constants)
    for _ in range(MAX_STEPS):
        blocks = sums.curvature.information()
        slope = sums.score.reshape(len(blocks), -1, 1)
        try:
            step = np.linalg.solve(blocks, slope)
        except np.linalg.LinAlgError:
            break
        if 0.5 * float(np.vdot(step, slope)) <= CLOSE:
            return sums.loglik
        move = np.zeros(n_outputs)
        move[fitted.kept] = step.ravel()
        for halvings in range(MAX_HALVINGS):
            trial = sums_at(constants + 0.5**halvings * move)
            if trial.loglik > sums.loglik:
                break
        else:
            return sums.loglik  # to rounding
        constants, sums = constants + 0.5**halvings * move, trial
    raise FloatingPointError("no best constants beside this offset: it leaves no probability open")
