"""Fits to the optimum: how long, and how near it they stopped.

A fit cannot be wrong by a tolerance, only far from the optimum, so it is judged by the objective it reached:
one float64 NumPy function computes it for all, and the report gives its excess over the best of the run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bench.contenders import OURS, Fitted, bind
from bench.contenders.naive import accuracy, objective
from bench.measure.contest import data_of, matches, note, others_for
from bench.measure.timing import in_turn, once, seconds_of
from bench.problems.discovery import added_problems
from bench.problems.grid import DENSE_FITS, SPARSE_FITS

if TYPE_CHECKING:
    from bench.problems.arrays import FitData

ADDED, ADDED_SPARSE = added_problems("fit"), added_problems("sparse_fit")
PROBLEMS = DENSE_FITS | SPARSE_FITS | ADDED | ADDED_SPARSE


def verdict(fitted: Fitted, data: FitData) -> dict[str, Any]:
    """Judge a fit by its parameters alone; a fit no better than no fit is an error."""
    reached = objective(fitted.coef, fitted.intercept, data.X, data.y, data.C)
    nothing_learnt = np.log(len(fitted.coef))  # the objective at zero
    if not reached < nothing_learnt:
        raise AssertionError(f"the objective is {reached:.6g}; at zero it is {nothing_learnt:.6g}")
    return {
        "objective": reached,
        "accuracy": accuracy(fitted.coef, fitted.intercept, data.X_test, data.y_test),
        "iterations": fitted.iterations,
        "passes": fitted.passes,
    }


@pytest.mark.parametrize(
    ("problem", "operation", "contender"),
    matches(DENSE_FITS | ADDED, ["fit"]) + matches(SPARSE_FITS | ADDED_SPARSE, ["sparse_fit"]),
)
def test_fits(benchmark: Any, problem: str, operation: str, contender: str) -> None:
    description = PROBLEMS[problem]
    data = data_of(description)
    call = bind(contender, operation)(data)
    note(benchmark, description, operation, contender, family="fits")
    if contender == OURS:  # the others compile nothing, and some take minutes: they are not run twice
        benchmark.extra_info["first_call_seconds"] = seconds_of(call.run)
    if benchmark.disabled:
        verdict(call.read(benchmark.pedantic(call.run)), data)
        return
    others = others_for(contender, operation, data, {})
    for other in others.values():
        other()
    raw, turns = in_turn(benchmark, call.run, others, description.rounds, once)
    benchmark.extra_info.update(in_turn=turns, **verdict(call.read(raw), data))
