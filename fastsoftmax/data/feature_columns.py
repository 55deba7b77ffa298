"""Some columns of rows in any storage of the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Csr, Halves

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts.storages import HostRows


def columns_of(X: HostRows, places: NDArray[np.intp]) -> HostRows:
    """Return a copy of the columns of X with these indices, ascending, in the same storage and dtype.

    Reads X once; one pass over the indices of sparse X.
    """
    if isinstance(X, Halves):
        return Halves(X.bits[:, places])
    if not isinstance(X, Csr):
        return X[:, places]
    number = np.full(X.shape[1], -1, X.indices.dtype)
    number[places] = np.arange(len(places), dtype=X.indices.dtype)
    indices = number[X.indices]
    kept = indices >= 0
    before = np.zeros(len(kept) + 1, X.indptr.dtype)  # the entries that are kept before each
    np.cumsum(kept, out=before[1:])
    return Csr(X.data[kept], indices[kept], before[X.indptr], (X.shape[0], len(places)))


def n_entries(X: HostRows) -> int:
    """Return the number of stored entries."""
    return len(X.data) if isinstance(X, Csr) else int(np.prod(X.shape))
