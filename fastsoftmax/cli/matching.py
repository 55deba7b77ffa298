"""A saved model and the data that it is used on: whether the one fits the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.cli.console import listed

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array
    from fastsoftmax.data.readers import Features, Table
    from fastsoftmax.estimator import SoftmaxRegression


def load_model(path: str) -> SoftmaxRegression:
    """Return the model in a file."""
    from fastsoftmax.estimator import SoftmaxRegression

    return SoftmaxRegression.load(path)


def test_part(table: Table) -> tuple[Features, Array | None]:
    """Return the test part of a data set, or all of it where it has none."""
    return (table.X, table.y) if table.X_test is None else (table.X_test, table.y_test)


def check_width(data: str, X: Features, n_features: int, hint: bool = False) -> None:
    """Raise ValueError unless X has a model's number of features; `hint` adds that one may be the label."""
    if X.shape[1] != n_features:
        advice = "; is one of them the label? say which with --target" if hint else ""
        advice = advice if X.shape[1] == n_features + 1 else ""
        raise ValueError(f"{data!r} has {X.shape[1]} features, the model takes {n_features}{advice}")


def check_names(data: str, table: Table, model: SoftmaxRegression) -> None:
    """Raise ValueError for a feature that the model has at another place; unknown ones are accepted."""
    names = model.__dict__.pop("feature_names_in_", ())  # scikit-learn would warn of an X without names
    at = {str(name): j for j, name in enumerate(names)}
    for j, name in enumerate(table.feature_names or ()):
        if at.get(name, j) != j:
            raise ValueError(f"{data!r} has feature {name!r} at place {j}, the model at place {at[name]}")


def check_labels(y: Array, classes: Array) -> None:
    """Raise ValueError for labels without a probability in the model: their log-loss is infinite."""
    if (classes.dtype.kind in "biuf") != (y.dtype.kind in "biuf"):
        raise ValueError(f"the test labels are of dtype {y.dtype}, the model's classes of {classes.dtype}")
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"the model does not know these labels of the test data: {listed(unknown)}")
