"""Sparse matrices as they come from SciPy, checked, and turned from rows to columns and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse

from fastsoftmax.contracts import Csr


def to_scipy(X: Csr) -> Any:
    """Return a SciPy matrix of the very same arrays.

    They are set one by one: the constructor would narrow 64-bit indices, which copies them.
    """
    matrix: Any = scipy.sparse.csr_array(X.shape, dtype=X.data.dtype)
    matrix.data, matrix.indices, matrix.indptr = X.data, X.indices, X.indptr
    return matrix


def from_scipy(matrix: Any) -> Csr:
    """Return the arrays of a SciPy CSR matrix."""
    return Csr(matrix.data, matrix.indices, matrix.indptr, (int(matrix.shape[0]), int(matrix.shape[1])))


def transposed(X: Csr) -> Csr:
    """Return the rows of Xᵀ: indices ascend, and entries that were stored in several parts are one."""
    columns = to_scipy(X).tocsc()
    columns.sum_duplicates()
    return from_scipy(columns.T)


def checked(X: Any, name: str) -> Csr:
    """Return a SciPy CSR or CSC matrix as a `Csr` whose every index may be followed.

    Its arrays are taken as they are, but for data that are not float32 or float64 and indices of two kinds.
    CSC is its own transpose; only the rows are built.

    Raises
    ------
    ValueError
        If its index arrays contradict its shape. `name` is what the message calls the matrix.
    """
    by_rows = X.format == "csr"
    outer, inner = X.shape if by_rows else X.shape[::-1]
    indptr, indices, data = X.indptr, X.indices, X.data
    if len(indptr) != outer + 1 or indptr[0] != 0 or np.any(np.diff(indptr) < 0):
        raise ValueError(f"{name}: indptr of the {X.format} matrix must rise from 0 over {outer + 1} entries")
    nnz = int(indptr[-1])
    if nnz > len(indices) or nnz > len(data):
        raise ValueError(f"{name}: the {X.format} matrix promises {nnz} stored entries and holds fewer")
    if nnz and (indices[:nnz].min() < 0 or indices[:nnz].max() >= inner):
        raise ValueError(f"{name}: an index of the {X.format} matrix lies outside [0, {inner})")
    if indices.dtype != indptr.dtype:  # SciPy lets them differ; a kernel would be compiled for each pair
        indices, indptr = indices.astype(np.int64), indptr.astype(np.int64)
    dtype = np.float32 if X.dtype in (np.float16, np.float32) else np.float64
    stored = Csr(data[:nnz].astype(dtype, copy=False), indices[:nnz], indptr, (int(outer), int(inner)))
    if by_rows:
        return stored
    rows = transposed(stored)
    if len(rows.data) < nnz:
        stored = transposed(rows)
    return rows._replace(transpose=stored)
