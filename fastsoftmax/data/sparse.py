"""SciPy sparse matrices: validation, and conversion to and from `Csr`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import Csr

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array


def to_scipy(X: Csr) -> Any:
    """Return a SciPy CSR matrix that shares the arrays of X.

    The arrays are assigned one by one: the constructor would narrow 64-bit indices, which copies them.
    """
    import scipy.sparse  # a tenth of a second, of which functions on logits need nothing

    matrix: Any = scipy.sparse.csr_array(X.shape, dtype=X.data.dtype)
    matrix.data, matrix.indices, matrix.indptr = X.data, X.indices, X.indptr
    return matrix


def from_scipy(matrix: Any) -> Csr:
    """Return a `Csr` that shares the arrays of a SciPy CSR matrix."""
    return Csr(matrix.data, matrix.indices, matrix.indptr, (int(matrix.shape[0]), int(matrix.shape[1])))


def transposed(X: Csr) -> Csr:
    """Return Xᵀ by rows, with ascending indices and duplicate entries summed. Copies the entries."""
    columns = to_scipy(X).tocsc()
    columns.sum_duplicates()
    return from_scipy(columns.T)


def checked(X: Any, name: str) -> Csr:
    """Return a SciPy CSR or CSC matrix as a `Csr` whose every index lies inside the matrix.

    Its arrays are shared, not copied, unless data are not float32 or float64, the two index dtypes differ, or
    an array is strided. CSC is taken as the `transpose`, and only the rows are built.

    Raises
    ------
    ValueError
        If its index arrays contradict its shape, or an entry is too large for float64. `name` is the
        matrix's name in messages.
    TypeError
        If its entries are not real numbers.

    Notes
    -----
    Reads the index arrays once.
    """
    by_rows = X.format == "csr"
    outer, inner = X.shape if by_rows else X.shape[::-1]
    indptr, indices = _checked_indices(X, name, outer, inner)
    nnz = len(indices)
    if X.data.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; got {X.data.dtype}")
    dtype = np.float32 if X.data.dtype in (np.float16, np.float32) else np.float64
    with np.errstate(over="ignore"):
        data = np.require(X.data[:nnz], dtype, ("C", "A"))
    if X.data.dtype.itemsize > 8 and not np.isfinite(data).all():
        raise ValueError(f"{name} holds a number that is too large for float64")
    stored = Csr(data, indices, indptr, (int(outer), int(inner)))
    if by_rows:
        return stored
    rows = transposed(stored)
    if len(rows.data) < nnz:
        stored = transposed(rows)
    return rows._replace(transpose=stored)


def check_convertible(X: Any, name: str) -> None:
    """Raise unless a matrix of another format is safe for SciPy to convert: SciPy does not check indices.

    Raises
    ------
    ValueError
        If the matrix is not two-dimensional, holds complex numbers, or its index arrays contradict its shape.
    """
    if X.ndim != 2:
        raise ValueError(f"{name} must be a matrix (n, d); got a sparse array of shape {X.shape}")
    # scikit-learn's message would print the matrix, for which SciPy follows every index of it.
    if X.dtype.kind == "c":
        raise ValueError(f"{name}: Complex data not supported; the {X.format} matrix is of {X.dtype}")
    if X.format == "coo":
        for places, length in zip(X.coords, X.shape):
            if len(places) != len(X.data):
                raise ValueError(f"{name}: the coo matrix has {len(places)} places of {len(X.data)} entries")
            if len(places) and not (places.min() >= 0 and places.max() < length):
                raise ValueError(f"{name}: an index of the coo matrix lies outside [0, {length})")
    elif X.format == "bsr":
        blocks = X.data.shape[1:]
        if len(blocks) != 2 or 0 in blocks or any(n % size for n, size in zip(X.shape, blocks)):
            raise ValueError(f"{name}: blocks {blocks} do not cover the bsr matrix of shape {X.shape}")
        _checked_indices(X, name, *(n // size for n, size in zip(X.shape, blocks)))
    elif X.format == "dia" and (X.data.ndim != 2 or X.offsets.shape != X.data.shape[:1]):
        raise ValueError(f"{name}: the dia matrix has {X.offsets.shape} offsets of {X.data.shape} entries")


def _checked_indices(X: Any, name: str, outer: int, inner: int) -> tuple[Array, Array]:
    """Return indptr (outer + 1,) and indices (nnz,), checked, both int32 or both int64.

    Raises ValueError unless indptr ascends from 0 to at most the number of stored entries and every index
    lies in [0, inner).
    """
    arrays = [np.asarray(X.indptr), np.asarray(X.indices)]
    flat = all(a.ndim == 1 and a.dtype.kind in "iu" for a in arrays)
    if not flat or X.data.ndim != (3 if X.format == "bsr" else 1):
        raise ValueError(f"{name}: the arrays of the {X.format} matrix must be vectors, the indices integers")
    # SciPy lets the two differ; a kernel would be compiled for each pair. Indices of uint64 beyond int64
    # become negative, and are refused below.
    kind = np.int32 if all(a.dtype == np.int32 for a in arrays) else np.int64
    indptr, indices = (np.require(a, kind, ("C", "A")) for a in arrays)
    if len(indptr) != outer + 1 or indptr[0] != 0:
        raise ValueError(f"{name}: indptr of the {X.format} matrix must rise from 0 over {outer + 1} entries")
    nnz = int(indptr[-1])
    if not 0 <= nnz <= min(len(indices), len(X.data)):
        raise ValueError(
            f"{name}: indptr of the {X.format} matrix promises {nnz} stored entries; it holds "
            f"{min(len(indices), len(X.data))}"
        )
    falls, outside = devices.host().sparse_faults(indptr, indices[:nnz], inner)
    if falls:
        raise ValueError(f"{name}: indptr of the {X.format} matrix must rise from 0 over {outer + 1} entries")
    if outside:
        raise ValueError(f"{name}: an index of the {X.format} matrix lies outside [0, {inner})")
    return indptr, indices[:nnz]
