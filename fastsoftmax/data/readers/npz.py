"""Named NumPy arrays: dense features, or the parts of a sparse matrix by rows or columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.readers.columns import choose
from fastsoftmax.data.readers.table import Table, damage_reported, listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scipy.sparse import csr_array

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.readers.request import Request
    from fastsoftmax.data.readers.table import Features

_DENSE = ("X", "X_train", "X_test")
_NAMES = ("feature_names", "class_names")
_CSR = ("data", "indices", "indptr", "shape", "format", "idf")


def read(path: Path, source: str, request: Request) -> Table:
    """Return the table in X and y, X_train, y_train, X_test and y_test, or the parts of sparse matrices."""
    # opened here: given a name, np.load leaves the file open when the archive is damaged
    with damage_reported(source, ".npz"), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it holds a single array, as an .npy file does")
        with archive:
            held = tuple(archive.files)
            # a part that nobody asked for may be of any kind
            wanted = _wanted(request)
            parts = {key: _part(archive, key) for key in held if key in wanted}
    notes = _without_objects(source, parts)
    dense = {"X_train", "X"} & parts.keys()
    prefix = "train_" if "train_data" in parts else ""
    if not dense and f"{prefix}data" not in parts:
        shown = listed(sorted(held), 12) or "nothing"
        raise ValueError(
            f"{source!r} holds {shown}; X and y, X_train and y_train or the parts of a CSR matrix are read"
        )
    name = "X_train" if "X_train" in parts else "X"
    X: Features = parts[name] if dense else _csr(source, parts, prefix)
    X_test: Features | None = parts.get("X_test") if dense else None
    if not dense and "test_data" in parts:
        X_test = _csr(source, parts, "test_")
    label = request.target or _label(parts, request)
    for key in (label if request.labelled or request.target else None, request.weight, request.ids):
        if key is not None and key not in parts:
            what = "labels" if key == label else "array"
            raise ValueError(f"{source!r} has no {what} {key!r}; it holds {listed(sorted(held), 12)}")
    if not dense and "idf" in parts:
        idf = parts["idf"]
        X, X_test = tf_idf(source, X, idf), None if X_test is None else tf_idf(source, X_test, idf)
        notes += ("term counts were turned into TF-IDF rows of length 1 with the idf of the file",)
    ids = parts.get(request.ids or "")
    table = Table(
        X,
        labels_of(parts.get(label)),
        X_test,
        None if X_test is None else labels_of(parts.get("y_test")),
        _names(parts, "feature_names"),
        _names(parts, "class_names"),
        notes,
        target=label if label in parts else None,
        weight=parts.get(request.weight or ""),
        ids=None if ids is None else np.ravel(ids).astype(str),
        id_name=request.ids,
    )
    return _selected(source, table, request)


def _wanted(request: Request) -> set[str | None]:
    """Return the names of the arrays that may be read."""
    sparse = {prefix + name for prefix in ("", "train_", "test_") for name in _CSR}
    known = None if request.model is None else request.model.target
    labels = {request.target} if request.target else {"y", "y_train", known} if request.labelled else set()
    labels |= {"y_test"} if request.labelled else set()
    return {*_DENSE, *_NAMES, *sparse, *labels, request.weight, request.ids}


def _part(archive: Mapping[str, Array], key: str) -> Array:
    """Return an array; an empty one of dtype object if only unpickling would give it."""
    try:
        return archive[key]
    except ValueError as error:
        if "allow_pickle=False" in str(error):
            return np.empty(0, dtype=object)
        raise


def _without_objects(source: str, parts: dict[str, Array]) -> tuple[str, ...]:
    """Raise ValueError for an array of objects, but take out names, and return a note of these."""
    objects = [key for key, part in parts.items() if part.dtype.kind == "O"]
    for key in objects:
        if key in _NAMES:
            del parts[key]
            continue
        raise ValueError(
            f"{source!r}: array {key!r} holds Python objects, which are not read, as that could run code; "
            "save it as text (`.astype(str)`) or as numbers"
        )
    return tuple(f"array {key!r} holds Python objects and was not read" for key in objects)


def _label(parts: Mapping[str, Array], request: Request) -> str:
    """Return the name of the labels: the model's if they are here, or the usual one."""
    known = None if request.model is None else request.model.target
    if known is not None and known in parts:
        return known
    return "y_train" if "y_train" in parts else "y"


def labels_of(y: Array | None) -> Array | None:
    """Return labels as they are, but a single column as a vector, and bytes as text."""
    if y is None:
        return None
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y


def _selected(source: str, table: Table, request: Request) -> Table:
    """Return the table with the columns that are asked for, in the order of the model."""
    names = table.feature_names
    if table.X.ndim != 2:
        return table
    width = table.X.shape[1]
    if names is not None and len(names) != width:
        raise ValueError(f"{source!r}: 'feature_names' holds {len(names)} names for {width} features")
    called = names or [str(j) for j in range(width)]
    by_name = names is not None
    columns = choose(source, called, request, named=by_name, by_name=by_name, labels_among=False)
    places = columns.features
    if places == list(range(width)):
        return table
    X_test = table.X_test
    if X_test is not None and X_test.ndim == 2 and X_test.shape[1] == width:
        X_test = X_test[:, places]
    return table._replace(
        X=table.X[:, places],
        X_test=X_test,
        feature_names=None if names is None else tuple(names[j] for j in places),
        notes=table.notes + columns.notes,
        left_out=tuple(j for j in range(width) if j not in set(places)) if names is None else (),
    )


def _names(parts: Mapping[str, Array], key: str) -> tuple[str, ...] | None:
    """Return the strings of an array, or None if the file has no such array."""
    return tuple(map(str, np.atleast_1d(parts[key]).tolist())) if key in parts else None


def _csr(source: str, parts: Mapping[str, Array], prefix: str) -> csr_array:
    """Return a sparse matrix of its parts, every index checked: kernels trust them."""
    from scipy import sparse

    stated = parts.get("format", np.array("csr")) if not prefix else np.array("csr")
    form = stated.item().decode() if stated.dtype.kind == "S" else str(stated.item())
    if form not in ("csr", "csc"):
        raise ValueError(f"{source!r} is a sparse matrix in {form!r} format; csr and csc are read")
    missing = [prefix + name for name in ("data", "indices", "indptr", "shape") if prefix + name not in parts]
    if missing:
        raise ValueError(f"{source!r} has no array {missing[0]!r}, which a CSR matrix needs")
    build = sparse.csr_array if form == "csr" else sparse.csc_array
    triple = parts[prefix + "data"], parts[prefix + "indices"], parts[prefix + "indptr"]
    with damage_reported(source, "CSR .npz"):
        n_rows, n_columns = parts[prefix + "shape"].tolist()
        matrix = build(triple, shape=(n_rows, n_columns))
        matrix.check_format(full_check=True)
    return matrix.tocsr()


def tf_idf(source: str, counts: Features, idf: Array) -> csr_array:
    """Return counts with column j times idf[j], then each row divided by its norm; empty rows stay empty."""
    from scipy import sparse

    assert not isinstance(counts, np.ndarray)

    if idf.shape != (counts.shape[1],):
        raise ValueError(f"{source!r}: 'idf' has shape {idf.shape} for {counts.shape[1]} terms")
    data = counts.data.astype(np.float32) * idf.astype(np.float32)[counts.indices]
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    norm = np.sqrt(np.bincount(row, weights=np.square(data, dtype=np.float64), minlength=counts.shape[0]))
    norm[norm == 0] = 1
    return sparse.csr_array(
        (data / norm[row].astype(np.float32), counts.indices, counts.indptr), counts.shape
    )
