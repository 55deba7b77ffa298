"""Apache Parquet: named columns, each of its own type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.data.readers.frame import table_of
from fastsoftmax.data.readers.table import Table, damage_reported

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    """Return the table in a Parquet file; pyarrow or fastparquet parses it."""
    import pandas

    try:
        with damage_reported(path, "parquet"):
            frame = pandas.read_parquet(path)
    except ImportError as error:
        raise ImportError(f"reading {str(path)!r} needs pyarrow: pip install pyarrow") from error
    frame.columns = [str(name) for name in frame.columns]
    return table_of(path, frame, target, labelled)
