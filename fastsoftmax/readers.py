"""Data from a name or a file: one `Table` whatever the format.

A reader says what is wrong with a file in one line that names it. It changes no value and widens no dtype:
`uint8` pixels stay `uint8`. The one exception is text counts stored with their `idf`, which become TF-IDF;
`Table.notes` says so.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

EMBEDDED = ("digits", "iris", "wine", "breast_cancer")


class Table(NamedTuple):
    """A data set as it was read; a part that the source does not have is None.

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
    """

    X: Any
    y: NDArray[Any] | None
    X_test: Any = None
    y_test: NDArray[Any] | None = None
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


def read(
    source: str, *, target: str | None = None, labelled: bool = True, n_features: int | None = None
) -> Table:
    """Return the data set that a name or a file holds.

    Parameters
    ----------
    source : str
        "digits", "iris", "wine" or "breast_cancer" (scikit-learn's; every fifth row of a class is test), or
        a file, told by its suffix: .npz, .npy, .csv, .csv.gz, .parquet, .svm, .svm.gz.
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
        return _read_embedded(source)
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
    table: Table = reader(path, target, labelled, n_features)
    _check(source, "", table.X, table.y)
    if table.X_test is not None:
        _check(source, "test ", table.X_test, table.y_test)
        if table.X_test.shape[1] != table.X.shape[1]:
            raise ValueError(
                f"{source!r} has {table.X.shape[1]} features in its training part, "
                f"{table.X_test.shape[1]} in its test part"
            )
    return table


def _check(source: str, part: str, X: Any, y: NDArray[Any] | None) -> None:
    """Refuse what no estimator could take, naming the file."""
    if X.ndim != 2:
        raise ValueError(f"{source!r}: the {part}features have {X.ndim} dimensions, not 2")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"{source!r}: the {part}features are of dtype {X.dtype}, not numbers")
    if 0 in X.shape:
        raise ValueError(f"{source!r} is empty: {X.shape[0]} {part}rows of {X.shape[1]} features")
    if y is None:
        return
    if y.ndim not in (1, 2) or len(y) != X.shape[0]:
        raise ValueError(f"{source!r} has {X.shape[0]} {part}rows, but {part}labels of shape {y.shape}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{source!r}: the {part}labels hold NaN or infinity")


@contextlib.contextmanager
def _damage(path: Path, kind: str) -> Iterator[None]:
    """Turn what a library says of a bad file into one line that names it."""
    try:
        yield
    except (PermissionError, ImportError, MemoryError):
        raise
    except Exception as error:  # parsers stumble over damage in every way that there is
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{str(path)!r} is damaged or no {kind} file: {reason}") from error


def _whole(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels 0.0, 1.0, 2.0 of a file that holds nothing but floats as the integers they are."""
    if labels.dtype.kind != "f" or not np.isfinite(labels).all() or (labels != np.rint(labels)).any():
        return np.array(labels)
    return labels.astype(np.int64)


def _read_embedded(name: str) -> Table:
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    X, y = bunch.data, bunch.target
    held_out = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        held_out[np.flatnonzero(y == label)[4::5]] = True
    return Table(
        X[~held_out],
        y[~held_out],
        X[held_out],
        y[held_out],
        tuple(map(str, bunch.feature_names)),
        tuple(map(str, bunch.target_names)),
        ("every fifth row of each class is held out as test data",),
    )


def _read_npy(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    with _damage(path, ".npy"):
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(table, np.ndarray):
        table.close()
        raise ValueError(f"{str(path)!r} holds several arrays: it is an .npz file under another name")
    if table.ndim != 2:
        raise ValueError(f"{str(path)!r} holds an array of shape {table.shape}, not a table (rows, columns)")
    if target is None and not labelled:
        return Table(table, None)
    width = table.shape[1]
    at = _column_index(path, [str(j) for j in range(width)], target, by_name=False)
    y = _whole(np.asarray(table[:, at]))
    if at == width - 1:  # a view; a copy only where the label stands between features
        return Table(table[:, :-1], y)
    return Table(table[:, 1:] if at == 0 else np.delete(table, at, axis=1), y)


def _column_index(path: Path, names: Sequence[str], target: str | None, by_name: bool = True) -> int:
    """Return where the target column is: by name first, then by index, the last by default."""
    if not names:
        raise ValueError(f"{str(path)!r} has no columns")
    if target is None:
        return len(names) - 1
    if by_name and target in names:
        return names.index(target)
    with contextlib.suppress(ValueError):  # not an index either: said below
        at = int(target)
        if -len(names) <= at < len(names):
            return at % len(names)
    shown = _listed(names, 8)
    known = f"it has {len(names)} columns: {shown}" if by_name else f"it has columns 0 to {len(names) - 1}"
    raise ValueError(f"{str(path)!r} has no column {target!r}; {known}")


def _listed(names: Sequence[str], most: int) -> str:
    """Return some names as one line: those in a file may hold anything."""
    return ", ".join([" ".join(name.split()) for name in names[:most]] + ["..."] * (len(names) > most))


def _read_csv(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    import pandas

    with _damage(path, "CSV"):
        first = pandas.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
        names = [str(cell).strip() for cell in first.iloc[0]]
        headless = not _is_header(names, all_features=target is None and not labelled)
        if headless:
            names = [f"x{j}" for j in range(len(names))]
        frame = pandas.read_csv(path, header=None if headless else 0, low_memory=False)
        if len(frame.columns) != len(names) or not isinstance(frame.index, pandas.RangeIndex):
            raise ValueError("the rows have more cells than the header")
    frame.columns = names
    table = _from_frame(path, frame, target, labelled)
    note = ("there is no header row: the columns are called x0, x1, ...",) if headless else ()
    return table._replace(notes=note)


def _is_header(cells: Sequence[str], all_features: bool) -> bool:
    """Tell a row of names from a row of values: values are numbers, but for one label.

    Counted columns (0, 1, 2, ... or 1, 2, 3, ...) are names, as `DataFrame.to_csv` writes them.
    """
    numbers = [cell for cell in cells if _is_number(cell)]
    if len(numbers) < max(1, len(cells) - (0 if all_features else 1)):
        return True
    counted = [str(j) for j in range(len(cells) + 1)]
    return len(numbers) > 1 and numbers in (counted[: len(numbers)], counted[1 : len(numbers) + 1])


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _read_parquet(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    import pandas

    try:
        with _damage(path, "parquet"):
            frame = pandas.read_parquet(path)
    except ImportError as error:
        raise ImportError(f"reading {str(path)!r} needs pyarrow: pip install pyarrow") from error
    frame.columns = [str(name) for name in frame.columns]
    return _from_frame(path, frame, target, labelled)


def _from_frame(path: Path, frame: Any, target: str | None, labelled: bool) -> Table:
    """Split a pandas frame into features and labels; every cell must be there."""
    names = list(frame.columns)
    if not len(frame):
        raise ValueError(f"{str(path)!r} is empty: 0 rows of {len(names)} columns")
    y = None
    if target is not None or labelled:
        at = _column_index(path, names, target)
        column = frame.iloc[:, at]
        _refuse_gaps(path, names[at], column)
        y = column.to_numpy()
        # pandas gives text as objects or as its own type: NumPy strings sort, compare and save plainly
        y = y.astype(str) if y.dtype.kind not in "biuf" else _whole(y)
        frame = frame.iloc[:, [j for j in range(len(names)) if j != at]]
        del names[at]
    for j, name in enumerate(names):
        column = frame.iloc[:, j]
        _refuse_gaps(path, name, column)
        if getattr(column.dtype, "kind", "O") not in "biuf":
            raise ValueError(
                f"{str(path)!r}: feature column {name!r} does not hold numbers (it has {column.iloc[0]!r}); "
                "encode it, or name it as the target if it holds the labels"
            )
    kinds = [np.dtype(getattr(dtype, "numpy_dtype", dtype)) for dtype in frame.dtypes]
    dtype = np.result_type(*kinds) if kinds else np.dtype(float)
    return Table(frame.to_numpy(dtype=dtype), y, feature_names=tuple(names))


def _refuse_gaps(path: Path, name: str, column: Any) -> None:
    gaps = np.flatnonzero(column.isna().to_numpy())
    if len(gaps):
        raise ValueError(
            f"{str(path)!r}: column {name!r} has {len(gaps)} empty cells, the first in data row {gaps[0] + 1}"
        )


def _read_svm(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    from scipy import sparse
    from sklearn.datasets import load_svmlight_file

    if target is not None:
        raise ValueError(f"{str(path)!r}: the label stands first in each line: it takes no target column")
    with _damage(path, "svmlight"):
        X, y = load_svmlight_file(str(path), n_features=n_features)
    return Table(sparse.csr_array(X), _whole(y))


def _read_npz(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    # opened here: given a name, np.load leaves the file open when the archive is damaged
    with _damage(path, ".npz"), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it holds a single array, as an .npy file does")
        with archive:
            parts = {key: archive[key] for key in archive.files}
    dense = {"X_train", "X"} & parts.keys()
    prefix = "train_" if "train_data" in parts else ""
    if not dense and f"{prefix}data" not in parts:
        shown = _listed(sorted(parts), 12) or "nothing"
        raise ValueError(
            f"{str(path)!r} holds {shown}; X and y, X_train and y_train or the parts of a CSR matrix are read"
        )
    name = "X_train" if "X_train" in parts else "X"
    X = parts[name] if dense else _csr(path, parts, prefix)
    X_test = parts.get("X_test") if dense else _csr(path, parts, "test_") if "test_data" in parts else None
    label = target or ("y_train" if "y_train" in parts else "y")
    if label not in parts and (labelled or target is not None):
        raise ValueError(f"{str(path)!r} has no labels {label!r}; it holds {_listed(sorted(parts), 12)}")
    notes: tuple[str, ...] = ()
    if not dense and "idf" in parts:
        X = _tf_idf(path, X, parts["idf"])
        X_test = None if X_test is None else _tf_idf(path, X_test, parts["idf"])
        notes = ("term counts were turned into TF-IDF rows of length 1 with the idf of the file",)
    y_test = None if X_test is None else parts.get("y_test")
    return Table(
        X,
        parts.get(label),
        X_test,
        y_test,
        _names(parts, "feature_names"),
        _names(parts, "class_names"),
        notes,
    )


def _names(parts: Mapping[str, NDArray[Any]], key: str) -> tuple[str, ...] | None:
    return tuple(map(str, np.atleast_1d(parts[key]).tolist())) if key in parts else None


def _csr(path: Path, parts: Mapping[str, NDArray[Any]], prefix: str) -> Any:
    """Put a sparse matrix together, checking every index: kernels trust them."""
    from scipy import sparse

    stated = parts.get("format", np.array("csr")) if not prefix else np.array("csr")
    form = stated.item().decode() if stated.dtype.kind == "S" else str(stated.item())
    if form not in ("csr", "csc"):
        raise ValueError(f"{str(path)!r} is a sparse matrix in {form!r} format; csr and csc are read")
    missing = [prefix + name for name in ("data", "indices", "indptr", "shape") if prefix + name not in parts]
    if missing:
        raise ValueError(f"{str(path)!r} has no array {missing[0]!r}, which a CSR matrix needs")
    build = sparse.csr_array if form == "csr" else sparse.csc_array
    triple = parts[prefix + "data"], parts[prefix + "indices"], parts[prefix + "indptr"]
    with _damage(path, "CSR .npz"):
        n_rows, n_columns = parts[prefix + "shape"].tolist()
        matrix = build(triple, shape=(n_rows, n_columns))
        matrix.check_format(full_check=True)
    return matrix.tocsr()


def _tf_idf(path: Path, counts: Any, idf: NDArray[Any]) -> Any:
    """Multiply column j by idf[j], then divide each row by its Euclidean norm; empty rows stay empty."""
    from scipy import sparse

    if idf.shape != (counts.shape[1],):
        raise ValueError(f"{str(path)!r}: 'idf' has shape {idf.shape} for {counts.shape[1]} terms")
    data = counts.data.astype(np.float32) * idf.astype(np.float32)[counts.indices]
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    norm = np.sqrt(np.bincount(row, weights=np.square(data, dtype=np.float64), minlength=counts.shape[0]))
    norm[norm == 0] = 1
    return sparse.csr_array(
        (data / norm[row].astype(np.float32), counts.indices, counts.indptr), counts.shape
    )


_READERS: dict[str, Callable[[Path, str | None, bool, int | None], Table]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".parquet": _read_parquet,
    ".svm": _read_svm,
    ".svm.gz": _read_svm,
}
KINDS = ", ".join(_READERS)
