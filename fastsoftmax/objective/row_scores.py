"""What a sample in memory tells of the rows to choose from all, and of what it lacks of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Params
from fastsoftmax.objective.row_choice import ChooseRows, ScoreRows

if TYPE_CHECKING:
    from fastsoftmax.contracts import DType, Vector
    from fastsoftmax.objective.source_objective import SourceObjective

# The part of the mean score that is added to every row's: rows that a point takes for certain may not be.
FLOOR = 0.1
# A feature is rare in a sample if its sum of squares there falls short of that in all rows by more than this
# fraction. With 0.2 a diagonal was added to features whose squares differ by chance: tep_faults took 42
# readings in place of 9.
NOISE = 0.9
# Rows are copied where their keys are below that of so many times the rows that are kept, by the sample's
# scores: else a reading of small blocks copies all rows.
MARGIN, LIMIT_ROUNDS = 1.5, 20


def curvature_at_zero(objective: SourceObjective) -> float:
    """Return the curvature of each logit at zero parameters, in every row: p (1 − p)."""
    p = 1.0 / objective.n_classes if objective._family.SHIFT_INVARIANT else 0.5
    return p * (1.0 - p)


def mean_squares(sampled: SourceObjective) -> Vector:
    """Return Σ w x² / Σ w (d,) of a sample."""
    at_zero = sampled._preconditioning.curvatures(sampled.unpack(np.zeros(sampled.size)))
    squares: Vector = at_zero.coef[0] / curvature_at_zero(sampled)
    return squares


def choice_of_rows(
    sampled: SourceObjective, points: tuple[Vector, ...], n_rows: int, max_bytes: int, dtype: DType | None
) -> ChooseRows:
    """Return the query for the rows, of `n_rows` in all, that weigh most at some points.

    From a sample in memory: no reading.
    """
    places = tuple(sampled.unpack(point) for point in points)
    inverses = tuple(_inverse_diagonal(sampled, place, n_rows) for place in places)
    score, weight = sampled._rows.sum(ScoreRows(ChooseRows(places, inverses, 0.0, max_bytes, dtype)))
    floor = FLOOR * float(score.sum()) / float(weight.sum())
    # as many rows as the sample has take as many bytes, about
    limit = _likely_limit(score + floor * weight, n_rows / len(score), min(n_rows, MARGIN * len(score)))
    return ChooseRows(places, inverses, floor, max_bytes, dtype, limit)


def _likely_limit(score: Vector, rows_a_row: float, wanted: float) -> float:
    """Return the limit of keys u / s below which so many rows are expected, of uniform numbers u.

    `score` are those of a sample, of which each row stands for `rows_a_row`. Infinity if all are wanted.
    """
    if wanted >= rows_a_row * np.count_nonzero(score):
        return np.inf
    limit = wanted / (rows_a_row * float(score.sum()))  # at most so many
    for _ in range(LIMIT_ROUNDS):
        limit *= wanted / (rows_a_row * float(np.minimum(1.0, limit * score).sum()))
    return limit


def _inverse_diagonal(sampled: SourceObjective, place: Params, n_rows: int) -> Params:
    """Return 1 / D of the diagonal of the sample's Hessian at a point, with what a row of n adds to it."""
    coef, intercept = sampled._preconditioning.curvatures(place)
    squares, centre = mean_squares(sampled), sampled._layout.centre
    if centre is not None:  # rows are not centred for their scores
        columns = centre.columns
        raw = centre.variance[columns] + centre.mean[columns] ** 2
        coef[:, columns] = intercept[:, np.newaxis] * raw
        squares[columns] = raw
    positive = squares[squares > 0.0]
    least = positive.min() if len(positive) else 1.0
    return Params(
        1.0 / (coef + (sampled.l2 + (squares + least) / n_rows)),
        1.0 / (intercept + 1.0 / n_rows) if sampled.fit_intercept else np.zeros(sampled.n_classes),
    )


class Lacking:
    """What the diagonal of a sample's Hessian lacks of that of all rows at a point, (n_params,); or None.

    Estimated from the features' second moments in both (`squares` (d,), those of all rows, if known) and the
    mean curvature of each class's logit.
    """

    def __init__(self, sampled: SourceObjective, squares: Vector | None) -> None:
        self._sampled, self._squares = sampled, squares
        self._missing: Vector | None = None

    def __call__(self, point: Vector) -> Vector | None:
        """Return it."""
        sampled, squares = self._sampled, self._squares
        if squares is None or sampled._layout.centre is not None:
            return None
        if self._missing is None:
            missing = np.maximum(squares - mean_squares(sampled), 0.0)
            missing[missing <= NOISE * squares] = 0.0
            self._missing = missing
        if not self._missing.any():
            return None
        curvature = sampled._preconditioning.curvatures(sampled.unpack(point)).intercept
        lacking = np.zeros(sampled.size)
        sampled._layout.split(lacking).coef[:] = np.outer(curvature, self._missing)
        return lacking
