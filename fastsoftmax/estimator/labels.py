"""Users' labels, converted to the targets of the objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastsoftmax.contracts import compute_dtype
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import validation
from fastsoftmax.estimator import counts

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Array, Rows, Vector


EXACT = 2.0**53  # float64 tells whole numbers below it apart


class Labels(NamedTuple):
    """The classes, the targets of the rows, the name of their loss, and the number of logits.

    `one_vs_rest` tells that each of more than two classes is told from all others by a sigmoid of its own.
    """

    classes: Array
    target: Array
    loss: str
    n_outputs: int
    one_vs_rest: bool = False

    @property
    def multilabel(self) -> bool:
        """Whether the labels are independent of each other, one logit each."""
        return self.loss == "sigmoid" and self.n_outputs == len(self.classes) and not self.one_vs_rest

    @property
    def attributes(self) -> dict[str, Any]:
        """What a fitted model keeps of its labels."""
        return {
            "classes_": self.classes,
            "_multilabel": self.multilabel,
            "_one_vs_rest": self.one_vs_rest,
        }


def read(
    y: ArrayLike,
    rows: Rows,
    loss: str,
    classes: Array | None = None,
    *,
    multi_class: str = "multinomial",
) -> Labels:
    """Return the classes and the validated targets of the rows.

    Parameters
    ----------
    y : array_like
        (n,) labels of any kind that sorts; or (n, K) probabilities or counts, or with loss "sigmoid"
        independent labels in [0, 1]. The columns of a frame, if their names are all strings, name the
        classes.
    rows : ndarray or Csr, (n, d)
    loss : {"softmax", "sigmoid"}
    classes : ndarray (K,), optional
        All possible labels; by default those in y.
    multi_class : {"multinomial", "ovr"}
        With "ovr" more than two classes are as many sigmoids, and the targets a matrix (n, K).

    Raises
    ------
    ValueError
        If y has another length than the rows, one class only, or labels that are not among the classes, or
        is a matrix that does not hold probabilities, or whose columns are not the classes.

    Notes
    -----
    Two classes are one logit with a sigmoid: scikit-learn's binary model.
    """
    validation.refuse_masked("y", y)
    shape = np.asarray(y).shape
    if len(shape) == 2 and (shape[1] > 1 or loss == "sigmoid"):
        labels = _matrix(y, rows, loss, shape[1], classes)
        separate = multi_class == "ovr" and labels.loss == "softmax"
        return labels._replace(loss="sigmoid", one_vs_rest=True) if separate else labels
    if len(shape) != 1 and shape[1:] != (1,):
        raise ValueError(f"y must be labels (n,) or a matrix (n, K); got shape {shape}")
    found = _plain_codes(y, rows) if classes is None else None
    all_classes, codes = found or _codes(y, rows, classes)
    if len(all_classes) < 2:
        raise ValueError(
            "SoftmaxRegression needs samples of at least 2 classes in the data, but the data contains "
            f"only one class: {shown(all_classes[0])}"
        )
    if len(all_classes) == 2:
        column = (codes == 1)[:, np.newaxis]
        return Labels(all_classes, validation.targets(column, 1, "sigmoid", rows), "sigmoid", 1)
    if loss == "sigmoid":
        raise ValueError(
            "Only binary classification is supported. The type of the target is multiclass: loss='sigmoid' "
            "takes y as two classes, or as a matrix (n, K) of labels in [0, 1]"
        )
    target = validation.targets(codes, len(all_classes), "softmax", rows)
    if multi_class == "ovr":
        indicators = np.zeros((len(target), len(all_classes)), compute_dtype(rows))
        indicators[np.arange(len(target)), target] = 1.0
        return Labels(all_classes, indicators, "sigmoid", len(all_classes), one_vs_rest=True)
    return Labels(all_classes, target, "softmax", len(all_classes))


def _codes(y: ArrayLike, rows: Rows, classes: Array | None) -> tuple[Array, Array]:
    """Return the sorted classes, and the place of each label among them (n,). Raises as `read` does."""
    _refuse_missing(y)
    y = column_or_1d(y, warn=True)
    check_consistent_length(rows, y)
    assert_all_finite(y, input_name="y")
    check_classification_targets(y)
    encoder = LabelEncoder().fit(y if classes is None else classes)
    unknown = np.setdiff1d(y, encoder.classes_)
    if len(unknown):
        raise ValueError(f"y holds labels that are not among the classes: {shown(unknown[:5])}")
    return encoder.classes_, encoder.transform(y)


def _plain_codes(y: Any, rows: Rows) -> tuple[Array, Array] | None:
    """Return what `_codes` does for NumPy's labels without a fault; None for others, which it has to read.

    The checks there look for the labels that occur three times, and take longer than a small fit.
    """
    if type(y) is not np.ndarray or y.shape != rows.shape[:1] or not y.dtype.isnative:
        return None
    kind = y.dtype.kind
    if kind not in "biufU" or (kind == "f" and y.dtype.itemsize > 8):
        return None
    if kind == "f":  # only whole numbers that an integer holds; NaN is none
        with np.errstate(invalid="ignore"):
            if not (np.abs(y) < EXACT).all() or (y != np.floor(y)).any():
                return None
    present = np.unique(y)
    if len(present) > len(y) // 2:  # perhaps so many that scikit-learn warns
        return None
    return present, np.searchsorted(present, y)


def _refuse_missing(y: ArrayLike) -> None:
    """Raise an error that names the first of labels that is missing, or text among numbers."""
    # a list as NumPy takes it makes a class 'nan' of text and NaN
    labels = np.array(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y)
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        row = int(np.flatnonzero(np.isnan(labels))[0])
        raise ValueError(f"Input y contains NaN: the label of row {row} (the first is 0) is nan")
    if labels.dtype.kind != "O":
        return
    first_text = first_other = None
    for row, label in enumerate(labels.ravel().tolist()):
        if label is None or type(label).__name__ in ("NAType", "NaTType") or (label != label) is True:
            raise ValueError(
                f"Input y contains NaN: the label of row {row} (the first is 0) is {shown(label)}"
            )
        if isinstance(label, str):
            first_text = row if first_text is None else first_text
        elif first_other is None:
            first_other = row
    if first_text is not None and first_other is not None and not isinstance(y, list | tuple):
        raise TypeError(
            f"y mixes text and other labels: rows {first_text} and {first_other} (the first is 0) have "
            f"{shown(labels.ravel()[first_text])} and {shown(labels.ravel()[first_other])}; "
            "make it text: y.astype(str)"
        )


def _matrix(y: Any, rows: Rows, loss: str, width: int, classes: Array | None) -> Labels:
    """Return the classes and the targets of a matrix (n, K) of probabilities, or of counts.

    The classes are the names of its columns, in their order, or 0 … K − 1; or `classes`, to whose order the
    columns of those names are brought.
    """
    names = _column_names(y)
    y = counts.shares(y) if loss == "softmax" else y
    if classes is not None:
        if width != len(classes):
            raise ValueError(f"y has {width} columns; there are {len(classes)} classes: {shown(classes)}")
        if names is not None and classes.dtype.kind in "UO":
            place = {name: j for j, name in enumerate(names)}
            if place.keys() != set(classes.tolist()):
                raise ValueError(f"y has the columns {shown(names)}; the classes are {shown(classes)}")
            y = np.asarray(y)[:, [place[name] for name in classes.tolist()]]
    elif names is not None:
        if len(set(names)) < width:
            raise ValueError(f"the columns of y must have different names; got {shown(names)}")
        classes = np.array(names)
    else:
        classes = np.arange(width)
    target = validation.targets(y, width, loss, rows)
    if loss == "softmax" and width == 2:
        return Labels(classes, np.ascontiguousarray(target[:, 1:]), "sigmoid", 1)
    return Labels(classes, target, loss, width)


def _column_names(y: Any) -> list[str] | None:
    """Return the names of the columns of a frame of any library, if all are strings; else None."""
    names = list(getattr(y, "columns", ()))
    return [str(name) for name in names] if names and all(isinstance(n, str) for n in names) else None


def weights(
    y: ArrayLike, sample_weight: ArrayLike | None, class_weight: dict[Any, float] | str | None
) -> Vector:
    """Return the row weights (n,), float64: sample weight times the weight of the row's class.

    Of counts, times their sum in the row.
    """
    shape = np.asarray(y).shape
    weight = validation.sample_weights(sample_weight, shape[0]) * counts.totals(y)
    if class_weight is None:
        return weight
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError("class_weight goes with labels (n,); weigh the rows of a matrix by sample_weight")
    y = column_or_1d(y)
    present, codes = np.unique(y, return_inverse=True)
    with np.errstate(divide="ignore"):  # "balanced" divides by the weight of a class, which may be 0
        by_class = compute_class_weight(class_weight, classes=present, y=y, sample_weight=weight)
    product: Vector = np.zeros_like(weight)
    return np.multiply(weight, by_class[codes], out=product, where=weight > 0)


def unobserved_classes(labels: Labels, weight: Vector) -> NDArray[np.int8]:
    """Return the signs (n_outputs,) of intercepts whose optimum is infinite, 0 for the others.

    −1 if no row of positive weight has the class or label, +1 if with loss "sigmoid" all of them have it.
    """
    if labels.target.ndim == 1:
        totals = np.bincount(labels.target, weights=weight, minlength=labels.n_outputs)
        return -(totals == 0).astype(np.int8)
    counted = labels.target if weight.all() else labels.target[weight > 0]
    always = (counted.min(axis=0) == 1) & (labels.loss == "sigmoid")
    return always.astype(np.int8) - (counted.max(axis=0) == 0)
