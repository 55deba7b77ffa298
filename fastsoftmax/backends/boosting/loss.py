"""The softmax cross-entropy as boosting wants it: gradients, curvatures by a rule, and metrics of margins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax import functional
from fastsoftmax.backends import memory
from fastsoftmax.contracts.wording import shown
from fastsoftmax.functional import arguments
from fastsoftmax.kernels.cpu.boosting import slopes_and_curvatures

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, Vector


class Rule(NamedTuple):
    """What stands for a number's curvature: factor · p (1 − p), at least `floor`, times the row's weight."""

    factor: float
    floor: float


def rule_of(name: str, n_classes: int) -> Rule:
    """Return a rule by its name, for so many classes. Raises ValueError for others.

    "exact" is the Hessian's diagonal, and what CatBoost takes the whole Hessian of; twice that is XGBoost's,
    an upper bound of the diagonal's sum with what its neighbours add; K / (K − 1) is LightGBM's.
    """
    rules = {
        "exact": Rule(1.0, 0.0),
        "xgboost": Rule(2.0, 1e-16),
        "lightgbm": Rule(n_classes / (n_classes - 1.0) if n_classes > 1 else 1.0, 0.0),
    }
    if name not in rules:
        raise ValueError(f"hessian must be one of {', '.join(map(repr, rules))}; got {shown(name)}")
    return rules[name]


class SoftmaxLoss:
    """The options of an objective, validated once, and its sums for the rows of a call.

    Parameters
    ----------
    soft_labels : array_like (n, K), optional
        Probabilities in place of the data set's labels.
    class_weight : array_like (K,), optional
    label_smoothing : float in [0, 1]
    hessian : {"exact", "xgboost", "lightgbm"}
    """

    def __init__(
        self,
        soft_labels: ArrayLike | None,
        class_weight: ArrayLike | None,
        label_smoothing: float,
        hessian: str,
    ) -> None:
        self.soft_labels = None if soft_labels is None else np.asarray(soft_labels, dtype=np.float64)
        if self.soft_labels is not None and self.soft_labels.ndim != 2:
            raise ValueError(f"soft_labels must have shape (n, K); got {self.soft_labels.shape}")
        self.class_weight = None
        if class_weight is not None:
            self.class_weight = arguments.weights("class_weight", class_weight, np.size(class_weight))
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1]; got {shown(label_smoothing)}")
        self.label_smoothing = float(label_smoothing)
        rule_of(hessian, 2)
        self.hessian = hessian

    def target_of(self, labels: Any, n_rows: int, n_classes: int, dtype: Any) -> Array:
        """Return int64 labels (n,), or probabilities (n, K) of this dtype.

        Labels are float32 numbers as the libraries keep them, or a matrix of probabilities.
        """
        soft = self.soft_labels
        labels = np.asarray(labels)
        if soft is None and n_classes > 1 and labels.shape == (n_rows, n_classes):
            soft = labels
        if soft is not None:
            if soft.shape != (n_rows, n_classes):
                raise ValueError(f"soft labels must have shape ({n_rows}, {n_classes}); got {soft.shape}")
            return np.ascontiguousarray(soft, dtype=dtype)
        codes = labels.reshape(-1)
        if codes.shape != (n_rows,):
            raise ValueError(f"there must be a label for each of {n_rows} rows; got shape {labels.shape}")
        integers = codes.astype(np.int64)
        in_range = not n_rows or (integers.min() >= 0 and integers.max() < n_classes)
        if not in_range or (integers != codes).any():
            wrong = _wrong(codes, n_classes)
            raise ValueError(f"labels must be the integers 0 to {n_classes - 1}; got {wrong}")
        return integers

    def masses_of(self, target: Array, weight: Vector | None, n_classes: int) -> tuple[Array, Vector]:
        """Return what a kernel takes for targets: labels or masses (n, K), and the rows' sums of masses.

        A mass is class weight × smoothed target × weight of the row; labels stay labels where each has all of
        its row's mass.
        """
        if self.class_weight is not None and len(self.class_weight) != n_classes:
            raise ValueError(f"class_weight must have {n_classes} numbers; got {len(self.class_weight)}")
        if target.ndim == 1 and not self.label_smoothing:
            mass = np.ones(1) if weight is None else weight
            return target, mass if self.class_weight is None else mass * self.class_weight[target]
        masses = np.eye(n_classes, dtype=np.float64)[target] if target.ndim == 1 else target
        masses = (1.0 - self.label_smoothing) * masses + self.label_smoothing / n_classes
        if self.class_weight is not None:
            masses *= self.class_weight
        if weight is not None:
            masses *= weight[:, None]
        return masses, masses.sum(1)

    def grad_and_hess(
        self, margins: Array, labels: Any, weight: Any, *, by_class: bool = False
    ) -> tuple[Array, Array]:
        """Return gradient and curvature of each margin.

        `margins` are C-ordered rows (n, K) of float32, or with `by_class` columns (K, n) of float64; the
        results are float32, laid out alike.
        """
        n_classes, n_rows = margins.shape if by_class else margins.shape[::-1]
        rule = rule_of(self.hessian, n_classes)
        target = self.target_of(labels, n_rows, n_classes, np.float64)
        target, mass = self.masses_of(target, weights_of(weight, n_rows), n_classes)
        grad, hess = (memory.empty(margins.shape, np.float32) for _ in range(2))
        if target.ndim == 2:
            target = target.astype(margins.dtype, copy=False)
        slopes_and_curvatures(
            margins,
            target,
            mass,
            factor=rule.factor,
            floor=rule.floor,
            out=(grad, hess),
            by_class=by_class,
        )
        return grad, hess

    def mean(self, margins: Array, labels: Any, weight: Any) -> float:
        """Return the mean cross-entropy of rows of margins (n, K), in nats."""
        target = self.target_of(labels, len(margins), margins.shape[1], margins.dtype)
        return float(
            functional.cross_entropy(
                margins,
                target,
                class_weight=self.class_weight,
                sample_weight=weights_of(weight, len(margins)),
                label_smoothing=self.label_smoothing,
            )
        )


def weights_of(weight: Any, n_rows: int) -> Vector | None:
    """Return weights of rows as float64, or None for none; XGBoost has an empty array for them."""
    return None if weight is None or np.size(weight) == 0 else arguments.weights("weight", weight, n_rows)


def error_rate(margins: Array, labels: Any, weight: Any) -> float:
    """Return the weighted part of rows (n, K) whose largest margin is not that of their label."""
    loss = SoftmaxLoss(None, None, 0.0, "exact")
    target = loss.target_of(labels, len(margins), margins.shape[1], margins.dtype)
    target = target if target.ndim == 1 else target.argmax(1)
    return float(np.average(margins.argmax(1) != target, weights=weights_of(weight, len(margins))))


METRICS = ("logloss", "error")


def metric_of(name: str, margins: Array, labels: Any, weight: Any) -> float:
    """Return a metric by its name."""
    if name == "error":
        return error_rate(margins, labels, weight)
    return SoftmaxLoss(None, None, 0.0, "exact").mean(margins, labels, weight)


def check_metric(name: str) -> str:
    """Return the name of a metric. Raises ValueError for others."""
    if name not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(map(repr, METRICS))}; got {shown(name)}")
    return name


def _wrong(codes: Array, n_classes: int) -> str:
    """Return the first label that is none."""
    with np.errstate(invalid="ignore"):
        good = (codes >= 0) & (codes < n_classes) & (np.floor(codes) == codes)
    return str(codes[~good][0])
