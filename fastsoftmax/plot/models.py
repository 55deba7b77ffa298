"""The models that pictures draw: their protocols, with scikit-learn's names, and the way into pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, Record


class Classifier(Protocol):
    """A fitted model that predicts labels."""

    @property
    def classes_(self) -> Array:
        """The labels (K,), sorted."""

    def predict(self, X: Any, /) -> ArrayLike:
        """Return the predicted label of each row, (n,)."""


class ProbabilisticClassifier(Classifier, Protocol):
    """A fitted model that predicts probabilities as well."""

    def predict_proba(self, X: Any, /) -> ArrayLike:
        """Return the probability of each class, (n, K)."""


class LinearClassifier(Classifier, Protocol):
    """A fitted linear model."""

    @property
    def coef_(self) -> ArrayLike:
        """The coefficients (K, d), or (1, d) for two classes."""


def classifier_in(model: Any) -> Any:
    """Return the classifier that a pipeline ends in, or that a search has fitted; any other model itself."""
    while True:
        if hasattr(model, "best_estimator_"):
            model = model.best_estimator_
        elif getattr(model, "steps", None):
            model = model.steps[-1][1]
        else:
            return model


def history_of(source: Any) -> Sequence[Record]:
    """Return the records of a history, of a fitted model, or of the model in a pipeline.

    Raises
    ------
    TypeError
        If it is something else.
    sklearn.exceptions.NotFittedError
        If the model is not fitted.
    ValueError
        If there is no record.
    """
    model = classifier_in(source)
    history = getattr(model, "history_", model)
    if hasattr(history, "fit"):
        check_is_fitted(model)
        raise TypeError(f"history must be records or a model with history_; got a {type(model).__name__}")
    if len(history) == 0:
        raise ValueError("history is empty; a picture takes at least one record")
    records: Sequence[Record] = history
    return records
