"""A part of a data set held out as test data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastsoftmax.data.readers import Table

SEED = 0


def held_out(table: Table, fraction: float) -> Table:
    """Return the table with a random part of its rows as test data, and a note of it.

    Each class gives its part, but for a class of one row, which stays in the training data. The same rows
    are drawn each time.

    Raises
    ------
    ValueError
        The table has a test part of its own, or too few rows.
    """
    from sklearn.model_selection import train_test_split

    if table.X_test is not None or table.y is None:
        raise ValueError("--test-size holds out rows of data without a test part; this has one of its own")
    rows, labels = np.arange(len(table.y)), None
    if table.y.ndim == 1:
        _, codes, counts = np.unique(table.y, return_inverse=True, return_counts=True)
        rows, labels = rows[counts[codes] > 1], codes[counts[codes] > 1]
    by_class = "" if labels is None else ", drawn from each class"
    try:
        _, test = train_test_split(rows, test_size=fraction, random_state=SEED, stratify=labels)
    except ValueError as error:
        raise ValueError(f"--test-size {fraction:g}: {error}") from error
    is_test = np.zeros(len(table.y), dtype=bool)
    is_test[test] = True
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    note = f"{len(test):,} of {len(is_test):,} rows{by_class} with seed {SEED}, are held out as test data"
    return table._replace(
        X=table.X[train],
        y=table.y[train],
        X_test=table.X[test],
        y_test=table.y[test],
        weight=None if table.weight is None else table.weight[train],
        ids=None if table.ids is None else table.ids[train],
        notes=(*table.notes, note),
    )
