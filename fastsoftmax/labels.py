"""Labels as users have them, turned into targets as the objective takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastsoftmax import validation

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Labels(NamedTuple):
    """The classes, the targets of the rows, the loss that they have, and its number of logits."""

    classes: NDArray[Any]
    target: NDArray[Any]
    loss: str
    n_outputs: int

    @property
    def multilabel(self) -> bool:
        """Whether the labels do not exclude each other: each has a logit of its own."""
        return self.loss == "sigmoid" and self.n_outputs == len(self.classes)


def read(y: Any, rows: Any, loss: str, classes: NDArray[Any] | None = None) -> Labels:
    """Return the labels of the rows.

    Parameters
    ----------
    y : array_like
        (n,) labels of any kind that sorts; or (n, K) probabilities, or with loss "sigmoid" independent
        labels in [0, 1].
    rows : ndarray or Csr, (n, d)
    loss : {"softmax", "sigmoid"}
    classes : ndarray (K,), optional
        All labels there are; by default those found.

    Raises
    ------
    ValueError
        If y has another length than the rows, one class only, labels that are not among the classes, or is
        a matrix that holds no probabilities.

    Notes
    -----
    Two classes are one logit with a sigmoid: scikit-learn's binary model.
    """
    validation.refuse_masked("y", y)
    shape = np.asarray(y).shape
    if len(shape) == 2 and (shape[1] > 1 or loss == "sigmoid"):
        return _matrix(y, rows, loss, shape[1])
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(f"y must be labels (n,) or a matrix (n, K); got shape {shape}")
    y = column_or_1d(y, warn=True)
    check_consistent_length(rows, y)
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    encoder = LabelEncoder().fit(y if classes is None else classes)
    strange = np.setdiff1d(y, encoder.classes_)
    if len(strange):
        raise ValueError(f"y holds labels that are not among the classes: {strange[:5]}")
    codes = encoder.transform(y)
    found = encoder.classes_
    if len(found) < 2:
        raise ValueError(
            "SoftmaxRegression needs samples of at least 2 classes in the data, but the data contains "
            f"only one class: {found[0]!r}"
        )
    if len(found) == 2:
        column = (codes == 1)[:, np.newaxis]
        return Labels(found, validation.targets(column, 1, "sigmoid", rows), "sigmoid", 1)
    if loss == "sigmoid":
        raise ValueError(
            "Only binary classification is supported. The type of the target is multiclass: loss='sigmoid' "
            "takes y as two classes, or as a matrix (n, K) of labels in [0, 1]"
        )
    return Labels(found, validation.targets(codes, len(found), "softmax", rows), "softmax", len(found))


def _matrix(y: Any, rows: Any, loss: str, width: int) -> Labels:
    target = validation.targets(y, width, loss, rows)
    if loss == "softmax" and width == 2:
        return Labels(np.arange(2), np.ascontiguousarray(target[:, 1:]), "sigmoid", 1)
    return Labels(np.arange(width), target, loss, width)


def weights(y: Any, sample_weight: Any, class_weight: Any) -> NDArray[np.float64]:
    """Return the row weights (n,): sample weight times the weight of the row's class."""
    shape = np.asarray(y).shape
    weight = validation.sample_weights(sample_weight, shape[0])
    if class_weight is None:
        return weight
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError("class_weight goes with labels (n,); weigh the rows of a matrix by sample_weight")
    y = column_or_1d(y)
    present, codes = np.unique(y, return_inverse=True)
    with np.errstate(divide="ignore"):  # "balanced" divides by what a class weighs, which may be nothing
        by_class = compute_class_weight(class_weight, classes=present, y=y, sample_weight=weight)
    product: NDArray[np.float64] = np.zeros_like(weight)
    return np.multiply(weight, by_class[codes], out=product, where=weight > 0)


def foregone(labels: Labels, weight: NDArray[np.float64]) -> NDArray[np.int8]:
    """Return which logits the rows leave no choice but infinity, (n_outputs,), if their intercepts are free.

    −1 where no row of positive weight has the class or label, +1 where with loss "sigmoid" all of them have
    it, 0 elsewhere.
    """
    if labels.target.ndim == 1:
        totals = np.bincount(labels.target, weights=weight, minlength=labels.n_outputs)
        return -(totals == 0).astype(np.int8)
    counted = labels.target if weight.all() else labels.target[weight > 0]
    always = (counted.min(axis=0) == 1) & (labels.loss == "sigmoid")
    return always.astype(np.int8) - (counted.max(axis=0) == 0)
