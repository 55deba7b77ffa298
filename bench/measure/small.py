"""Small problems: fits, predictions and resampling, where a call's own cost counts as much as its products.

Ours and scikit-learn's LogisticRegression, both at their default tolerances, take turns in one process, and
of fits a third: scikit-learn's with a tolerance by which its F is as low as ours, where there is one. A fit
of ours has to be certified, and its F, by plain NumPy, has to be as low as the other's. What does not hold is
noted, and fails the run once everything is saved.
"""

from __future__ import annotations

import functools
import time
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS
from bench.contenders.estimators import AS_LOW, THEIRS, estimators, fitted_of, many_fits, stricter
from bench.contenders.naive import objective
from bench.contenders.threads import THREADS
from bench.measure.steps import Step, with_words
from bench.measure.timing import PAUSE_AFTER_BLAS_SECONDS, calls_a_round, lap, summary, turns_of
from bench.problems import small as grid
from bench.problems.descriptions import load
from bench.problems.drawn import bootstrap_counts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bench.problems.arrays import FitData
    from bench.problems.drawn import DrawnDense

LEAST_ROUNDS, ROUNDS = 3, 9
ENOUGH_SECONDS = 8.0  # after which no further round begins
PREDICTIONS = ("predict", "predict_proba", "decision_function")
PREDICTED_ROWS = (1, 50, 1_000)
PREDICTION_TOL = 1e-10  # of sums of products that are the same up to rounding


class Ready(NamedTuple):
    """What is timed, by contender, what was noted of each, and what cannot be."""

    runs: Mapping[str, Callable[[], Any]]
    noted: dict[str, dict[str, Any]]
    complaints: list[str]


class Subject(NamedTuple):
    """What is timed of a problem. `part` is the line of the report that it counts in."""

    part: str
    problem: DrawnDense
    operation: str
    prepare: Callable[[DrawnDense, int | None], Ready]

    @property
    def name(self) -> str:
        """What `-k` looks into."""
        return f"{self.part}: {self.problem.name}, {self.operation}"


def subjects(quick: bool) -> Iterator[Subject]:
    """Give the named fits, those of crossed sizes, predictions of the named ones, and resampling."""
    parts = {"named": list(grid.NAMED)} | grid.crossed(quick)
    for part, problems in parts.items():
        for problem in problems:
            yield Subject(f"fit, {part}", problem, "fit", fits)
    for problem in grid.NAMED[: 3 if quick else None]:
        for method in PREDICTIONS:
            for n_rows in PREDICTED_ROWS:
                prepare = functools.partial(predictions, method=method, n_rows=n_rows)
                yield Subject(method, problem, f"{method}, {n_rows} rows", prepare)
    yield Subject("fit_many", grid.RESAMPLED, f"fit_many, {grid.N_SAMPLES} samples", resampling)


def steps(quick: bool, words: str, n_threads: int | None) -> list[Step]:
    """Give a step for each subject whose name contains all the words."""
    each = [Step(s.name, functools.partial(measure, s, n_threads)) for s in subjects(quick)]
    return with_words(each, words)


def measure(subject: Subject, n_threads: int | None) -> list[dict[str, Any]]:
    """Time a subject, and say how it came out."""
    with warnings.catch_warnings(), threadpool_limits(n_threads):
        warnings.simplefilter("ignore", ConvergenceWarning)  # theirs may; ours would not be certified
        found = timed(subject, n_threads)
    ratio = found[1]["extra_info"]["in_turn"][OURS]["ratio"][0]
    print(f"{subject.name}: {ratio:.2f}", flush=True)
    return found


def timed(subject: Subject, n_threads: int | None) -> list[dict[str, Any]]:
    """Let both take turns, and give each as one benchmark of a result."""
    ready = subject.prepare(subject.problem, n_threads)
    laps = in_rounds(ready.runs)
    seconds = {name: turns_of(name, laps) for name in ready.runs}
    shape = subject.problem.n_rows, subject.problem.n_features, subject.problem.n_classes
    shared = {
        "family": "small",
        "part": subject.part,
        "problem": subject.problem.name,
        "dtype": subject.problem.dtype,
        "operation": subject.operation,
        "shape": shape,
        "threads": n_threads or THREADS,
    }
    return [
        {
            "name": f"{subject.name} {name}",
            "extra_info": shared
            | {"contender": name, "rounds": len(own), **ready.noted[name]}
            | {"complaints": [f"{subject.name}: {text}" for text in ready.complaints if name == OURS]}
            | {"in_turn": {} if name == OURS else {OURS: summary(own, seconds[OURS])}},
            "stats": {"median": float(np.median(own)), "min": float(own.min()), "max": float(own.max())},
        }
        for name, own in seconds.items()
    ]


def in_rounds(runs: Mapping[str, Callable[[], Any]]) -> list[dict[str, float]]:
    """Let everybody have his turns: fewer of them where they take long."""
    calls = {name: calls_a_round(run) for name, run in runs.items()}
    start = time.perf_counter()
    laps: list[dict[str, float]] = []
    while len(laps) < LEAST_ROUNDS or (len(laps) < ROUNDS and time.perf_counter() - start < ENOUGH_SECONDS):
        laps.append(lap(runs, calls, PAUSE_AFTER_BLAS_SECONDS))
    return laps


def fits(problem: DrawnDense, n_threads: int | None) -> Ready:
    """Prepare fits. The first ones, in which kernels are compiled, are those that are looked at."""
    data, models = load(problem), estimators(n_threads)
    noted = {name: noted_of(model.fit(data.X, data.y), data) for name, model in models.items()}
    low = noted[OURS]["objective"] * (1.0 + models[OURS].tol)
    for model in stricter():
        its = noted_of(model.fit(data.X, data.y), data)
        if its["objective"] <= low:
            models[AS_LOW], noted[AS_LOW] = model, its
            break
    runs = {name: functools.partial(model.fit, data.X, data.y) for name, model in models.items()}
    return Ready(runs, noted, doubts(models[OURS], noted))


def noted_of(model: Any, data: FitData) -> dict[str, Any]:
    """Say where a fit came, by plain NumPy in float64, and after how many iterations of how many allowed."""
    fitted = fitted_of(model)
    value = objective(fitted.coef, fitted.intercept, data.X, data.y, data.C)
    limits = {"iterations": fitted.iterations, "max_iter": model.max_iter, "tol": model.tol}
    return {"objective": value, "gap": getattr(model, "duality_gap_", None), **limits}


def doubts(ours: Any, noted: dict[str, dict[str, Any]]) -> list[str]:
    """Say what is wrong with a fit of ours: no certificate, or an F above the other's.

    Two certified optima may differ by the tolerance, and so may ours and what the other came upon by luck.
    """
    found = []
    if ours.duality_gap_ is None or not ours.duality_gap_ <= ours.tol * ours.objective_:
        found.append(f"not certified: F = {ours.objective_:.9g}, gap {ours.duality_gap_}, tol {ours.tol:g}")
    own, other = (noted[name]["objective"] for name in (OURS, THEIRS))
    if not own <= other * (1 + ours.tol):
        found.append(f"F is {own:.9g}, {THEIRS}'s {other:.9g}")
    return found


@functools.lru_cache(maxsize=1)
def fitted_models(problem: DrawnDense, n_threads: int | None) -> dict[str, Any]:
    """Fit both, and give them the same parameters: those of ours."""
    data, models = load(problem), estimators(n_threads)
    for model in models.values():
        model.fit(data.X, data.y)
    ours, theirs = models[OURS], models[THEIRS]
    theirs.coef_, theirs.intercept_ = ours.coef_.copy(), ours.intercept_.copy()
    return models


def predictions(problem: DrawnDense, n_threads: int | None, method: str, n_rows: int) -> Ready:
    """Prepare predictions of some test rows, and compare ours with the other's."""
    models, rows = fitted_models(problem, n_threads), load(problem).X_test[:n_rows]
    runs = {name: functools.partial(getattr(model, method), rows) for name, model in models.items()}
    own, other = (run() for run in runs.values())
    same = own.shape == other.shape and np.allclose(own, other, rtol=PREDICTION_TOL, atol=PREDICTION_TOL)
    return Ready(runs, {name: {} for name in runs}, [] if same else [f"not what {THEIRS} predicts"])


def resampling(problem: DrawnDense, n_threads: int | None) -> Ready:
    """Prepare the fits of bootstrap samples, each of which is looked at as one of the rows that are in it."""
    data, counts = load(problem), bootstrap_counts(grid.N_SAMPLES, problem.n_rows)
    calls = many_fits(data, counts, n_threads)
    models = {name: call.read(call.run()) for name, call in calls.items()}
    found, gaps = [], []
    for i, (weights, ours, theirs) in enumerate(zip(counts, models[OURS], models[THEIRS], strict=True)):
        sample = data._replace(X=np.repeat(data.X, weights, axis=0), y=np.repeat(data.y, weights))
        noted = {OURS: noted_of(ours, sample), THEIRS: noted_of(theirs, sample)}
        found += [f"sample {i}: {text}" for text in doubts(ours, noted)]
        gaps.append(np.inf if ours.duality_gap_ is None else ours.duality_gap_ / ours.objective_)
    runs = {name: call.run for name, call in calls.items()}
    return Ready(runs, {OURS: {"largest_gap": max(gaps)}, THEIRS: {}}, found)


def complaints(benchmarks: list[dict[str, Any]]) -> list[str]:
    """Give what was found wrong with ours."""
    return [text for benchmark in benchmarks for text in benchmark["extra_info"]["complaints"]]
