"""One NumPy array: a table of numbers, the label in one of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.readers.columns import choose
from fastsoftmax.data.readers.table import STANDARD_INPUT, Table, damage_reported, integer_labels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.readers.request import Request


def read(path: Path, source: str, request: Request) -> Table:
    """Return the table in an array (n, columns) of numbers; the file is memory-mapped."""
    with damage_reported(source, ".npy"):
        table = np.load(path, mmap_mode=None if source == STANDARD_INPUT else "r", allow_pickle=False)
    if not isinstance(table, np.ndarray):
        table.close()
        raise ValueError(f"{source!r} holds several arrays: it is an .npz file under another name")
    if table.ndim != 2:
        raise ValueError(f"{source!r} holds an array of shape {table.shape}, not a table (rows, columns)")
    width = table.shape[1]
    columns = choose(source, [str(j) for j in range(width)], request, named=False, by_name=False)
    target, ids = columns.target, columns.ids
    return Table(
        _selected(table, columns.features),
        None if target is None else integer_labels(np.asarray(table[:, target])),
        notes=columns.notes,
        target=None if target is None else str(target),
        left_out=tuple(j for j in range(width) if j not in set(columns.features)),
        weight=None if columns.weight is None else np.asarray(table[:, columns.weight]),
        ids=None if ids is None else integer_labels(np.asarray(table[:, ids])).astype(str),
        id_name=None if ids is None else str(ids),
    )


def _selected(table: Array, places: Sequence[int]) -> Array:
    """Return columns of an array: a view where they stand side by side, else a copy."""
    first = places[0] if places else 0
    if list(places) == list(range(first, first + len(places))):
        return table[:, first : first + len(places)]
    return table[:, list(places)]
