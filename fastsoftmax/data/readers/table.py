"""The table that every reader returns, and the checks and messages that readers share."""

from __future__ import annotations

import contextlib
import gzip
from typing import IO, TYPE_CHECKING, NamedTuple, NoReturn, cast

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from scipy.sparse import csr_array

    from fastsoftmax.contracts import Array, Csr

    Features: TypeAlias = Array | csr_array

STANDARD_INPUT = "standard input"
_CHECKED_AT_ONCE = 2**20  # numbers


class Table(NamedTuple):
    """A data set as read; parts that the source does not have are None.

    Attributes
    ----------
    X, X_test : ndarray or scipy.sparse.csr_array (n, d)
        Numbers, in the dtype of the source.
    y, y_test : ndarray (n,) or (n, K)
        Labels: integers, booleans, floats or strings; a matrix is soft labels or 0/1 flags.
    feature_names, class_names : tuple of str
        `class_names[k]` names label k.
    notes : tuple of str
        What the reader did that is not plain reading.
    target : str
        The label column: its name, its index in a file without names, or the name of its array.
    left_out : tuple of int
        In a file without names, the places of the columns that are no features.
    index_base : {0, 1}
        The first index of an svmlight file.
    weight : ndarray (n,) of float
        Row weights, from the column that was asked for.
    ids : ndarray (n,) of str
        What the rows are called, as it stands in the column that was asked for.
    id_name : str
        The name of that column.
    """

    X: Features
    y: Array | None
    X_test: Features | None = None
    y_test: Array | None = None
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    target: str | None = None
    left_out: tuple[int, ...] = ()
    index_base: int | None = None
    weight: Array | None = None
    ids: Array | None = None
    id_name: str | None = None


def check(source: str, part: str, X: Features, y: Array | None, names: Sequence[str] | None = None) -> None:
    """Raise ValueError, naming the file, for features or labels that no estimator could take."""
    if X.ndim != 2:
        raise ValueError(f"{source!r}: the {part}features have {X.ndim} dimensions, not 2")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{source!r}: the {part}features are of dtype {X.dtype}, not numbers")
    if 0 in X.shape:
        raise ValueError(f"{source!r} is empty: {X.shape[0]} {part}rows of {X.shape[1]} features")
    check_finite(source, part, X, names)
    if y is None:
        return
    if y.ndim not in (1, 2) or len(y) != X.shape[0]:
        raise ValueError(f"{source!r} has {X.shape[0]} {part}rows, but {part}labels of shape {y.shape}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{source!r}: the {part}labels hold NaN or infinity")


def check_finite(
    source: str, part: str, X: Features | Csr, names: Sequence[str] | None = None, *, first: int = 0
) -> None:
    """Raise ValueError that names the row and the column of the first NaN or infinity in X.

    `first` is the place of X's first row in its file. Reads X once, some rows at a time.
    """
    if X.dtype.kind != "f":
        return
    if not isinstance(X, np.ndarray):
        bad = np.flatnonzero(~np.isfinite(X.data))
        if len(bad):
            entry = int(bad[0])
            row = int(np.searchsorted(X.indptr, entry, side="right")) - 1
            _refuse(source, part, X.data[entry], first + row, int(X.indices[entry]), names)
        return
    step = max(1, _CHECKED_AT_ONCE // X.shape[1])
    for start in range(0, len(X), step):
        finite: Array = np.isfinite(X[start : start + step])
        if not finite.all():
            row, column = (int(each) for each in np.argwhere(~finite)[0])
            _refuse(source, part, X[start + row, column], first + start + row, column, names)


def without_gaps(table: Table) -> Table:
    """Return a table without the rows whose features hold NaN, and with a note of how many there were."""
    X = table.X
    if X.ndim != 2 or X.dtype.kind != "f" or not X.shape[0]:
        return table
    if isinstance(X, np.ndarray):
        gap: Array = np.asarray(np.isnan(X).any(axis=1))
    else:
        gap = np.zeros(X.shape[0], dtype=bool)
        gap[np.searchsorted(X.indptr, np.flatnonzero(np.isnan(X.data)), side="right") - 1] = True
    if not gap.any():
        return table
    keep = np.flatnonzero(~gap)
    note = f"{int(gap.sum()):,} of {len(gap):,} rows hold NaN and were left out (--drop-missing)"
    y, weight, ids = (None if each is None else each[keep] for each in (table.y, table.weight, table.ids))
    return table._replace(X=X[keep], y=y, weight=weight, ids=ids, notes=(*table.notes, note))


def _refuse(
    source: str, part: str, value: float, row: int, column: int, names: Sequence[str] | None
) -> NoReturn:
    called = f"column {column} (the first is 0)" if names is None else f"column {names[column]!r}"
    kind = "NaN" if np.isnan(value) else "infinity"
    raise ValueError(f"{source!r}: {called} of the {part}features holds {kind} in row {row + 1}")


def opened(path: Path) -> IO[bytes]:
    """Return a file to read from, decompressed if its name ends in .gz."""
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


@contextlib.contextmanager
def damage_reported(source: str, kind: str) -> Iterator[None]:
    """Raise what a library says of a bad file as a ValueError of one line that names it."""
    try:
        yield
    except (PermissionError, ImportError, MemoryError):
        raise
    except Exception as error:  # parsers raise exceptions of any kind on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        if "allow_pickle" in reason:  # NumPy's advice to load it all the same
            reason = "it holds Python objects, which are not read, or something else than arrays"
        raise ValueError(f"{source!r} is damaged or no {kind} file: {reason}") from error


def integer_labels(labels: Array) -> Array:
    """Return a copy of labels; integer-valued floats become int64, as some formats hold only floats."""
    if labels.dtype.kind != "f" or not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
        return np.array(labels)
    return labels.astype(np.int64)


def column_index(source: str, names: Sequence[str], column: str, by_name: bool = True) -> int:
    """Return the place of a column: by name first, then by index."""
    if not names:
        raise ValueError(f"{source!r} has no columns")
    if by_name and column in names:
        return names.index(column)
    with contextlib.suppress(ValueError):  # not an index either: said below
        at = int(column)
        if -len(names) <= at < len(names):
            return at % len(names)
    shown = listed(names, 8)
    known = f"it has {len(names)} columns: {shown}" if by_name else f"it has columns 0 to {len(names) - 1}"
    raise ValueError(f"{source!r} has no column {column!r}; {known}")


def listed(names: Sequence[str], max_names: int) -> str:
    """Return the first names joined in one line: names in a file may hold line breaks."""
    shown = [" ".join(name.split()) for name in names[:max_names]]
    return ", ".join(shown + ["..."] * (len(names) > max_names))
