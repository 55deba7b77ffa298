"""Columns that number the rows: to be noted, since a model can learn them but nothing from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array
    from fastsoftmax.data.readers.table import Table

MIN_ROWS = 5  # of fewer, small whole numbers are often all different


def notes(table: Table) -> tuple[str, ...]:
    """Return a note for every feature that holds each of n consecutive whole numbers once.

    Examples
    --------
    >>> from fastsoftmax.data.readers.table import Table
    >>> notes(Table(np.arange(10.0).reshape(10, 1), None, feature_names=("id",)))
    ("column 'id' numbers the rows: is it an index? --drop id leaves it out",)
    """
    X = table.X
    if not isinstance(X, np.ndarray) or X.dtype.kind not in "iuf" or len(X) < MIN_ROWS:
        return ()
    span = X.max(axis=0).astype(np.float64) - X.min(axis=0)
    found = [int(j) for j in np.flatnonzero(span == len(X) - 1) if _numbers_rows(X[:, j])]
    names = [(str(j), f"column {j}") for j in range(X.shape[1])]
    if table.feature_names is not None:
        names = [(name, f"column {name!r}") for name in table.feature_names]
    elif table.left_out:  # places in the file
        places = [j for j in range(X.shape[1] + len(table.left_out)) if j not in table.left_out]
        names = [(str(j), f"column {j}") for j in places]
    return tuple(
        f"{names[j][1]} numbers the rows: is it an index? --drop {names[j][0]} leaves it out" for j in found
    )


def _numbers_rows(column: Array) -> bool:
    """Whether the values of a column are consecutive whole numbers, in any order."""
    return bool((np.diff(np.sort(column)) == 1).all())
