"""The softmax objective and its metrics for CatBoost.

CatBoost calls an objective row by row, from Python, so that what counts is the cost of a call: a row is
computed in Python's own floats, which for some ten classes take less time than any array does.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.backends.boosting.loss import SoftmaxLoss, check_metric, metric_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike


def catboost_objective(
    *, class_weight: ArrayLike | None = None, label_smoothing: float = 0.0
) -> CatBoostObjective:
    """Return a softmax objective for `CatBoost(loss_function=…)`: that of "MultiClass".

    Parameters
    ----------
    class_weight, label_smoothing
        As in `xgboost_objective`. CatBoost takes the whole Hessian of a row, diag(p) − p pᵀ, so that there is
        no rule for it.

    Returns
    -------
    object
        With `calc_ders_multi`, which CatBoost calls for each row: derivatives of minus the loss. Can be
        pickled.

    Raises
    ------
    catboost.CatBoostError
        Options out of range; when called: a label that is none of 0 … K − 1.

    Notes
    -----
    Give CatBoost `classes_count`, and a metric (`catboost_metric`). Take `CatBoost`, not CatBoostClassifier:
    that predicts no labels with an objective of one's own. `predict` gives raw values;
    `fastsoftmax.softmax(values, axis=1)` are the probabilities.

    Examples
    --------
    >>> from fastsoftmax.boosting import catboost_objective
    >>> slopes, curvatures = catboost_objective().calc_ders_multi([0.0, 0.0], 1.0, 1.0)
    >>> slopes
    [-0.5, 0.5]
    """
    with _catboosts_errors():
        loss = SoftmaxLoss(None, class_weight, label_smoothing, "exact")
        weights = None if loss.class_weight is None else loss.class_weight.tolist()
        return CatBoostObjective(weights, loss.label_smoothing)


def catboost_metric(metric: str = "logloss") -> CatBoostMetric:
    """Return a metric for `CatBoost(eval_metric=…)`: "logloss" (mean, in nats) or "error" (a rate)."""
    with _catboosts_errors():
        return CatBoostMetric(check_metric(metric))


class CatBoostObjective:
    """What `catboost_objective` returns."""

    def __init__(self, class_weight: list[float] | None, label_smoothing: float) -> None:
        self._class_weight = class_weight
        self._label_smoothing = label_smoothing

    def calc_ders_multi(
        self, approx: Sequence[float], target: float, weight: float
    ) -> tuple[list[float], list[list[float]]]:
        """Return the first and second derivatives of −wℓ by a row's raw values."""
        n_classes, label = len(approx), int(target)
        if label != target or not 0 <= label < n_classes:
            with _catboosts_errors():
                raise ValueError(f"labels must be the integers 0 to {n_classes - 1}; got {target}")
        largest = max(approx)
        exponentials = [math.exp(z - largest) for z in approx]
        total = math.fsum(exponentials)
        p = [e / total for e in exponentials]
        masses = self._masses(label, n_classes)
        mass = weight * math.fsum(masses)
        slopes = [weight * a - mass * each for a, each in zip(masses, p)]
        curvatures = [[mass * each * other for other in p] for each in p]
        for k, each in enumerate(p):
            curvatures[k][k] -= mass * each
        return slopes, curvatures

    def _masses(self, label: int, n_classes: int) -> list[float]:
        """Return class weight × smoothed target of each class."""
        share = self._label_smoothing / n_classes
        masses = [share] * n_classes
        masses[label] += 1.0 - self._label_smoothing
        if self._class_weight is None:
            return masses
        if len(self._class_weight) != n_classes:
            with _catboosts_errors():
                raise ValueError(f"class_weight must have {n_classes} numbers; got {len(self._class_weight)}")
        return [a * each for a, each in zip(masses, self._class_weight)]


class CatBoostMetric:
    """What `catboost_metric` returns."""

    def __init__(self, name: str) -> None:
        self._name = name

    def is_max_optimal(self) -> bool:
        """Return False: less is better."""
        return False

    def evaluate(self, approxes: Any, target: Any, weight: Any) -> tuple[float, float]:
        """Return Σ w × metric and Σ w of rows, whose raw values are K sequences."""
        with _catboosts_errors():
            margins = np.ascontiguousarray(np.asarray(approxes, dtype=np.float64).T)
            total = float(len(margins) if weight is None or not len(weight) else np.sum(weight))
            return total * metric_of(self._name, margins, target, weight), total

    def get_final_error(self, error: float, weight: float) -> float:
        """Return the mean."""
        return error / weight if weight else 0.0


@contextlib.contextmanager
def _catboosts_errors() -> Iterator[None]:
    """Raise CatBoost's error for wrong arguments."""
    try:
        yield
    except (TypeError, ValueError) as error:
        from catboost import CatBoostError

        raise CatBoostError(str(error)) from error
