"""Apache Parquet: named columns, each of its own type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.data.readers.frame import table_of
from fastsoftmax.data.readers.table import Table, damage_reported

if TYPE_CHECKING:
    from pathlib import Path

    from fastsoftmax.data.readers.request import Request


def read(path: Path, source: str, request: Request) -> Table:
    """Return the table in a Parquet file; pyarrow or fastparquet parses it."""
    import pandas

    try:
        with damage_reported(source, "parquet"):
            frame = pandas.read_parquet(path).reset_index(drop=True)
    except ImportError as error:
        raise ImportError(f"reading {source!r} needs pyarrow: pip install pyarrow") from error
    return table_of(source, frame, [str(name) for name in frame.columns], request)
