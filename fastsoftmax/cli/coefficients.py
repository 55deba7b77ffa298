"""The features that weigh most for each class: what a model goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.estimator import SoftmaxRegression

_BLOCK_ROWS = 4096
_MOST_CLASSES = 20  # on a terminal


def largest(model: SoftmaxRegression, X: Any, names: Sequence[str] | None, n: int) -> list[dict[str, Any]]:
    """Return the n features of each class that weigh most, in the names of the JSON output.

    By the size of coefficient times deviation of the column in the rows X: what a logit changes by, in nats,
    where the column changes by its deviation. Coefficients alone compare units. Those of two classes are of
    the second one; `names` are those of the features, or their numbers from 0; what is zero is left out.
    """
    from sklearn.preprocessing import StandardScaler  # here: `--help` waits for none of these
    from sklearn.utils import gen_batches

    from fastsoftmax.data import validation

    scaler = StandardScaler(with_mean=False)
    for batch in gen_batches(X.shape[0], _BLOCK_ROWS):  # which it makes float64
        scaler.partial_fit(X[batch])
    deviations = np.sqrt(scaler.var_)
    coef = np.asarray(validation.dense(model.coef_), dtype=np.float64)
    labels = np.asarray(model.classes_).tolist()
    labels = labels if len(labels) == len(coef) else labels[1:]
    told = []
    for label, row in zip(labels, coef, strict=True):
        weight = row * deviations
        order = np.argsort(-np.abs(weight), kind="stable")[:n]
        features = [
            {
                "feature": j if names is None else names[j],
                "coefficient": float(row[j]),
                "by_deviation": float(weight[j]),
            }
            for j in order.tolist()
            if weight[j]
        ]
        told.append({"label": label, "features": features})
    return told


def said_largest(top: Sequence[dict[str, Any]], names: dict[Any, str]) -> list[tuple[str, str]]:
    """Return the features that weigh most as lines of a table; `names` are those of the classes.

    Examples
    --------
    >>> said_largest([{"label": 1, "features": [{"feature": "a", "by_deviation": -0.5}]}], {1: "yes"})
    [('largest of yes', 'a −0.5'), ('', 'nats, for a change of a column by its deviation')]
    """
    lines = []
    for each in top[:_MOST_CLASSES]:
        said = ", ".join(f"{one['feature']} {signed(one['by_deviation'])}" for one in each["features"])
        lines.append((f"largest of {names.get(each['label'], each['label'])}", said or "all are zero"))
    if len(top) > _MOST_CLASSES:
        lines.append(("", f"and of {len(top) - _MOST_CLASSES:,} more classes: --json has all"))
    return [*lines, ("", "nats, for a change of a column by its deviation")] if lines else lines


def signed(number: float) -> str:
    """Return a number as text, with its sign.

    Examples
    --------
    >>> signed(0.25), signed(-3)
    ('+0.25', '−3')
    """
    return f"{'−' if number < 0 else '+'}{abs(number):.3g}"
