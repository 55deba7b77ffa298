"""Comma-separated values, with or without a row of column names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.data.readers.frame import table_of
from fastsoftmax.data.readers.table import Table, damage_reported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    """Return the table in a CSV file, plain or compressed."""
    import pandas

    with damage_reported(path, "CSV"):
        first = pandas.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
        names = [str(cell).strip() for cell in first.iloc[0]]
        headless = not _is_header(names, all_features=target is None and not labelled)
        if headless:
            names = [f"x{j}" for j in range(len(names))]
        frame = pandas.read_csv(path, header=None if headless else 0, low_memory=False)
        if len(frame.columns) != len(names) or not isinstance(frame.index, pandas.RangeIndex):
            raise ValueError("the rows have more cells than the header")
    frame.columns = names
    table = table_of(path, frame, target, labelled)
    note = ("there is no header row: the columns are called x0, x1, ...",) if headless else ()
    return table._replace(notes=note)


def _is_header(cells: Sequence[str], all_features: bool) -> bool:
    """Return whether a row holds column names: values are numbers, except for one label.

    Counted columns (0, 1, 2, ... or 1, 2, 3, ...) are names, as `DataFrame.to_csv` writes them.
    """
    numbers = [cell for cell in cells if _is_number(cell)]
    if len(numbers) < max(1, len(cells) - (0 if all_features else 1)):
        return True
    counted = [str(j) for j in range(len(cells) + 1)]
    return len(numbers) > 1 and numbers in (counted[: len(numbers)], counted[1 : len(numbers) + 1])


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number in Python's notation."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
