"""The index arrays of a sparse matrix, looked at once before any kernel follows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.executor import even_bounds, kernel, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

NANOSECONDS = 0.4  # an element, about; decides what is done in line


@kernel
def _faults(start, stop, part, indptr, indices, limit, found):
    """Note in found[part] whether indptr falls, and whether an index lies outside [0, limit)."""
    falls = 0
    for i in range(start, min(stop, indptr.shape[0] - 1)):
        falls |= indptr[i + 1] < indptr[i]
    outside = 0
    for e in range(start, min(stop, indices.shape[0])):
        outside |= (indices[e] < 0) | (indices[e] >= limit)
    found[part, 0] |= falls
    found[part, 1] |= outside


def sparse_faults(
    indptr: NDArray[Any], indices: NDArray[Any], limit: int, n_threads: int | None = None
) -> tuple[bool, bool]:
    """Return whether indptr falls somewhere, and whether an index lies outside [0, limit).

    Both are contiguous and of one dtype, int32 or int64. Neighbours are compared: their differences may wrap
    around. Reads each array once and allocates nothing of their size.
    """
    n = max(len(indptr) - 1, len(indices))
    bounds = even_bounds(n, MOST_PARTS)
    found = np.zeros((len(bounds) - 1, 2), np.int64)
    work = NANOSECONDS * (len(indptr) + len(indices))
    run(_faults, bounds, indptr, indices, limit, found, work=work, n_threads=n_threads, cut=1)
    return bool(found[:, 0].any()), bool(found[:, 1].any())
