"""Named NumPy arrays: dense features, or the parts of a sparse matrix by rows or columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.readers.table import Table, damage_reported, listed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from scipy.sparse import csr_array

    from fastsoftmax.contracts import Array


def read(path: Path, target: str | None, labelled: bool, n_features: int | None) -> Table:
    """Return the table in X and y, X_train, y_train, X_test and y_test, or the parts of sparse matrices."""
    # Opened here: given a name, np.load leaves the file open if the archive is damaged.
    with damage_reported(path, ".npz"), path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it holds a single array, as an .npy file does")
        with archive:
            parts = {key: archive[key] for key in archive.files}
    dense = {"X_train", "X"} & parts.keys()
    prefix = "train_" if "train_data" in parts else ""
    if not dense and f"{prefix}data" not in parts:
        shown = listed(sorted(parts), 12) or "nothing"
        raise ValueError(
            f"{str(path)!r} holds {shown}; X and y, X_train and y_train or the parts of a CSR matrix are read"
        )
    name = "X_train" if "X_train" in parts else "X"
    X = parts[name] if dense else _csr(path, parts, prefix)
    X_test = parts.get("X_test") if dense else _csr(path, parts, "test_") if "test_data" in parts else None
    label = target or ("y_train" if "y_train" in parts else "y")
    if label not in parts and (labelled or target is not None):
        raise ValueError(f"{str(path)!r} has no labels {label!r}; it holds {listed(sorted(parts), 12)}")
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


def _names(parts: Mapping[str, Array], key: str) -> tuple[str, ...] | None:
    """Return the strings of an array, or None if the file has no such array."""
    return tuple(map(str, np.atleast_1d(parts[key]).tolist())) if key in parts else None


def _csr(path: Path, parts: Mapping[str, Array], prefix: str) -> csr_array:
    """Return a CSR matrix built of its arrays, with every index checked: kernels do not check them."""
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
    with damage_reported(path, "CSR .npz"):
        n_rows, n_columns = parts[prefix + "shape"].tolist()
        matrix = build(triple, shape=(n_rows, n_columns))
        matrix.check_format(full_check=True)
    return matrix.tocsr()


def _tf_idf(path: Path, counts: csr_array, idf: Array) -> csr_array:
    """Return counts with column j times idf[j], then each row divided by its norm; empty rows stay empty."""
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
