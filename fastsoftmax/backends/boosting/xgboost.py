"""The softmax objective and its metrics for XGBoost."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.backends.boosting.loss import SoftmaxLoss, check_metric, metric_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array


def xgboost_objective(
    *,
    soft_labels: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    hessian: str = "xgboost",
) -> XGBoostObjective:
    """Return a softmax objective for `xgboost.train(obj=…)` and `XGBClassifier(objective=…)`.

    Parameters
    ----------
    soft_labels : array_like (n, K), optional
        Probabilities of the training rows in place of the labels. A DMatrix with a matrix of labels brings
        its own.
    class_weight : array_like (K,), optional
        Weights of the classes, as in `cross_entropy`.
    label_smoothing : float in [0, 1], default 0.0
    hessian : {"xgboost", "lightgbm", "exact"}
        What stands for the second derivative: 2 p (1 − p), at least 1e-16, as `multi:softprob` has it;
        K / (K − 1) p (1 − p), as LightGBM has it; or p (1 − p). Times the row's weight.

    Returns
    -------
    callable
        Of raw margins (n, K) and a DMatrix, or of labels and margins as scikit-learn's interface calls it, to
        gradients and curvatures (n, K), float32. Can be pickled.

    Raises
    ------
    xgboost.core.XGBoostError
        Options out of range; when called: labels that are none of 0 … K − 1, shapes that disagree.

    Notes
    -----
    XGBoost starts a custom objective from `base_score` 0.5 for every class and the built-in one from a value
    estimated for each: with ``base_score=0.5`` given to both, the trees are the same. It does not multiply
    weights into custom gradients; this does. Tell it `num_class`, and ``objective="multi:softprob"`` where
    `predict` is to give probabilities.

    Examples
    --------
    >>> from fastsoftmax.boosting import xgboost_objective
    >>> xgboost_objective(label_smoothing=0.1)
    xgboost_objective(label_smoothing=0.1, hessian='xgboost')
    """
    with _xgboosts_errors():
        return XGBoostObjective(SoftmaxLoss(soft_labels, class_weight, label_smoothing, hessian))


def xgboost_metric(metric: str = "logloss") -> XGBoostMetric:
    """Return a metric for `xgboost.train(custom_metric=…)`: "logloss" (mean, in nats) or "error" (a rate).

    Of raw margins, which custom metrics get beside a custom objective. Weights of the DMatrix count.
    """
    with _xgboosts_errors():
        return XGBoostMetric(check_metric(metric))


class XGBoostObjective:
    """What `xgboost_objective` returns."""

    def __init__(self, loss: SoftmaxLoss) -> None:
        self._loss = loss

    @property
    def __name__(self) -> str:
        return "softmax"

    def __repr__(self) -> str:
        loss = self._loss
        return f"xgboost_objective(label_smoothing={loss.label_smoothing}, hessian={loss.hessian!r})"

    def __call__(self, first: Any, second: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Return gradients and curvatures of (margins, DMatrix), or of (labels, margins, weights)."""
        if hasattr(second, "get_label"):
            margins, labels, weight = first, second.get_label(), second.get_weight()
        else:
            labels, margins, weight = first, second, sample_weight
        with _xgboosts_errors():
            return self._loss.grad_and_hess(_rows(margins), labels, weight)


class XGBoostMetric:
    """What `xgboost_metric` returns."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def __name__(self) -> str:
        return f"m{self._name}"

    def __call__(self, first: Any, second: Any) -> Any:
        """Return (name, value) of (margins, DMatrix), or the value of (labels, margins)."""
        with _xgboosts_errors():
            if hasattr(second, "get_label"):
                value = metric_of(self._name, _rows(first), second.get_label(), second.get_weight())
                return self.__name__, value
            return metric_of(self._name, _rows(second), first, None)


def _rows(margins: Any) -> Array:
    """Return margins as C-ordered rows (n, K) of float32, which XGBoost's are."""
    margins = np.asarray(margins)
    if margins.ndim != 2:
        raise ValueError(f"margins must be (n, K): tell XGBoost num_class; got shape {margins.shape}")
    return np.ascontiguousarray(margins, dtype=np.float32)


@contextlib.contextmanager
def _xgboosts_errors() -> Iterator[None]:
    """Raise XGBoost's error for wrong arguments."""
    try:
        yield
    except (TypeError, ValueError) as error:
        from xgboost.core import XGBoostError

        raise XGBoostError(str(error)) from error
