"""How the time of a pass grows with rows, features, classes and entries, the others fixed; by threads.

Sizes double from point to point. At each one the pass is compared with plain NumPy, then timed with all
threads and with one, in turn. A slope is that of a straight line through the logarithms, by least squares,
over the upper half of the sizes: below it the cost of a call itself bends the line.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS, bind
from bench.contenders.threads import THREADS
from bench.measure import agreement, roofline
from bench.measure.steps import Step
from bench.measure.timing import calls_a_round, lap, summary, turns_of
from bench.problems.descriptions import load
from bench.problems.passes import Dense, SyntheticCsr

if TYPE_CHECKING:
    from bench.problems.descriptions import Problem

ROUNDS = 7
ALL, ONE = "all threads", "one thread"


def doubled(first: int, last: int) -> list[int]:
    """Give first, 2 first, 4 first, … up to last."""
    return [first << i for i in range((last // first).bit_length())]


def series(quick: bool) -> dict[str, tuple[str, list[Problem]]]:
    """Give, by what grows, what is fixed and the problems; the quick ones stop at a sixteenth of the size."""
    least = 16 if quick else 1

    def dense(n_rows: int, n_features: int, n_classes: int) -> Dense:
        return Dense(f"{n_rows}x{n_features}x{n_classes}", "float32", n_rows, n_features, n_classes)

    def sparse(per_row: int) -> SyntheticCsr:
        return SyntheticCsr(f"{per_row} a row", "float32", 10_000, 10_000, 20, per_row=per_row)

    n_rows = 20_000 // (4 if quick else 1)
    return {
        "n": ("d = 100, K = 10", [dense(n, 100, 10) for n in doubled(500, 512_000 // least)]),
        "d": (f"n = {n_rows:,}, K = 10", [dense(n_rows, d, 10) for d in doubled(8, 2_048 // least)]),
        "K": (f"n = {n_rows:,}, d = 100", [dense(n_rows, 100, K) for K in doubled(3, 1_536 // least)]),
        "nnz": ("n = 10,000, d = 10,000, K = 20", [sparse(m) for m in doubled(2, 512 // least)]),
    }


def size_of(axis: str, problem: Any) -> int:
    """Give what grows along an axis."""
    if axis == "nnz":
        return int(load(problem).X.nnz)
    return {"n": problem.n_rows, "d": problem.n_features, "K": problem.n_classes}[axis]


def steps(quick: bool) -> list[Step]:
    """Give a step for each point."""
    return [
        Step(f"{axis} {problem.key}", functools.partial(measure, axis, fixed, problem))
        for axis, (fixed, problems) in series(quick).items()
        for problem in problems
    ]


def measure(axis: str, fixed: str, problem: Problem) -> list[dict[str, Any]]:
    """Time a point, and say which."""
    noted = {"axis": axis, "size": size_of(axis, problem), "fixed": fixed}
    print(f"{axis} = {noted['size']:,}", flush=True)
    return [timed(problem, noted)]


def timed(problem: Problem, noted: dict[str, Any]) -> dict[str, Any]:
    """Compare a pass with plain NumPy, and time it with all threads and with one."""
    data, value_and_grad = load(problem), bind(OURS, "value_and_grad")
    calls = {ALL: value_and_grad(data), ONE: value_and_grad(data, n_threads=1)}
    for call in calls.values():
        agreement.check(problem, "value_and_grad", call.read(call.run()))
    runs = {name: call.run for name, call in calls.items()}
    repeats = {name: calls_a_round(run) for name, run in runs.items()}
    laps = [lap(runs, repeats) for _ in range(ROUNDS)]
    own, one = (turns_of(name, laps) for name in (ALL, ONE))
    noted |= {
        "family": "scaling",
        "problem": f"{noted['axis']} = {noted['size']:,}",
        "dtype": problem.dtype,
        "operation": "value_and_grad",
        "contender": OURS,
        "threads": THREADS,
        "in_turn": {ONE: summary(own, one)},
        **roofline.noted("value_and_grad", data, problem.dtype),
    }
    stats = {"median": float(np.median(own)), "min": float(own.min()), "max": float(own.max())}
    return {"name": f"{noted['axis']} {problem.key}", "extra_info": noted, "stats": stats}
