"""Data from a name or a file: one `Table` for every format.

A reader reports a fault in one line that names the file. It changes no value and widens no dtype:
`uint8` pixels stay `uint8`. The one exception is text counts stored with their `idf`, which become TF-IDF;
`Table.notes` says so.

A format is a module with a function read(path, source, request) and a line in `_READERS`: `source` is what
messages call the file, `request` what is asked of it (`Request`). The library that parses it (pandas,
scikit-learn, SciPy) is imported when a file is read.
"""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from fastsoftmax.data.readers import comma_separated, embedded, index_columns, npy, npz, parquet, svmlight
from fastsoftmax.data.readers.embedded import EMBEDDED
from fastsoftmax.data.readers.request import Expected, Request
from fastsoftmax.data.readers.table import STANDARD_INPUT, Table, check, without_gaps

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.data.readers.table import Features as Features

__all__ = ["EMBEDDED", "FORMATS", "KINDS", "Expected", "Request", "Table", "read"]

_tab_separated = functools.partial(comma_separated.read, sep="\t")
_READERS: dict[str, Callable[[Path, str, Request], Table]] = {
    ".npz": npz.read,
    ".npy": npy.read,
    ".csv": comma_separated.read,
    ".csv.gz": comma_separated.read,
    ".tsv": _tab_separated,
    ".tsv.gz": _tab_separated,
    ".parquet": parquet.read,
    ".svm": svmlight.read,
    ".svm.gz": svmlight.read,
    ".libsvm": svmlight.read,
    ".libsvm.gz": svmlight.read,
}
KINDS = ", ".join(_READERS)
FORMATS = tuple(suffix[1:] for suffix in _READERS)


def read(
    source: str,
    request: Request | None = None,
    *,
    target: str | None = None,
    labelled: bool = True,
    n_features: int | None = None,
) -> Table:
    """Return the data set of that name, or in that file.

    Parameters
    ----------
    source : str
        "digits", "iris", "wine" or "breast_cancer" (scikit-learn's; every fifth row of a class is test), or
        a file, told by its suffix: .npz, .npy, .csv, .tsv, .parquet, .svm, .libsvm, the texts also with .gz;
        or "-", standard input, which is CSV unless the request names another format.
    request : Request, optional
        All that can be asked for. The parameters below are its most frequent parts and stand in its place.
    target : str, optional
        Where the labels are: a column by name, or by index (negative from the end); in an .npz the name of
        an array. Default: the last column; in an .npz "y". The label stands first in every .svm line.
    labelled : bool, default=True
        False for data to predict on: without `target`, every column of a table is then a feature, and an
        .npz need not have labels.
    n_features : int, optional
        The width that an .svm file is to have; without it, the largest index seen.

    Returns
    -------
    table : Table
        The parts have as many labels as rows; there is at least one row and one feature.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is empty, damaged, not what its suffix says, without the column or array asked for, or its
        parts do not fit together. One line that names the file and what is wrong.
    ImportError
        .parquet without a library that reads it.

    Notes
    -----
    Nothing is unpickled. An .npy file is memory-mapped: its features are a view. Features are read once, to
    see that they are finite. Indices in .svm files start where the request or the model say, else at 1
    unless a 0 is seen.

    Examples
    --------
    >>> table = read("iris")
    >>> table.X.shape, table.X_test.shape, table.class_names
    ((120, 4), (30, 4), ('setosa', 'versicolor', 'virginica'))
    """
    request = request or Request(target=target, labelled=labelled, n_features=n_features)
    if source in EMBEDDED:
        if request.target is not None:
            raise ValueError(f"embedded set {source!r} has its labels apart: it takes no target column")
        _refuse_columns(source, request)
        return embedded.read(source)
    if source == "-":
        return _from_standard_input(request)
    path = Path(source)
    if not path.exists():
        kinds = "" if path.suffix else f" (embedded sets: {', '.join(EMBEDDED)})"
        raise FileNotFoundError(f"data file {source!r} does not exist{kinds}")
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower() + suffix
    if request.format is not None:
        suffix = f".{request.format}"
    if suffix not in _READERS:
        raise ValueError(
            f"cannot tell what kind of data {source!r} is; its name ends in none of {KINDS} "
            "(--format says it)"
        )
    if not path.is_file():
        raise ValueError(f"{source!r} is not a regular file")
    return _checked(path, source, suffix, request)


def _from_standard_input(request: Request) -> Table:
    """Return the table that standard input holds; it is kept in a file as long as it is parsed."""
    suffix = f".{request.format or 'csv'}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"input{suffix}"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return _checked(path, STANDARD_INPUT, suffix, request)


def _checked(path: Path, source: str, suffix: str, request: Request) -> Table:
    """Return the table in a file, its parts checked against each other."""
    if path.stat().st_size == 0:
        raise ValueError(f"{source!r} is empty")
    reader = _READERS[suffix]
    if reader is svmlight.read:
        _refuse_columns(source, request)
    table = reader(path, source, request)
    if request.drop_missing:
        table = without_gaps(table)
    check(source, "", table.X, table.y, table.feature_names)
    if table.X_test is not None:
        check(source, "test ", table.X_test, table.y_test, table.feature_names)
        if table.X_test.shape[1] != table.X.shape[1]:
            raise ValueError(
                f"{source!r} has {table.X.shape[1]} features in its training part, "
                f"{table.X_test.shape[1]} in its test part"
            )
    if request.model is None and request.labelled:
        table = table._replace(notes=table.notes + index_columns.notes(table))
    return table


def _refuse_columns(source: str, request: Request) -> None:
    """Raise ValueError if columns are asked for where there are none."""
    asked = {
        "features": request.features,
        "drop": request.drop,
        "weight": request.weight,
        "id": request.ids,
    }
    name = next((name for name, value in asked.items() if value), None)
    if name is not None:
        raise ValueError(f"{source!r} has no columns to choose from: it takes no --{name}")
