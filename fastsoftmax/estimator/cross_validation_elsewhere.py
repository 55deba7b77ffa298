"""Cross-validation on rows that are not in memory: folds are row weights where the rows are."""

from __future__ import annotations

import copy
import functools
import warnings
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Params
from fastsoftmax.contracts.queries import Together
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data.blocks.look import joined_moments
from fastsoftmax.estimator import folds, streamed
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.sources import stratification
from fastsoftmax.sources.dear import source_of
from fastsoftmax.sources.folds import ClassKeys, InFold, RowMoments, Score, TrainingRows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.blocks.targets import Targets
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels
    from fastsoftmax.estimator.progress_line import ProgressLine
    from fastsoftmax.sources.dear import DearSource
    from fastsoftmax.sources.stratification import Fold

EPS = float(np.finfo(np.float64).eps)


def fitted(
    models: Sequence[Any], rows: RowSet, Cs: list[float], cv: Any, scoring: Any, settings: Sequence[Settings],
    line: ProgressLine | None,
) -> tuple[Labels, folds.FoldFits, Vector]:  # fmt: skip
    """Return the labels, the fits of each fold, l1_ratio and C, and their scores (folds, r, m).

    Parameters
    ----------
    models : list of SoftmaxRegression
        With the parameters of the fits, one an l1_ratio; attributes of features are set in the first.
    rows : RowSet
    Cs : list of float
    cv : int or None
        The number of folds, five by default.
    scoring : {None, "accuracy", "neg_log_loss"}
    settings : list of Settings
        Those of `models`.
    line : ProgressLine or None

    Raises
    ------
    ValueError
        An option does not go with such rows.

    Warns
    -----
    UserWarning
        A class has fewer rows than there are folds.

    Notes
    -----
    One reading that counts the rows by class and key, one for moments if features are standardised, those of
    the fits, and one a fold for its scores.
    """
    n_folds = _refuse(rows, cv)
    if scoring not in ROW_SCORES:
        raise ValueError(
            f"scoring must be None, 'accuracy' or 'neg_log_loss' for rows that are not in memory; got "
            f"{shown(scoring)}"
        )
    model = models[0]
    smooth = settings[0]._replace(l1_ratio=0.0, weighted=False)
    fit, labels = streamed.prepared(model, rows, None, None, smooth)
    if not isinstance(fit, streamed.StreamedFit):
        raise TypeError("rows that are kept in memory are fitted as arrays")
    targets = fit.targets
    if targets.by_class is not None and not np.all(targets.by_class > 0):
        raise ValueError("a class_weight of zero leaves rows without a score; give weights of zero instead")
    encoded: dict[Any, Any] = {}
    all_rows: Any = _Sharing(rows, encoded)
    everything = source_of(all_rows, targets, fit.loss, model.n_threads, BufferPool())
    training = _training_sets(everything, rows, targets, n_folds, encoded, standardize=model.standardize)
    fits = folds.FoldFits.empty((n_folds, len(models), len(Cs)), targets.n_outputs, rows.n_features)
    scores = np.empty((n_folds, len(models), len(Cs)))
    part: Any
    for number, part in enumerate(training):
        for i, (each, its_settings) in enumerate(zip(models, settings, strict=True)):
            make = functools.partial(streamed.fit_of, each, part, targets, labels)
            _along_the_path(each, make, labels, Cs, its_settings, folds.part(fits, (number, i)), line)
        its_scores = _scores(everything, targets, folds.flat(folds.part(fits, number)), part.fold, scoring)
        scores[number] = its_scores.reshape(len(models), len(Cs))
    return labels, fits, scores


class _Sharing:
    """A `RowSet` whose encoded blocks are shared with those of its folds."""

    def __init__(self, rows: RowSet, encoded: dict[Any, Any]) -> None:
        self._rows, self.encoded = rows, encoded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)


def _refuse(rows: RowSet, cv: Any) -> int:
    """Return the number of folds. Raises ValueError for what takes rows in memory."""
    n_folds = 5 if cv is None else cv
    if not isinstance(n_folds, Integral) or n_folds < 2:
        raise ValueError(
            f"cv must be a number of folds for rows that are not in memory, 2 or more; got {shown(cv)}"
        )
    rows.classes  # noqa: B018  (raises if there are no labels)
    found = rows.look()
    if found.n_columns is not None:
        raise ValueError("labels that are a matrix take rows in memory for a cross-validation")
    assert found.learnt is not None
    n_rows = found.learnt.n_rows
    if n_rows.max() < n_folds:
        raise ValueError(f"n_splits={n_folds} cannot be greater than the number of rows of each class")
    if n_rows.min() < n_folds:
        warnings.warn(
            f"The least populated class has only {n_rows.min()} rows, less than n_splits={n_folds}.",
            UserWarning,
            stacklevel=6,
        )
    return int(n_folds)


def _training_sets(
    source: DearSource, rows: RowSet, targets: Targets, n_folds: int, encoded: dict[Any, Any], *,
    standardize: bool,
) -> list[TrainingRows]:  # fmt: skip
    """Return the training rows of each fold. One reading, and one more to standardise features."""
    n_classes = len(targets.classes)
    query = ClassKeys(n_classes, stratification.number_of_bins(n_classes, n_folds), targets.by_class)
    counts, weights = source.sum(query).coef
    parts = stratification.stratified(counts, n_folds)
    moments: list[Any] = [None] * n_folds
    if standardize:
        query_of_each = RowMoments(targets.by_class)
        queries: tuple[Any, ...] = tuple(InFold(query_of_each, part.held_out) for part in parts)
        summed: Any = source.sum(Together(queries))
        held_out = [each.moments for each in summed.each]
        moments = [joined_moments(held_out[:i] + held_out[i + 1 :]) for i in range(n_folds)]
    assert targets.encoder is not None
    codes = targets.encoder.codes(rows.look().sample.as_block())
    found = []
    for part, its_moments in zip(parts, moments):
        weight = part.summed(weights)
        if not np.any(weight):
            raise ValueError(f"the training set of fold {part.number} has no row of positive weight")
        found.append(TrainingRows(rows, part, part.summed(counts), weight, its_moments, codes, encoded))
    return found


def _along_the_path(
    model: Any, make: Callable[[Settings], Any], labels: Labels, Cs: list[float], settings: Settings,
    fits: folds.FoldFits, line: ProgressLine | None,
) -> None:  # fmt: skip
    """Minimise for one training set, from the strongest penalty on, each from the optimum before."""
    fit, x = None, np.zeros(0)
    for j in np.argsort(Cs, kind="stable").tolist():
        C = Cs[j]
        if fit is None or (settings.is_sparse and np.isinf(C)):  # no penalty has no absolute values
            before, fit = fit, make(settings.at(C if settings.is_sparse else max(Cs)))
            start = np.zeros(fit.objective.n_params)
            if before is not None:
                attributes = before.attributes_of(x, np.float64)
                start = fit.parameters_of(attributes["coef_"], attributes["intercept_"])
            x = fit.start(start, label_reader.unobserved_classes(labels, fit.data[2]))
        fit = fit.at(C)
        solution = copy.copy(model)._minimize(fit.solver, fit.objective, x, line)
        x = solution.x
        attributes = fit.attributes_of(x, np.float64)
        fits.coef[j], fits.intercept[j] = attributes["coef_"], attributes["intercept_"]
        fits.n_iter[j] = min(len(solution.history) - 1, model.max_iter)
        fits.converged[j], fits.ran[j] = solution.converged, fit.ran(fit.solver)


def _scores(source: DearSource, targets: Targets, fits: folds.FoldFits, fold: Fold, scoring: Any) -> Vector:
    """Return the scores (m,) of some of one fold's fits on its held-out rows. One reading."""
    row_score = ROW_SCORES[scoring][targets.one_vs_rest]
    queries = tuple(
        Score(Params(coef, intercept), row_score, targets.by_class)
        for coef, intercept in zip(fits.coef, fits.intercept)
    )
    sums = source.sum(InFold(Together(queries), fold.held_out)).each
    if not sums[0].weight > 0:
        raise ValueError(f"fold {fold.number} has no held-out row of positive weight")
    return np.array([each.value / each.weight for each in sums])


def _hits(logits: Vector, codes: NDArray[np.intp]) -> Vector:
    """Return 1 for rows whose class is the most probable one, else 0."""
    found = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
    return (found == codes).astype(np.float64)


def _log_likelihoods(logits: Vector, codes: NDArray[np.intp]) -> Vector:
    """Return log p of each row's class, p clipped as scikit-learn's `log_loss` does."""
    if logits.shape[1] == 1:
        logits = np.concatenate((np.zeros_like(logits), logits), axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted[np.arange(len(codes)), codes] - np.log(np.exp(shifted).sum(axis=1))
    return _clipped(np.exp(logs))


def _log_likelihoods_of_rest(logits: Vector, codes: NDArray[np.intp]) -> Vector:
    """Return the same for a sigmoid for each class, scaled to sum to one."""
    proba = 0.5 * (1.0 + np.tanh(0.5 * logits))
    return _clipped(proba[np.arange(len(codes)), codes] / proba.sum(axis=1))


def _clipped(proba: Vector) -> Vector:
    logs: Vector = np.log(np.clip(proba, EPS, 1.0 - EPS))
    return logs


# By the name of the scoring: for classes that share their probability, and one against the rest.
ROW_SCORES = {
    None: (_hits, _hits),
    "accuracy": (_hits, _hits),
    "neg_log_loss": (_log_likelihoods, _log_likelihoods_of_rest),
}
