"""One NumPy array: a table of numbers, the label in one of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.readers.table import Table, column_index, damage_reported, integer_labels

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    """Return the table in an array (n, columns) of numbers; the file is memory-mapped."""
    with damage_reported(path, ".npy"):
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(table, np.ndarray):
        table.close()
        raise ValueError(f"{str(path)!r} holds several arrays: it is an .npz file under another name")
    if table.ndim != 2:
        raise ValueError(f"{str(path)!r} holds an array of shape {table.shape}, not a table (rows, columns)")
    if target is None and not labelled:
        return Table(table, None)
    width = table.shape[1]
    at = column_index(path, [str(j) for j in range(width)], target, by_name=False)
    y = integer_labels(np.asarray(table[:, at]))
    if at == width - 1:  # a view; a copy only where the label stands between features
        return Table(table[:, :-1], y)
    return Table(table[:, 1:] if at == 0 else np.delete(table, at, axis=1), y)
