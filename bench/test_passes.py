"""Passes over X, verb by verb, against the matrix products that each contains."""

from __future__ import annotations

from typing import Any

import pytest

from bench.contenders import plain
from bench.measure.contest import hold, matches, matches_added
from bench.measure.yardsticks import forward, grams, products, three_products
from bench.problems.discovery import added_problems
from bench.problems.grid import DENSE, DENSE_GRAMS, HEADS, SPARSE, SPARSE_GRAMS

VERBS = ("value_and_grad", "hessp", "predict", "diagonal", "gram")
OPERATIONS = [
    *VERBS,
    *(f"sparse_{verb}" for verb in VERBS),
    "linear_cross_entropy",
    "linear_cross_entropy_grad",
]
PROBLEMS = DENSE | SPARSE | SPARSE_GRAMS | HEADS | added_problems(*OPERATIONS)
YARDSTICKS = {
    "gram": grams,
    "predict": forward,
    "linear_cross_entropy": forward,
    "linear_cross_entropy_grad": three_products,
}


@pytest.mark.parametrize(
    ("problem", "operation", "contender"),
    matches(DENSE, ["value_and_grad", "hessp", "predict"], occasional=["diagonal"])
    + matches(
        SPARSE, ["sparse_value_and_grad", "sparse_hessp", "sparse_predict"], occasional=["sparse_diagonal"]
    )
    + matches(DENSE_GRAMS, [], occasional=["gram"])
    + matches(SPARSE_GRAMS, [], occasional=["sparse_gram"])
    + matches(HEADS, ["linear_cross_entropy", "linear_cross_entropy_grad"])
    + matches_added(OPERATIONS),
)
def test_passes(benchmark: Any, problem: str, operation: str, contender: str) -> None:
    yardstick = YARDSTICKS.get(plain(operation), products)
    hold(benchmark, PROBLEMS[problem], operation, contender, yardstick, family="passes")
