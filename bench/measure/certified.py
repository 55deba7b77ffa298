"""Ours alone, over a wide range of penalties: how long after it has arrived a fit is certified.

The best F known is the least, by plain NumPy, of the fits themselves and of a float64 fit with a smaller
tolerance. It is sought for each precision of X: float32 rows are another problem.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS, module_of
from bench.measure import optimum
from bench.measure.certificates import TOL, certificate, doubts
from bench.measure.curves import GRACE
from bench.measure.steps import Step
from bench.problems.descriptions import load
from bench.problems.drawn import DrawnDense

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contenders import Fitted
    from bench.problems.arrays import FitData
    from bench.problems.descriptions import Problem
    from fastsoftmax.contracts import Record

STRENGTHS = (1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6, 1e8)
QUICK_STRENGTHS = (1e-4, 1.0, 1e6)
DTYPES = ("float32", "float64")
SOLVERS = ("lbfgs", "newton-cg")
GAUSSIAN = "gaussian"
QUICK = (*optimum.QUICK, "gaussian_small")
REFERENCE_TOL = TOL / 100


class Plan(NamedTuple):
    """What is run: sets, penalties, precisions, solvers that contain one of `solvers`, seconds a fit."""

    sets: Sequence[str]
    strengths: Sequence[float]
    dtypes: Sequence[str]
    solvers: Sequence[str]
    limit: float


class Watched(NamedTuple):
    """A fit, or None where its time was up, and its history with the time of each step."""

    fitted: Fitted | None
    records: list[tuple[float, Record]]


def sets(dtype: str) -> dict[str, Problem]:
    """Give the sets of `optimum`, and two drawn ones: many rows, of few features and classes."""
    drawn = [
        DrawnDense(GAUSSIAN, dtype, 300_000, 100, 7),
        DrawnDense("gaussian_small", dtype, 3_000, 100, 7),
    ]
    return optimum.sets(dtype) | {problem.name: problem for problem in drawn}


def steps(plan: Plan) -> list[Step]:
    """Give a step for each set, precision and penalty.

    The limits hold for a reference, and for two fits of each solver.
    """
    at_most = plan.limit + len(wanted(plan)) * (2 * plan.limit + GRACE)
    known = {dtype: sets(dtype) for dtype in plan.dtypes}
    return [
        Step(f"{name} {dtype} C = {C:g}", functools.partial(group_of, known[dtype][name], C, plan), at_most)
        for name in plan.sets
        for dtype in plan.dtypes
        for C in plan.strengths
    ]


def wanted(plan: Plan) -> list[str]:
    """Name the solvers that are run."""
    return [name for name in SOLVERS if not plan.solvers or any(part in name for part in plan.solvers)]


def group_of(problem: Problem, C: float, plan: Plan) -> list[dict[str, Any]]:
    """Fit a set with one penalty by every solver."""
    data = load(problem)._replace(C=C)
    print(f"{problem.name} C={C:g} {problem.dtype}", flush=True)
    fits = {f"{OURS} {solver}": watched(solver, data, plan.limit) for solver in wanted(plan)}
    reference, _ = module_of(OURS).optimum(data, REFERENCE_TOL, plan.limit)
    known = [reference, *(fit.fitted for fit in fits.values() if fit.fitted is not None)]
    best = min(optimum.value_of(fitted, data) for fitted in known)
    shared = {
        "family": "certified",
        "problem": problem.name,
        "dtype": problem.dtype,
        "operation": f"C = {data.C:g}",
        "shape": [*data.X.shape, int(data.y.max()) + 1],
        "best": best,
        "limit_seconds": plan.limit,
        "in_turn": {},
    }
    return [benchmark_of(contender, fit, shared) for contender, fit in fits.items()]


def watched(solver: str, data: FitData, limit: float) -> Watched:
    """Watch the second of two fits: the first may have to compile kernels, and has some seconds more."""
    watch = module_of(OURS).solvers[solver]
    watch(data, tol=TOL, limit=limit + GRACE)
    return Watched(*watch(data, tol=TOL, limit=limit))


def benchmark_of(contender: str, fit: Watched, shared: dict[str, Any]) -> dict[str, Any]:
    """Write a fit down as one benchmark of a result."""
    found = certificate(fit.records, shared["best"], ended=fit.fitted is not None)
    return {
        "name": f"{shared['problem']} {shared['dtype']} {shared['operation']} {contender}",
        "extra_info": shared | {"contender": contender, "certificate": found},
        "stats": dict.fromkeys(("median", "min", "max"), fit.records[-1][0]),
    }


def complaints(benchmarks: list[dict[str, Any]]) -> list[str]:
    """Say which fits ended without a certificate."""
    return [
        text
        for benchmark in benchmarks
        for text in doubts(benchmark["name"], benchmark["extra_info"]["certificate"])
    ]
