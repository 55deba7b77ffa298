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
    here, following = indptr[start : min(stop, indptr.shape[0] - 1)], indptr[start + 1 :]
    falls = False
    for i in range(here.shape[0]):
        falls |= following[i] < here[i]
    if falls:
        found[part, 0] = 1
    some = indices[start:stop]
    if some.shape[0] == 0:
        return
    least, largest = some[0], some[0]
    for e in range(some.shape[0]):
        least = min(least, some[e])
        largest = max(largest, some[e])
    if least < 0 or largest >= limit:
        found[part, 1] = 1


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
