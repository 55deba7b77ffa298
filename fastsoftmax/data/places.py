"""Where in an input the first cell is that is refused: for the messages of those who refuse it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastsoftmax.contracts.wording import shown

_AT_ONCE = 2**18  # numbers


def first_bad(X: Any) -> str | None:
    """Return where the first text, missing or infinite cell of X is; None if there is none or X is no table.

    Parameters
    ----------
    X : ndarray, pandas or polars frame, or SciPy sparse, (n, d)

    Examples
    --------
    >>> first_bad(np.array([[0.0, 1.0], [2.0, np.nan]]))
    'X[1, 1] is nan'
    """
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        return _in_frame(X)
    if hasattr(X, "indptr") and hasattr(X, "tocoo"):
        entries = X.tocoo()
        bad: Any = np.flatnonzero(_bad(entries.data))
        if not len(bad):
            return None
        at = bad[0]
        return f"X[{entries.row[at]}, {entries.col[at]}] is {entries.data[at]}"
    if not isinstance(X, np.ndarray) or X.ndim != 2:
        return None
    step = max(1, _AT_ONCE // max(1, X.shape[1]))
    for start in range(0, len(X), step):
        found = np.argwhere(_bad(X[start : start + step]))
        if len(found):
            row, column = int(found[0, 0]) + start, int(found[0, 1])
            return f"X[{row}, {column}] is {shown(X[row, column])}"
    return None


def _in_frame(X: Any) -> str | None:
    """Return where the first bad cell of the first column that has one is."""
    for name in X.columns:
        column = np.asarray(X[name])
        if column.ndim != 1:  # two columns of one name
            return None
        bad = np.flatnonzero(_bad(column))
        if not len(bad):
            continue
        row = int(bad[0])
        place = f"column {name!r} is {shown(column[row])} in row {row} (the first is 0)"
        if not isinstance(column[row], str) or 2 * len(bad) <= len(column):
            return place
        return (
            f"{place}; encode it: `encode = make_column_transformer((OneHotEncoder(), [{name!r}]), "
            "remainder='passthrough')`; `make_pipeline(encode, SoftmaxRegression())`"
        )
    return None


def _bad(values: Any) -> Any:
    """Return which values are no finite numbers."""
    if values.dtype.kind == "f":
        return ~np.isfinite(values)
    if values.dtype.kind in "biu":
        return np.zeros(values.shape, dtype=bool)
    return np.vectorize(_is_bad, otypes=[bool])(values) if values.size else np.zeros(values.shape, dtype=bool)


def _is_bad(value: Any) -> bool:
    """Whether a value is no finite number."""
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return True
