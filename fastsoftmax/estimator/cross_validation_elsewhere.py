"""Cross-validation on rows that are not in memory: folds are row weights where the rows are."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Params
from fastsoftmax.contracts.queries import TargetSum, Together
from fastsoftmax.contracts.wording import shown
from fastsoftmax.estimator import folds, hyperparameters, streamed
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.sources.dear import source_of
from fastsoftmax.sources.folds import Fold, InFold, Score, TrainingRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.blocks.targets import Targets
    from fastsoftmax.estimator.hyperparameters import Settings
    from fastsoftmax.estimator.labels import Labels
    from fastsoftmax.estimator.progress_line import ProgressLine
    from fastsoftmax.sources.dear import DearSource

EPS = float(np.finfo(np.float64).eps)


def fitted(
    model: Any, rows: RowSet, Cs: list[float], cv: Any, scoring: Any, settings: Settings,
    line: ProgressLine | None,
) -> tuple[Labels, folds.FoldFits, Vector]:  # fmt: skip
    """Return the labels, the fits of each fold and C, and their scores (folds, m).

    Parameters
    ----------
    model : SoftmaxRegression
        With the parameters of the fits; its attributes of features are set.
    rows : RowSet
    Cs : list of float
    cv : int or None
        The number of folds, five by default.
    scoring : {None, "accuracy", "neg_log_loss"}
    settings : Settings
    line : ProgressLine or None

    Raises
    ------
    ValueError
        An option does not go with such rows.

    Notes
    -----
    One reading for the weights of all folds, those of the fits, and one a fold for its scores.
    """
    n_folds = _refuse(model, rows, cv, settings)
    if scoring not in ROW_SCORES:
        raise ValueError(
            f"scoring must be None, 'accuracy' or 'neg_log_loss' for rows that are not in memory; got "
            f"{shown(scoring)}"
        )
    fit, labels = streamed.prepared(model, rows, None, None, settings._replace(C=max(Cs)))
    if not isinstance(fit, streamed.StreamedFit):
        raise TypeError("rows that are kept in memory are fitted as arrays")
    targets = fit.targets
    if targets.by_class is not None and not np.all(targets.by_class > 0):
        raise ValueError("a class_weight of zero leaves rows without a score; give weights of zero instead")
    encoded: dict[Any, Any] = {}
    all_rows: Any = _Sharing(rows, encoded)
    everything = source_of(all_rows, targets, fit.loss, model.n_threads, BufferPool())
    weights = _weights(everything, targets, n_folds)
    order = np.argsort(Cs, kind="stable")
    fits = folds.FoldFits.empty((n_folds, len(Cs)), targets.n_outputs, rows.n_features)
    scores = np.empty((n_folds, len(Cs)))
    for number in range(n_folds):
        if not np.any(weights[number]):
            raise ValueError(f"the training set of fold {number} has no row of positive weight")
        training: Any = TrainingRows(rows, Fold(number, n_folds, True), weights[number], encoded)
        part = streamed.StreamedFit(model, training, targets, labels, settings._replace(C=max(Cs)))
        _along_the_path(model, part, labels, [Cs[j] for j in order], order, folds.part(fits, number), line)
        scores[number] = _scores(everything, targets, fits, number, n_folds, scoring)
    return labels, fits, scores


class _Sharing:
    """A `RowSet` whose encoded blocks are shared with those of its folds."""

    def __init__(self, rows: RowSet, encoded: dict[Any, Any]) -> None:
        self._rows, self.encoded = rows, encoded

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)


def _refuse(model: Any, rows: RowSet, cv: Any, settings: Settings) -> int:
    """Return the number of folds. Raises ValueError for what takes rows in memory."""
    if settings.is_sparse:
        hyperparameters.refuse_for_absolutes("a cross-validation of rows that are not in memory")
    if model.standardize:
        raise ValueError("standardize=True takes rows in memory: each fold has deviations of its own")
    n_folds = 5 if cv is None else cv
    if not isinstance(n_folds, Integral) or n_folds < 2:
        raise ValueError(
            f"cv must be a number of folds for rows that are not in memory, 2 or more; got {shown(cv)}"
        )
    rows.classes  # noqa: B018  (raises if there are no labels)
    if rows.look().n_columns is not None:
        raise ValueError("labels that are a matrix take rows in memory for a cross-validation")
    return int(n_folds)


def _weights(source: DearSource, targets: Targets, n_folds: int) -> Vector:
    """Return the summed weights of each fold's training rows by class, (folds, K), without their factors."""
    parts = tuple(InFold(TargetSum(), Fold(number, n_folds, True)) for number in range(n_folds))
    sums = source.sum(Together(parts)).each
    if targets.n_outputs == 1:
        found = np.array([[each.weight - each.intercept[0], each.intercept[0]] for each in sums])
    else:
        found = np.array([each.intercept for each in sums])
    return found if targets.by_class is None else found / targets.by_class


def _along_the_path(
    model: Any, fit: Any, labels: Labels, Cs: list[float], places: NDArray[np.intp], fits: folds.FoldFits,
    line: ProgressLine | None,
) -> None:  # fmt: skip
    """Minimise for one training set, from the strongest penalty on, each from the optimum before."""
    x = fit.start(np.zeros(fit.objective.n_params), label_reader.unobserved_classes(labels, fit.data[2]))
    for C, j in zip(Cs, places.tolist()):
        fit = fit.at(C)
        solution = copy.copy(model)._minimize(fit.solver, fit.objective, x, line)
        x = solution.x
        attributes = fit.attributes_of(x, np.float64)
        fits.coef[j], fits.intercept[j] = attributes["coef_"], attributes["intercept_"]
        fits.n_iter[j] = min(len(solution.history) - 1, model.max_iter)
        fits.converged[j] = solution.converged


def _scores(
    source: DearSource, targets: Targets, fits: folds.FoldFits, number: int, n_folds: int, scoring: Any
) -> Vector:
    """Return the scores (m,) of one fold's fits on its held-out rows. One reading."""
    row_score = ROW_SCORES[scoring][targets.one_vs_rest]
    queries = tuple(
        Score(Params(coef, intercept), row_score, targets.by_class)
        for coef, intercept in zip(fits.coef[number], fits.intercept[number])
    )
    sums = source.sum(InFold(Together(queries), Fold(number, n_folds, False))).each
    if not sums[0].weight > 0:
        raise ValueError(f"fold {number} has no held-out row of positive weight")
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
