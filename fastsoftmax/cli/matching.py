"""A saved model and the data that it is used on: whether the one fits the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.cli.console import listed
from fastsoftmax.data.readers import Expected

if TYPE_CHECKING:
    from fastsoftmax.cli.data_sets import About
    from fastsoftmax.contracts import Array
    from fastsoftmax.data.readers import Features, Table
    from fastsoftmax.estimator import SoftmaxRegression


def load_model(path: str) -> tuple[SoftmaxRegression, Expected]:
    """Return the model in a file, and what it expects of a data set.

    The names of its features are in the second part only: scikit-learn would warn of an X without names.
    """
    from fastsoftmax.estimator import SoftmaxRegression

    model = SoftmaxRegression.load(path)
    names = model.__dict__.pop("feature_names_in_", None)
    return model, expected(model.classes_, model.n_features_in_, names, getattr(model, "_table", {}))


def expected(
    classes: Array, n_features: int, names: Array | tuple[str, ...] | None, table: dict[str, object]
) -> Expected:
    """Return what a model expects of a data set; `table` is what `facts` kept."""
    target, base, left_out = (table.get(key) for key in ("target", "index_base", "left_out"))
    return Expected(
        n_features,
        None if names is None else tuple(map(str, names)),
        target if isinstance(target, str) else None,
        tuple(left_out) if isinstance(left_out, list) else (),
        base if isinstance(base, int) else None,
        np.asarray(classes).dtype.kind not in "biuf",
    )


def facts(table: Table | About) -> dict[str, object]:
    """Return what a model file keeps of the table that the model was fitted on."""
    return {"target": table.target, "left_out": list(table.left_out), "index_base": table.index_base}


def check_target(data: str, table: Table) -> tuple[str, ...]:
    """Return a note if labels look like something else; ValueError if they are measurements."""
    y = table.y
    if y is None or y.ndim != 1 or table.target is None:
        return ()
    called = f"{table.target!r}, taken for the label,"
    if y.dtype.kind == "f" and (y != np.rint(y)).any():
        value = y[y != np.rint(y)][0].item()
        raise ValueError(
            f"{data!r}: {called} holds numbers with fractions ({value!r}); --target names another"
        )
    return many_values(table.target, len(np.unique(y)), len(y))


def many_values(target: str, n_classes: int, n_rows: int) -> tuple[str, ...]:
    """Return a note if a column has so many values that it looks like no label."""
    if n_classes <= max(10, n_rows // 2):
        return ()
    return (
        f"{target!r}, taken for the label, has {n_classes:,} different values in {n_rows:,} rows; --target "
        "names another",
    )


def test_part(table: Table) -> tuple[Features, Array | None]:
    """Return the test part of a data set, or all of it where it has none."""
    return (table.X, table.y) if table.X_test is None else (table.X_test, table.y_test)


def check_width(data: str, X: Features, n_features: int, hint: bool = False) -> None:
    """Raise ValueError unless X has a model's number of features; `hint` adds that one may be the label."""
    if X.shape[1] != n_features:
        advice = "; is one of them the label? say which with --target" if hint else ""
        advice = advice if X.shape[1] == n_features + 1 else ""
        raise ValueError(f"{data!r} has {X.shape[1]} features, the model takes {n_features}{advice}")


def check_labels(y: Array, classes: Array) -> None:
    """Raise ValueError for labels without a probability in the model: their log-loss is infinite."""
    if (classes.dtype.kind in "biuf") != (y.dtype.kind in "biuf"):
        raise ValueError(
            f"the test labels are of dtype {y.dtype}, the model's classes of {classes.dtype}: "
            f"{listed(np.unique(y)[:3])} beside {listed(classes[:3])}"
        )
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"the model does not know these labels of the test data: {listed(unknown)}")
