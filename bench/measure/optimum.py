"""Time to the optimum: seconds and passes to a relative suboptimality, on real sets, for three penalties.

F is computed by one float64 NumPy function for all; of our own fit, which is watched step by step, the last
point is compared with it. F* is our float64 solution, as near as can be had. A contender that comes below it
by more than rounding shows that it is none. Either fails the run, once everything is saved.

Nobody has LIBLINEAR's problem here: it has no softmax of more than two classes.
"""

from __future__ import annotations

import functools
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import ADDED, OURS, NotOfferedError, module_of
from bench.contenders.naive import objective
from bench.measure.certificates import TOL, certificate, doubts
from bench.measure.curves import GRACE, GROWTH, Curve, Point, by_budgets, time_to
from bench.measure.steps import Step
from bench.problems.descriptions import load
from bench.problems.discovery import added_problems
from bench.problems.fits import Digits, RealSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.contenders import Fitted
    from bench.problems.arrays import FitData
    from bench.problems.descriptions import Problem

LIBRARIES = (OURS, "sklearn", "sklearnex", "torch", "cyanure", *ADDED)
STRENGTHS = (0.01, 1.0, 100.0)
LEVELS = tuple(10.0**-digit for digit in range(2, 9))
QUICK = ("digits", "steel_plates", "dry_bean")
QUICK_SECONDS, SECONDS = 5.0, 60.0
OUR_TOL = LEVELS[-1]
OPTIMUM_TOL = 1e-12
OPTIMUM_LIMITS = 3  # time limits that the search for F* may take
BELOW = 1e-10  # relative: so far below F* nobody can be
REPEATED_SECONDS = 2.0  # shorter fits of ours are made three times
ROUNDING = {"float32": 1e-6, "float64": BELOW}  # of F, relative, by the precision of X


def sets(dtype: str) -> dict[str, Problem]:
    """Give the problems by name."""
    listed = [
        Digits("digits", dtype),
        RealSet("fashion_mnist", dtype, scaling="pixels"),
        RealSet("newsgroups20", dtype, scaling="tfidf"),
        RealSet("clinc150", dtype, scaling="tfidf"),
        RealSet("banking77", dtype, scaling="tfidf"),
        RealSet("ag_news_7600", dtype, scaling="tfidf"),
        RealSet("tweet_emoji20", dtype, scaling="tfidf"),
        RealSet("dry_bean", dtype),
        RealSet("dry_bean_unscaled", dtype, scaling="none", file="dry_bean"),
        RealSet("shuttle", dtype),
        RealSet("steel_plates", dtype),
        RealSet("tep_faults", dtype),
        RealSet("tep_faults_unscaled", dtype, scaling="none", file="tep_faults"),
        RealSet("tox171", dtype),
    ]
    others = added_problems("fit", "sparse_fit").values()
    return {
        problem.name: problem for problem in (*listed, *(replace(other, dtype=dtype) for other in others))
    }


class Optimum(NamedTuple):
    """F*, and the certified bound of its distance from the true one, relative to it."""

    value: float
    gap: float | None


class Plan(NamedTuple):
    """What is run: sets and penalties, contenders whose names contain one of `solvers`, seconds a fit."""

    sets: Sequence[str]
    strengths: Sequence[float]
    solvers: Sequence[str]
    dtype: str
    limit: float


def steps(plan: Plan) -> list[Step]:
    """Give a step for each set and penalty."""
    known = sets(plan.dtype)
    bound = at_most(plan)
    return [
        Step(f"{name} C = {C:g}", functools.partial(loaded_group_of, known[name], C, plan), bound)
        for name in plan.sets
        for C in plan.strengths
    ]


def at_most(plan: Plan) -> float:
    """Give the seconds that the limits of a set with one penalty allow.

    Ours is fitted three times, and twice more where that is short. The runs of another grow by a factor, and
    the last one takes no more than the limit, nor does the first, which is not counted.
    """
    seconds = OPTIMUM_LIMITS * plan.limit
    for name, made in contenders(plan.solvers):
        if name.startswith(OURS):
            seconds += 3 * plan.limit + 2 * REPEATED_SECONDS
        elif made.func is not missing:
            seconds += (1 + GROWTH / (GROWTH - 1)) * plan.limit + GRACE
    return seconds


def loaded_group_of(problem: Problem, C: float, plan: Plan) -> list[dict[str, Any]]:
    """Load a set, and run everybody on it with one penalty."""
    return group_of(problem, load(problem)._replace(C=C), plan)


def group_of(problem: Problem, data: FitData, plan: Plan) -> list[dict[str, Any]]:
    """Run everybody on a set with one penalty."""
    title = f"{problem.name} C={data.C:g}"
    print(f"{title}: the optimum", flush=True)
    fitted, gap = module_of(OURS).optimum(data, OPTIMUM_TOL, OPTIMUM_LIMITS * plan.limit)
    best = Optimum(value_of(fitted, data), gap)
    curves, left_out = {}, {}
    for contender, make in contenders(plan.solvers):
        print(f"{title}: {contender}", flush=True)
        try:
            curves[contender] = make(data, best, plan.limit)
        except NotOfferedError as lacking:
            left_out[contender] = str(lacking)
    shared = {
        "family": "optimum",
        "problem": problem.name,
        "dtype": problem.dtype,
        "operation": f"C = {data.C:g}",
        "shape": [*data.X.shape, int(data.y.max()) + 1],
        "optimum": best.value,
        "optimum_gap": best.gap,
        "limit_seconds": plan.limit,
        "left_out": left_out,
        "in_turn": {},
    }
    return [benchmark_of(contender, *made, shared) for contender, made in curves.items()]


def contenders(wanted: Sequence[str]) -> Iterator[tuple[str, functools.partial[Any]]]:
    """Give everybody's name and how his curve is made; ours first."""
    for library in LIBRARIES:
        module = module_of(library)
        solvers = (
            {"": None} if module is None else getattr(module, "solvers", {})
        )  # an added one may have none
        for solver, run in solvers.items():
            name = f"{library} {solver}".strip()
            if wanted and not any(part in name for part in wanted):
                continue
            make = our_curve if library == OURS else missing if run is None else their_curve
            yield name, functools.partial(make, run)


def missing(*_: Any) -> tuple[Curve, dict[str, Any]]:
    """Stand for a library that is not there."""
    raise NotOfferedError("not installed")


def their_curve(
    solver: Callable[..., Any], data: FitData, best: Optimum, limit: float
) -> tuple[Curve, dict[str, Any]]:
    """Run a solver without a callback, with growing budgets."""
    return by_budgets(solver(data), lambda fitted: excess_of(value_of(fitted, data), best), limit), {}


def our_curve(
    watched: Callable[..., Any], data: FitData, best: Optimum, limit: float
) -> tuple[Curve, dict[str, Any]]:
    """Watch our fit, after one that compiles what is needed; short ones are repeated for their seconds.

    The certificate is that of a further fit, which ends at the default tolerance.
    """
    start = time.perf_counter()
    watched(data, tol=OUR_TOL, limit=limit)
    first = time.perf_counter() - start
    fitted, records = watched(data, tol=OUR_TOL, limit=limit)
    times = [[seconds for seconds, _ in records]]
    while fitted is not None and len(times) < 3 and times[0][-1] < REPEATED_SECONDS:
        _, again = watched(data, tol=OUR_TOL, limit=math.inf)
        times.append([seconds for seconds, _ in again])
    seconds = np.median(np.array(times), axis=0)
    points = [
        Point(float(second), excess_of(record.objective, best), record.passes)
        for second, (_, record) in zip(seconds, records)
    ]
    # by how much the history's last objective is off the one that all are judged by
    off = None if fitted is None else points[-1].excess - excess_of(value_of(fitted, data), best)
    ended = "time limit" if fitted is None else "arrived" if points[-1].excess <= OUR_TOL else "stopped"
    usual, steps = watched(data, tol=TOL, limit=limit)
    shown = certificate(steps, best.value, ended=usual is not None)
    return Curve(points, ended), {"first_fit_seconds": first, "history_off": off, "certificate": shown}


def value_of(fitted: Fitted, data: FitData) -> float:
    """Give F by plain NumPy, in float64."""
    return objective(fitted.coef, fitted.intercept, data.X, data.y, data.C)


def excess_of(value: float, best: Optimum) -> float:
    """Give (F − F*) / F*."""
    return (value - best.value) / best.value


def benchmark_of(
    contender: str, curve: Curve, noted: dict[str, Any], shared: dict[str, Any]
) -> dict[str, Any]:
    """Write a curve down as one benchmark of a result; its seconds are those of the longest run."""
    between = not contender.startswith(OURS)
    reached = {f"{level:.0e}": time_to(curve.points, level, between=between) for level in LEVELS}
    longest = max((point.seconds for point in curve.points), default=shared["limit_seconds"])
    own = {"contender": contender, "ended": curve.ended, "points": curve.points, "reached": reached}
    return {
        "name": f"{shared['problem']} {shared['operation']} {contender}",
        "extra_info": shared | own | noted,
        "stats": dict.fromkeys(("median", "min", "max"), longest),
    }


def complaints(benchmarks: list[dict[str, Any]]) -> list[str]:
    """Say what cannot be: somebody below F* by more than rounding, a history that says another F.

    A fit of ours that ends without a certificate is as wrong.
    """
    found = []
    for benchmark in benchmarks:
        noted = benchmark["extra_info"]
        least = min((point[1] for point in noted["points"]), default=0.0)
        if least < -BELOW:
            found.append(f"{benchmark['name']} is below F* by {-least:.1e} of it")
        off = noted.get("history_off") or 0.0
        if abs(off) > ROUNDING[noted["dtype"]]:
            found.append(f"{benchmark['name']}: the history is off by {off:.1e} of F")
        if "certificate" in noted:
            found += doubts(benchmark["name"], noted["certificate"])
    return found
