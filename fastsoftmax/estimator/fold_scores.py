"""Scores of the fits of a fold on its held-out rows, from logits that are computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import get_scorer

from fastsoftmax import devices
from fastsoftmax.contracts import Params
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.estimator.softmax_regression import SoftmaxRegression
from fastsoftmax.runtime.scikit_learn import naming_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Array, MatrixLike, Vector
    from fastsoftmax.estimator.folds import FoldFits, Problem

EPS = float(np.finfo(np.float64).eps)
LOGITS_BYTES = 2**26  # of the held-out rows for as many C as fit in


class Held(SoftmaxRegression):
    """A fitted model that knows its logits of certain rows, for scorers that ask for several results.

    It knows them by the object that holds the rows; for others it computes, as any model does.
    """

    _held: tuple[Any, Array] = (None, np.empty((0, 0)))

    def hold(self, X: Any, logits: Array) -> None:
        """Keep the logits (n, K) of rows X, which are not copied."""
        self._held = X, logits

    def held(self, X: Any) -> Array:
        """Return the logits (n, K) of rows X that are kept."""
        assert X is self._held[0]
        return self._held[1]

    def decision_function(self, X: MatrixLike) -> Array:
        """Return the logits, (n, K), or (n,) for two classes."""
        rows, logits = self._held
        if X is not rows:
            return super().decision_function(X)
        return logits[:, 0] if self._is_binary() else logits

    def predict(self, X: MatrixLike) -> Array:
        """Return the most probable label of each row."""
        rows, logits = self._held
        if X is not rows:
            return super().predict(X)
        if self._multilabel:
            return (logits > 0).astype(np.int64)
        codes = (logits[:, 0] > 0).astype(np.intp) if self._is_binary() else logits.argmax(axis=1)
        labels: Array = self.classes_[codes]
        return labels

    def predict_proba(self, X: MatrixLike) -> Array:
        """Return the class probabilities, (n, K)."""
        return self._known_probabilities(X, log=False)

    def predict_log_proba(self, X: MatrixLike) -> Array:
        """Return the log-probabilities, (n, K)."""
        return self._known_probabilities(X, log=True)

    def _known_probabilities(self, X: MatrixLike, *, log: bool) -> Array:
        rows, logits = self._held
        if X is not rows:
            return super().predict_log_proba(X) if log else super().predict_proba(X)
        return self._probabilities(devices.host(), logits.copy(), log=log)


class Scores:
    """The scores of fits on held-out rows.

    Parameters
    ----------
    problem : Problem
    X, y : array_like
        As the user gave them: scorers get parts of them.
    scoring : str, callable or None
        As LogisticRegressionCV has it; None is accuracy.
    params : dict
        Further arguments of the scorer; arrays with an entry for each row are cut to the held-out rows.
    """

    def __init__(
        self, problem: Problem, X: MatrixLike, y: ArrayLike, scoring: Any, params: dict[str, Any]
    ) -> None:
        self._problem, self._X, self._y = problem, _indexable(X), _indexable(y)
        self._params = {name: _indexable(value) for name, value in params.items()}
        labels = problem.labels
        self._model = Held(**problem.model.get_params(deep=False))
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(problem.model, name):
                setattr(self._model, name, getattr(problem.model, name))
        self._model.__dict__.update(labels.attributes)
        # A metric takes longer to check its arguments than these two to be computed.
        plain = set(params) <= {"sample_weight"} and isinstance(scoring, str | None)
        self._metric = (
            {None: _hits, "accuracy": _hits, "neg_log_loss": _log_likelihoods}.get(scoring) if plain else None
        )
        self._codes = None if self._metric is None else _codes(labels, self._y)
        self._scorer: Callable[..., float] | None = None
        if self._codes is None:
            self._scorer = naming_labels(get_scorer(scoring or "accuracy"), labels.classes)

    def of(self, fits: FoldFits, held_out: NDArray[np.intp], points: Sequence[tuple[float, float]]) -> Vector:
        """Return the scores (m,) of one fold's fits, by l1_ratio and C, on the rows of these numbers."""
        params = {
            name: _taken(value, held_out, len(self._problem.weight)) for name, value in self._params.items()
        }
        scores = np.empty(len(points))
        X, y = _taken(self._X, held_out), _taken(self._y, held_out)
        for j, z in self._logits(fits, held_out):
            self._model.l1_ratio, self._model.C = points[j]
            self._model.coef_, self._model.intercept_ = fits.coef[j], fits.intercept[j]
            self._model.hold(X, z)
            if self._scorer is not None:
                scores[j] = self._scorer(self._model, X, y, **params)
            elif self._metric is not None and self._codes is not None:
                found: Any = self._metric(self._model, X, self._codes[held_out])
                scores[j] = np.average(found, weights=params.get("sample_weight"))
        return scores

    def _logits(self, fits: FoldFits, held_out: NDArray[np.intp]) -> Iterator[tuple[int, Vector]]:
        """Yield the number of each fit and its logits (n, K), float64: those of several from one product."""
        rows = self._problem.rows
        rows = storage_of(rows).take(rows, held_out)
        n_fits, n_outputs = fits.intercept.shape
        at_once = max(1, LOGITS_BYTES // (8 * n_outputs * max(1, len(held_out))))
        for first in range(0, n_fits, at_once):
            coef, intercept = (part[first : first + at_once] for part in (fits.coef, fits.intercept))
            params = Params(coef.reshape(-1, coef.shape[-1]), intercept.ravel())
            z = devices.host().logits(params, rows, self._model.n_threads, dtype=np.dtype(np.float64))
            for j in range(len(coef)):
                yield first + j, z[:, j * n_outputs : (j + 1) * n_outputs]


def _hits(model: Held, X: Any, codes: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of the rows whose logits are held have the class of that number as the most probable."""
    z = model.held(X)
    found: NDArray[np.bool_] = (z[:, 0] > 0 if model._is_binary() else z.argmax(axis=1)) == codes
    return found


def _log_likelihoods(model: Held, X: Any, codes: NDArray[np.intp]) -> Vector:
    """Return log p of the class of that number in each row, p clipped as scikit-learn's `log_loss` does."""
    proba = model.predict_proba(X)[np.arange(len(codes)), codes]
    logs: Vector = np.log(np.clip(proba, EPS, 1.0 - EPS))
    return logs


def _codes(labels: Any, y: Any) -> NDArray[np.intp] | None:
    """Return the place of each row's label among the classes; None for y that is no list of labels."""
    if labels.multilabel or (len(y.shape) == 2 and y.shape[1] > 1):
        return None
    if labels.target.ndim == 1:
        return labels.target.astype(np.intp)
    codes = labels.target[:, 0] if labels.n_outputs == 1 else labels.target.argmax(axis=1)
    return codes.astype(np.intp)


def _indexable(values: Any) -> Any:
    """Return an array, sparse matrix by rows, or frame as it is; what else there is of rows, as an array."""
    if hasattr(values, "tocsr"):
        return values.tocsr()
    if isinstance(values, list | tuple) or (hasattr(values, "__array__") and not hasattr(values, "iloc")):
        return np.asarray(values)
    return values


def _taken(values: Any, places: NDArray[np.intp], n_rows: int | None = None) -> Any:
    """Return the rows of these numbers; with `n_rows`, what has another number of rows as it is."""
    shape = getattr(values, "shape", ())
    if n_rows is not None and (not shape or shape[0] != n_rows):
        return values
    return values.iloc[places] if hasattr(values, "iloc") else values[places]
