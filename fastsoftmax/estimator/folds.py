"""Fits of the training sets of folds for several C, on one copy of the rows."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts import Csr
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.estimator import liblinear
from fastsoftmax.estimator.fitting import LOOSE, Fit, features_of
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import available_threads
from fastsoftmax.solvers import many

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """The fits of all folds and C.

    `coef` (folds, m, K, d) and `intercept` (folds, m, K), float64; `n_iter` and `converged` (folds, m).
    """

    coef: Vector
    intercept: Vector
    n_iter: NDArray[np.int32]
    converged: NDArray[np.bool_]

    @classmethod
    def empty(cls, n_folds: int, n_strengths: int, n_outputs: int, n_features: int) -> FoldFits:
        """Return fits of zero coefficients, none of which has converged."""
        grid = n_folds, n_strengths
        return cls(
            np.zeros((*grid, n_outputs, n_features)),
            np.zeros((*grid, n_outputs)),
            np.zeros(grid, np.int32),
            np.zeros(grid, np.bool_),
        )


def fit(
    problem: Problem,
    training: Sequence[NDArray[np.intp]],
    Cs: Sequence[float],
    line: ProgressLine | None,
) -> FoldFits:
    """Return the fits of each training set (row numbers) for each C, in their order.

    Notes
    -----
    From the strongest penalty to the weakest, each from the optimum before. The training sets of small
    problems are minimised side by side, as row weights, with L-BFGS's pairs handed on from C to C; what takes
    them too many steps, and larger problems, one after the other with all threads.
    """
    order = np.argsort(Cs, kind="stable")
    ascending = [float(Cs[i]) for i in order]
    fits = FoldFits.empty(len(training), len(Cs), problem.labels.n_outputs, problem.rows.shape[1])
    n_rows = problem.rows.shape[0]
    if problem.settings.intercept_scaling is None:
        together = max(1, MAX_WEIGHTS // n_rows)
        for first in range(0, len(training), together):
            some = training[first : first + together]
            if not _side_by_side(problem, some, ascending, part(fits, slice(first, first + together))):
                break
    rows = problem.rows
    if problem.settings.intercept_scaling is not None:
        rows = liblinear.with_constant(rows, problem.settings.intercept_scaling)
    for i, places in enumerate(training):
        if not fits.converged[i].all():
            _along_the_path(problem._replace(rows=rows), places, ascending, part(fits, i), line)
    back = np.argsort(order, kind="stable")
    return part(fits, (slice(None), back))


def part(fits: FoldFits, index: Any) -> FoldFits:
    """Return views of the fits of some folds."""
    coef, intercept, n_iter, converged = fits
    return FoldFits(coef[index], intercept[index], n_iter[index], converged[index])


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
    return True


def _along_the_path(
    problem: Problem, places: NDArray[np.intp], Cs: list[float], fits: FoldFits, line: ProgressLine | None
) -> None:
    """Minimise for one training set what has not converged, each from the optimum before."""
    model, rows, labels, weight, settings, sample_weight = problem
    n_rows = rows.shape[0]
    if _n_bytes(rows) <= TAKEN_BYTES:
        rows, weight = storage_of(rows).take(rows, places), weight[places]
        sample_weight = sample_weight[places]
        labels = labels._replace(target=labels.target[places])
    else:
        count = np.bincount(places, minlength=n_rows)
        weight, sample_weight = weight * count, sample_weight * count
    features = features_of(model, rows, [sample_weight])
    fit = Fit(model, rows, labels, weight, settings._replace(C=max(Cs)), features=features)
    left = np.flatnonzero(~fits.converged)
    x = np.zeros(fit.objective.n_params)
    first = left[0] if fits.n_iter[left[0]] else left[0] - 1  # the last that was begun
    if first >= 0:
        x = fit.parameters_of(fits.coef[first], fits.intercept[first])
    x = fit.start(x, label_reader.unobserved_classes(labels, weight))
    rest = copy.copy(model)
    for j in left.tolist():
        rest.max_iter = model.max_iter - int(fits.n_iter[j])  # some may have been taken side by side
        if rest.max_iter <= 0 and fits.n_iter[j]:
            continue
        fit = fit.at(Cs[j])
        solution = rest._minimize(fit.solver, fit.objective, x, line)
        x = solution.x
        attributes = fit.attributes_of(x, np.float64)
        fits.coef[j], fits.intercept[j] = attributes["coef_"], attributes["intercept_"]
        fits.n_iter[j] += min(len(solution.history) - 1, rest.max_iter)
        fits.converged[j] = solution.converged


def _n_bytes(rows: Rows) -> int:
    if isinstance(rows, Csr):
        return int(rows.data.nbytes + rows.indices.nbytes)
    return int(np.prod(rows.shape)) * rows.dtype.itemsize
