"""The protocols of models that pictures draw: scikit-learn's names, for models of any library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array


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
