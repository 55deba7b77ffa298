"""A pandas frame as a table: what the formats of named columns share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.readers.table import Table, column_index, integer_labels

if TYPE_CHECKING:
    from pathlib import Path

    from pandas import DataFrame, Series


def table_of(path: Path, frame: DataFrame, target: str | None, labelled: bool) -> Table:
    """Return the features and labels of a frame that has no empty cell."""
    names = list(frame.columns)
    if not len(frame):
        raise ValueError(f"{str(path)!r} is empty: 0 rows of {len(names)} columns")
    y = None
    if target is not None or labelled:
        at = column_index(path, names, target)
        column = frame.iloc[:, at]
        _refuse_gaps(path, names[at], column)
        y = column.to_numpy()
        # pandas gives text as objects or as its own type: NumPy strings sort, compare and save plainly
        y = y.astype(str) if y.dtype.kind not in "biuf" else integer_labels(y)
        frame = frame.iloc[:, [j for j in range(len(names)) if j != at]]
        del names[at]
    for j, name in enumerate(names):
        column = frame.iloc[:, j]
        _refuse_gaps(path, name, column)
        if getattr(column.dtype, "kind", "O") not in "biuf":
            raise ValueError(
                f"{str(path)!r}: feature column {name!r} does not hold numbers (it has {column.iloc[0]!r}); "
                "encode it, or name it as the target if it holds the labels"
            )
    kinds = [np.dtype(getattr(dtype, "numpy_dtype", dtype)) for dtype in frame.dtypes]
    dtype = np.result_type(*kinds) if kinds else np.dtype(float)
    return Table(frame.to_numpy(dtype=dtype), y, feature_names=tuple(names))


def _refuse_gaps(path: Path, name: str, column: Series) -> None:
    """Raise ValueError if a column has empty cells."""
    gaps = np.flatnonzero(column.isna().to_numpy())
    if len(gaps):
        raise ValueError(
            f"{str(path)!r}: column {name!r} has {len(gaps)} empty cells, the first in data row {gaps[0] + 1}"
        )
