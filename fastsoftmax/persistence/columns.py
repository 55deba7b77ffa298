"""Columns of results as a CSV or a Parquet file, written some rows at a time."""

from __future__ import annotations

import csv
import io
from typing import IO, TYPE_CHECKING, Any, Protocol, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_HEADER = 128  # bytes of an .npy file's, as NumPy pads it for any number of rows
_ROWS = 4096  # turned into text at a time


class Columns(Protocol):
    """A file of columns that is being written; a context manager, which ends it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...

    def add(self, columns: Sequence[NDArray[Any]]) -> None:
        """Write some rows: an array (n,) for each column."""


def columns_in(suffix: str, file: IO[bytes], names: Sequence[str]) -> Columns:
    """Return what writes columns of these names to a file, as a suffix (.csv, .parquet) says.

    Raises ImportError if pyarrow is needed and not installed.
    """
    return ParquetColumns(file, names) if suffix == ".parquet" else CsvColumns(file, names)


class CsvColumns:
    """A CSV file: a line of names, then the rows; floats in the fewest digits that are exact.

    Parameters
    ----------
    file : binary file
    names : sequence of str
    """

    def __init__(self, file: IO[bytes], names: Sequence[str]) -> None:
        self._file = file
        file.write(csv_lines([list(names)]).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def add(self, columns: Sequence[NDArray[Any]]) -> None:
        """Write some rows: an array (n,) for each column."""
        for text in csv_text(columns):
            self._file.write(text.encode())


class ParquetColumns:
    """A Parquet file.

    Parameters
    ----------
    file : binary file
    names : sequence of str

    Raises
    ------
    ImportError
        pyarrow is not installed.
    """

    def __init__(self, file: IO[bytes], names: Sequence[str]) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise ImportError("writing .parquet needs pyarrow: pip install pyarrow") from error
        self._pa, self._parquet = pa, parquet
        self._file, self._names = file, list(names)
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, columns: Sequence[NDArray[Any]]) -> None:
        """Write some rows: an array (n,) for each column, of the kind of the first ones."""
        table = self._pa.table([self._pa.array(column) for column in columns], names=self._names)
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table.cast(self._writer.schema))


def write_npy(file: IO[bytes], results: Iterator[NDArray[Any]]) -> None:
    """Write arrays one after the other as one .npy array; the header, with their number, is written last.

    The first array says of what dtype it is.
    """
    start = file.tell()
    n_rows, about = 0, None
    file.write(b"\0" * _HEADER)
    for result in results:
        array = np.ascontiguousarray(result)
        about = about or (array.dtype, array.shape[1:])
        file.write(array.astype(about[0], copy=False).reshape(-1).view(np.uint8).data)
        n_rows += len(array)
    dtype, shape = about or (np.dtype(np.float64), ())
    file.seek(start)
    np.lib.format.write_array_header_1_0(
        file,
        {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (n_rows, *shape)},
    )
    assert file.tell() == start + _HEADER


def columns_of(values: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the columns of an array (n,) or (n, m)."""
    return [values] if values.ndim == 1 else list(values.T)


def csv_text(columns: Sequence[NDArray[Any]]) -> Iterator[str]:
    """Yield the lines of rows, some thousands at a time."""
    for start in range(0, len(columns[0]), _ROWS):
        cells = [np.asarray(column)[start : start + _ROWS].astype(str).tolist() for column in columns]
        yield csv_lines(zip(*cells, strict=True))


def csv_lines(rows: Any) -> str:
    """Return rows of text as lines of CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()
