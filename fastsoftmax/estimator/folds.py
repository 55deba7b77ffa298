"""Fits of the training sets of folds for several C and l1_ratios, on one copy of the rows."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.estimator import liblinear, sparse_fitting
from fastsoftmax.estimator.fitting import LOOSE, Fit, features_of
from fastsoftmax.estimator.path_starts import Starts
from fastsoftmax.runtime import blas, executor, thread_pool
from fastsoftmax.runtime.executor import available_threads
from fastsoftmax.solvers import many

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Rows, Vector
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels
    from fastsoftmax.estimator.progress_line import ProgressLine

# Training rows up to so many bytes are copied, a fold at a time: five folds are then minimised in four fifths
# of the time that rows of weight zero would take. Larger ones are read as they lie.
TAKEN_BYTES = 2**26
# Weights of folds that are minimised side by side: 64 MiB.
MAX_WEIGHTS = 2**23


class Problem(NamedTuple):
    """The rows of a cross-validation with their labels and weights, and the settings of its fits.

    `model` is a SoftmaxRegression with the parameters of the fits. `sample_weight` (n,) are the weights
    without those of classes.
    """

    model: Any
    rows: Rows
    labels: Labels
    weight: Vector
    settings: Settings
    sample_weight: Vector


class FoldFits(NamedTuple):
    """The fits of all folds, l1_ratios and C; or, without the first axes, of some.

    `coef` (folds, r, m, K, d) and `intercept` (folds, r, m, K), float64; `n_iter`, `converged` and `ran`, the
    `solver_` of each, (folds, r, m).
    """

    coef: Vector
    intercept: Vector
    n_iter: NDArray[np.int32]
    converged: NDArray[np.bool_]
    ran: NDArray[np.object_]

    @classmethod
    def empty(cls, grid: tuple[int, ...], n_outputs: int, n_features: int) -> FoldFits:
        """Return fits of zero coefficients, none of which has converged."""
        return cls(
            np.zeros((*grid, n_outputs, n_features)),
            np.zeros((*grid, n_outputs)),
            np.zeros(grid, np.int32),
            np.zeros(grid, np.bool_),
            np.full(grid, "", object),
        )


def fit_all(
    problems: Sequence[Problem],
    training: Sequence[NDArray[np.intp]],
    Cs: Sequence[float],
    line: ProgressLine | None,
) -> FoldFits:
    """Return the fits of each training set (row numbers) for each problem, one an l1_ratio, and each C.

    Notes
    -----
    From the strongest penalty to the weakest, each begun near the optimum before. With the squared norm the
    training sets of small problems are minimised side by side, as row weights, with L-BFGS's pairs handed on
    from C to C; what takes them too many steps, and larger problems, one after the other with all threads.
    With absolute values each training set and l1_ratio is a task of its own, some at a time.
    """
    order = np.argsort(Cs, kind="stable")
    ascending = [float(Cs[i]) for i in order]
    grid = len(training), len(problems), len(Cs)
    fits = FoldFits.empty(grid, problems[0].labels.n_outputs, problems[0].rows.shape[1])
    tasks = []
    for i, problem in enumerate(problems):
        own = part(fits, (slice(None), i))
        if problem.settings.is_sparse:
            whole = problem._replace(rows=_rows_of(problem))
            tasks += [(whole, places, part(own, k)) for k, places in enumerate(training)]
        else:
            _squared_norm(problem, training, ascending, own, line)
    if tasks:
        _in_threads(tasks, ascending, line)
    return part(fits, (slice(None), slice(None), np.argsort(order, kind="stable")))


def _squared_norm(
    problem: Problem,
    training: Sequence[NDArray[np.intp]],
    Cs: list[float],
    fits: FoldFits,
    line: ProgressLine | None,
) -> None:
    """Minimise for each training set with the squared norm as the penalty; the C ascend."""
    if problem.settings.intercept_scaling is None:
        together = max(1, MAX_WEIGHTS // problem.rows.shape[0])
        for first in range(0, len(training), together):
            some = training[first : first + together]
            if not _side_by_side(problem, some, Cs, part(fits, slice(first, first + together))):
                break
    whole = problem._replace(rows=_rows_of(problem))
    for i, places in enumerate(training):
        if not fits.converged[i].all():
            for _ in _along_the_path(whole, places, Cs, part(fits, i), line):
                pass


def _in_threads(
    tasks: Sequence[tuple[Problem, NDArray[np.intp], FoldFits]], Cs: list[float], line: ProgressLine | None
) -> None:
    """Minimise for several training sets and penalties, some at a time: steps are short, and many."""
    given = tasks[0][0].model.n_threads
    threads = available_threads() if given is None else given
    lanes = min(threads, len(tasks), executor.PYTHON_THREADS)
    n_done = itertools.count(1)

    def body(i: int) -> Iterator[None]:
        problem, places, fits = tasks[i]
        model = copy.copy(problem.model)
        model.n_threads = threads // lanes
        alone = line if lanes == 1 else None
        for _ in _along_the_path(problem._replace(model=model), places, Cs, fits, alone):
            if line is not None and alone is None:
                line.fits(next(n_done), len(tasks) * len(Cs))
            yield

    thread_pool.run(body, len(tasks), lanes, lanes - 1)


def _rows_of(problem: Problem) -> Rows:
    """Return the rows, with the constant feature of an intercept that is penalised."""
    scaling = problem.settings.intercept_scaling
    return problem.rows if scaling is None else liblinear.with_constant(problem.rows, scaling)


def part(fits: FoldFits, index: Any) -> FoldFits:
    """Return views of the fits of some folds."""
    coef, intercept, n_iter, converged, ran = fits
    return FoldFits(coef[index], intercept[index], n_iter[index], converged[index], ran[index])


def flat(fits: FoldFits) -> FoldFits:
    """Return the fits of a fold, (r, m, …), in one row, by l1_ratio."""
    coef, intercept, n_iter, converged, ran = fits
    n_outputs, n_features = coef.shape[2:]
    return FoldFits(
        coef.reshape(-1, n_outputs, n_features),
        intercept.reshape(-1, n_outputs),
        n_iter.ravel(),
        converged.ravel(),
        ran.ravel(),
    )


def _side_by_side(
    problem: Problem, training: Sequence[NDArray[np.intp]], Cs: list[float], fits: FoldFits
) -> bool:
    """Minimise small problems together, and note what was certified; False where the problem is not small."""
    model, rows, labels, weight, settings, sample_weight = problem
    finite = [C for C in Cs if np.isfinite(C)]
    if not finite or model.tol < LOOSE or settings.solver != "lbfgs":
        return False
    n_rows = rows.shape[0]
    counts = [np.bincount(places, minlength=n_rows) for places in training]
    weights = np.stack([weight * count for count in counts])
    first = features_of(model, rows, [sample_weight * counts[0]])
    fit = Fit(model, rows, labels, weights[0], settings._replace(C=max(finite)), features=first)
    if fit.solver != "lbfgs" or fit.is_rotated or fit.objective.direct is None:
        return False
    zero = np.zeros(fit.objective.n_params)
    starts = [fit.start(zero, label_reader.unobserved_classes(labels, row)) for row in weights]
    l2 = 1.0 / np.outer(weights.sum(axis=1), finite)
    features = features_of(model, rows, [sample_weight * count for count in counts])
    task = fit.objective.direct.task_of(weights, l2.ravel(), starts, chain=len(finite), features=features)
    threads = available_threads() if model.n_threads is None else model.n_threads
    with blas.one_thread():
        found = many.minimize(task, tol=model.tol, max_iter=model.max_iter, n_threads=threads)
    repeated = None if features is None else np.repeat(features, len(finite), axis=0)
    coef, intercept = fit.attributes_of_many(found.x, repeated)
    done = part(fits, (slice(None), slice(len(finite))))
    done.coef[:], done.intercept[:] = coef.reshape(done.coef.shape), intercept.reshape(done.intercept.shape)
    done.n_iter[:] = found.n_steps.reshape(done.n_iter.shape)
    done.converged[:] = found.certified.reshape(done.n_iter.shape)
    done.ran[:] = fit.ran(fit.solver)
    return True


def _along_the_path(
    problem: Problem, places: NDArray[np.intp], Cs: list[float], fits: FoldFits, line: ProgressLine | None
) -> Iterator[None]:
    """Minimise for one training set what has not converged, and pause after each."""
    model, rows, labels, weight, settings, sample_weight = problem
    n_rows = rows.shape[0]
    if _n_bytes(rows) <= TAKEN_BYTES:
        rows, weight = storage_of(rows).take(rows, places), weight[places]
        sample_weight = sample_weight[places]
        labels = labels._replace(target=labels.target[places])
    else:
        count = np.bincount(places, minlength=n_rows)
        weight, sample_weight = weight * count, sample_weight * count
    left = np.flatnonzero(~fits.converged)
    first = left[0] if fits.n_iter[left[0]] else left[0] - 1  # the last that was begun
    unobserved_classes = label_reader.unobserved_classes(labels, weight)
    fit, rest = None, copy.copy(model)
    for j in left.tolist():
        rest.max_iter = model.max_iter - int(fits.n_iter[j])  # some may have been taken side by side
        if rest.max_iter <= 0 and fits.n_iter[j]:
            continue
        if fit is None or (settings.is_sparse and np.isinf(Cs[j])):  # no penalty has no absolute values
            strength = Cs[j] if settings.is_sparse else max(Cs)
            fit = sparse_fitting.fit_of(model, rows, labels, weight, settings.at(strength), sample_weight)
            x = np.zeros(fit.objective.n_params)
            if first >= 0:
                coef = fits.coef[first]
                if settings.is_sparse and np.isinf(Cs[j]) and labels.loss == "softmax":
                    coef = coef - coef.mean(axis=0)  # steps without a penalty keep the mean over classes
                x = fit.parameters_of(coef, fits.intercept[first])
            starts = Starts(fit.start(x, unobserved_classes))
        fit, first = fit.at(Cs[j]), j
        solution = rest._minimize(fit.solver, fit.objective, starts.at(Cs[j], fit.objective), line)
        starts.note(Cs[j], fit.objective, solution)
        attributes = fit.attributes_of(solution.x, np.float64)
        fits.coef[j], fits.intercept[j] = attributes["coef_"], attributes["intercept_"]
        fits.n_iter[j] += min(len(solution.history) - 1, rest.max_iter)
        fits.converged[j], fits.ran[j] = solution.converged, fit.ran(fit.solver)
        yield


def _n_bytes(rows: Rows) -> int:
    if isinstance(rows, Csr):
        return int(rows.data.nbytes + rows.indices.nbytes)
    return int(np.prod(rows.shape)) * rows.dtype.itemsize
