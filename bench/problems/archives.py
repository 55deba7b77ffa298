"""The real data sets: a folder of archives, and the weights of text in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp


class DataMissingError(FileNotFoundError):
    """The folder of real data sets, or a file in it, is not there."""


def archive(name: str) -> Any:
    """Open a file of the data folder: FASTSOFTMAX_DATA, or ../shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(os.environ.get("FASTSOFTMAX_DATA", beside)) / f"{name}.npz"
    if not path.exists():
        raise DataMissingError(f"needs {name}.npz in the folder of real data sets (FASTSOFTMAX_DATA)")
    return np.load(path, allow_pickle=False)


def tfidf(z: Any, part: str) -> sp.csr_matrix:
    """Weigh the raw counts of a sparse archive by idf and scale rows to unit length."""
    parts = (z[f"{part}_data"], z[f"{part}_indices"], z[f"{part}_indptr"])
    X = sp.csr_matrix(parts, shape=tuple(z[f"{part}_shape"]))
    X.data = X.data * z["idf"][X.indices]
    return unit_rows(X)


def unit_rows(X: sp.csr_matrix) -> sp.csr_matrix:
    """Divide each row by its Euclidean norm, in place; empty rows stay empty."""
    lengths = np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    X.data /= np.repeat(lengths, np.diff(X.indptr)).astype(X.dtype)
    return X
