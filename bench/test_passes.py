"""Passes over X, value and gradient and Hessian-vector product, against the two products they contain."""

from __future__ import annotations

from typing import Any

import pytest

from bench.contest import hold, matches
from bench.grid import DENSE, SPARSE
from bench.yardsticks import products

PROBLEMS = DENSE | SPARSE


@pytest.mark.parametrize(
    ("problem", "operation", "contender"),
    matches(DENSE, ["value_and_grad"], occasional=["hessp"])
    + matches(SPARSE, ["sparse_value_and_grad"], occasional=["sparse_hessp"]),
)
def test_passes(benchmark: Any, problem: str, operation: str, contender: str) -> None:
    hold(benchmark, PROBLEMS[problem], operation, contender, products, family="passes")
