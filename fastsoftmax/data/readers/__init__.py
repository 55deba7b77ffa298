"""Data from a name or a file: one `Table` for every format.

A reader reports a fault in one line that names the file. It changes no value and widens no dtype:
`uint8` pixels stay `uint8`. The one exception is text counts stored with their `idf`, which become TF-IDF;
`Table.notes` says so.

A format is a module with a function read(path, target, labelled, n_features), and a line in `_READERS`. The
library that parses it (pandas, scikit-learn, SciPy) is imported when a file is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastsoftmax.data.readers import comma_separated, embedded, npy, npz, parquet, svmlight
from fastsoftmax.data.readers.embedded import EMBEDDED
from fastsoftmax.data.readers.table import Table, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.data.readers.table import Features as Features

__all__ = ["EMBEDDED", "KINDS", "Table", "read"]

_READERS: dict[str, Callable[[Path, str | None, bool, int | None], Table]] = {
    ".npz": npz.read,
    ".npy": npy.read,
    ".csv": comma_separated.read,
    ".csv.gz": comma_separated.read,
    ".parquet": parquet.read,
    ".svm": svmlight.read,
    ".svm.gz": svmlight.read,
}
KINDS = ", ".join(_READERS)


def read(
    source: str, *, target: str | None = None, labelled: bool = True, n_features: int | None = None
) -> Table:
    """Return the data set of that name, or in that file.

    Parameters
    ----------
    source : str
        "digits", "iris", "wine" or "breast_cancer" (scikit-learn's; every fifth row of a class is test), or
        a file whose format its suffix tells: .npz, .npy, .csv, .csv.gz, .parquet, .svm, .svm.gz.
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
    Nothing is unpickled. An .npy file is memory-mapped: its features are a view that is read when used.
    Indices in .svm files start at 1 unless a 0 is seen.

    Examples
    --------
    >>> table = read("iris")
    >>> table.X.shape, table.X_test.shape, table.class_names
    ((120, 4), (30, 4), ('setosa', 'versicolor', 'virginica'))
    """
    if source in EMBEDDED:
        if target is not None:
            raise ValueError(f"embedded set {source!r} has its labels apart: it takes no target column")
        return embedded.read(source)
    path = Path(source)
    if not path.exists():
        kinds = "" if path.suffix else f" (embedded sets: {', '.join(EMBEDDED)})"
        raise FileNotFoundError(f"data file {source!r} does not exist{kinds}")
    suffix = path.suffix.lower()
    if suffix == ".gz":
        suffix = Path(path.stem).suffix.lower() + suffix
    reader = _READERS.get(suffix)
    if reader is None:
        raise ValueError(f"cannot tell what kind of data {source!r} is; its name ends in none of {KINDS}")
    if not path.is_file():
        raise ValueError(f"{source!r} is not a regular file")
    if path.stat().st_size == 0:
        raise ValueError(f"{source!r} is empty")
    table = reader(path, target, labelled, n_features)
    check(source, "", table.X, table.y)
    if table.X_test is not None:
        check(source, "test ", table.X_test, table.y_test)
        if table.X_test.shape[1] != table.X.shape[1]:
            raise ValueError(
                f"{source!r} has {table.X.shape[1]} features in its training part, "
                f"{table.X_test.shape[1]} in its test part"
            )
    return table
