"""Where a Hessian is summed over more rows than are kept as a sample, over how many, and the model of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.objective.quadratic_model import QuadraticModel
from fastsoftmax.objective.thinned_gram import ExpectedRows, ThinnedGram, of_scaled_rows
from fastsoftmax.sources.scaled import ScaledSource

if TYPE_CHECKING:
    from fastsoftmax.contracts import DType, Params, Vector
    from fastsoftmax.objective.source_objective import SourceObjective
    from fastsoftmax.objective.thinned_gram import RowGram

# Rows for a feature: fewer in the sample, and it is worth summing the matrix; so many are summed. With 16
# conjugate gradients by that matrix leave 0.24 of an error, with 32 0.16, with 64 0.11 (docs/decisions.md).
FEW_ROWS, ROWS = 16, 32
# Matrices that there may be at a time, in the dtype of the products: sums of pairs of blocks, and of those;
# or three in float64, when they have been added.
MATRICES = 6
ROUNDS = 4  # of the rate at which as many rows are expected as are to be taken


def is_worth_summing(sampled: SourceObjective, max_bytes: int) -> bool:
    """Return whether there is one logit, few sampled rows for a feature, and memory for the matrix.

    `max_bytes` are those of the sample; two more of them are free when no rows are chosen any more.
    """
    order = sampled.n_features + 1
    source = sampled._rows.source
    is_far = isinstance(source, ScaledSource) and source.is_far
    if sampled.n_classes != 1 or sampled._layout.centre is not None or is_far:
        return False
    n_bytes = MATRICES * order**2 * _products(sampled).itemsize
    return sampled._rows.spec.n_rows < FEW_ROWS * order and n_bytes <= 2 * max_bytes


def thinned_gram(sampled: SourceObjective, place: Params, n_rows: int, dtype: DType | None) -> ThinnedGram:
    """Return the query for the Hessian at `place` over about `ROWS` rows for a feature, of `n_rows` in all.

    The rate is told by the sample in memory.
    """
    wanted = min(n_rows, ROWS * (sampled.n_features + 1))
    n_sampled = sampled._rows.spec.n_rows
    query = ThinnedGram(place, 4.0 * wanted / n_rows, _products(sampled), dtype)  # a curvature is 1/4 at most
    for _ in range(ROUNDS):
        expected = sampled._rows.sum(ExpectedRows(query)).value * n_rows / n_sampled
        if expected <= 0.0:  # the sample is certain of all its rows
            break
        query = replace(query, rate=query.rate * wanted / expected)
    return query


def model_of_sums(
    gram: RowGram, sampled: SourceObjective, point: Vector, n_threads: int | None
) -> QuadraticModel:
    """Return the model by the sums of `thinned_gram` at a point."""
    matrix = gram.matrix()
    if matrix is None:  # all rows are certain
        matrix = np.zeros((sampled.n_features + 1,) * 2)
    source = sampled._rows.source
    if isinstance(source, ScaledSource):
        matrix += np.tril(matrix, -1).T
        matrix = of_scaled_rows(matrix, source.features)
    size, places = sampled.size, np.arange(sampled.n_features)
    matrix = matrix[:size, :size]
    matrix[places, places] += sampled._penalty.curvature
    return QuadraticModel(matrix, gram.dtype, n_threads, point[np.newaxis].copy())


def _products(sampled: SourceObjective) -> DType:
    """Return the dtype of the products of features."""
    return np.dtype(np.float32 if sampled.is_float32 else np.float64)
