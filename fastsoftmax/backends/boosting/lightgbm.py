"""The softmax objective and its metrics for LightGBM."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.backends.boosting.loss import SoftmaxLoss, check_metric, metric_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array


def lightgbm_objective(
    *,
    soft_labels: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    hessian: str = "lightgbm",
) -> LightGBMObjective:
    """Return a softmax objective for `lightgbm.train({"objective": …})` and `LGBMClassifier(objective=…)`.

    Parameters
    ----------
    soft_labels, class_weight, label_smoothing, hessian
        As in `xgboost_objective`; the default rule is that of LightGBM's "multiclass", K / (K − 1) p (1 − p).

    Returns
    -------
    callable
        Of raw scores (n, K) and a Dataset, or of labels and scores as scikit-learn's interface calls it, to
        gradients and curvatures (n, K), float32, in LightGBM's own order (by class), so that it copies
        nothing. Can be pickled.

    Raises
    ------
    lightgbm.basic.LightGBMError
        Options out of range; when called: labels that are none of 0 … K − 1, shapes that disagree.

    Notes
    -----
    LightGBM does not start a custom objective from the classes' frequencies: with
    ``boost_from_average=False`` given to the built-in one, the trees are the same. Predictions are raw
    scores; `fastsoftmax.softmax(scores, axis=1)` are the probabilities.

    Examples
    --------
    >>> from fastsoftmax.boosting import lightgbm_objective
    >>> lightgbm_objective()
    lightgbm_objective(label_smoothing=0.0, hessian='lightgbm')
    """
    with _lightgbms_errors():
        return LightGBMObjective(SoftmaxLoss(soft_labels, class_weight, label_smoothing, hessian))


def lightgbm_metric(metric: str = "logloss") -> LightGBMMetric:
    """Return a metric for `lightgbm.train(feval=…)`: "logloss" (mean, in nats) or "error" (a rate).

    Of raw scores, which LightGBM's own metrics take for probabilities beside a custom objective.
    """
    with _lightgbms_errors():
        return LightGBMMetric(check_metric(metric))


class LightGBMObjective:
    """What `lightgbm_objective` returns."""

    def __init__(self, loss: SoftmaxLoss) -> None:
        self._loss = loss

    @property
    def __name__(self) -> str:
        return "softmax"

    def __repr__(self) -> str:
        loss = self._loss
        return f"lightgbm_objective(label_smoothing={loss.label_smoothing}, hessian={loss.hessian!r})"

    def __call__(self, first: Any, second: Any, weight: Any = None) -> tuple[Array, Array]:
        """Return gradients and curvatures of (scores, Dataset), or of (labels, scores, weights)."""
        if hasattr(second, "get_label"):
            scores, labels, weight = first, second.get_label(), second.get_weight()
        else:
            labels, scores = first, second
        with _lightgbms_errors():
            columns = np.ascontiguousarray(_scores(scores).T, dtype=np.float64)
            slopes, curvatures = self._loss.grad_and_hess(columns, labels, weight, by_class=True)
            return slopes.T, curvatures.T


class LightGBMMetric:
    """What `lightgbm_metric` returns."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def __name__(self) -> str:
        return f"multi_{self._name}"

    def __call__(self, first: Any, second: Any, weight: Any = None) -> tuple[str, float, bool]:
        """Return (name, value, False: less is better) of (scores, Dataset) or (labels, scores, weights)."""
        if hasattr(second, "get_label"):
            scores, labels, weight = first, second.get_label(), second.get_weight()
        else:
            labels, scores = first, second
        with _lightgbms_errors():
            value = metric_of(self._name, np.ascontiguousarray(_scores(scores)), labels, weight)
            return self.__name__, value, False


def _scores(scores: Any) -> Array:
    """Return raw scores (n, K). Raises ValueError for others."""
    scores = np.asarray(scores)
    if scores.ndim != 2:
        raise ValueError(f"scores must be (n, K): tell LightGBM num_class; got shape {scores.shape}")
    return scores


@contextlib.contextmanager
def _lightgbms_errors() -> Iterator[None]:
    """Raise LightGBM's error for wrong arguments."""
    try:
        yield
    except (TypeError, ValueError) as error:
        from lightgbm.basic import LightGBMError

        raise LightGBMError(str(error)) from error
