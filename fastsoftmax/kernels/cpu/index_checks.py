"""Checks of the index arrays of a sparse matrix, which kernels then follow without checks of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

_faults = Kernel("fastsoftmax.kernels.cpu.jitted.index_checks", "faults")

NANOSECONDS = 0.4  # an element, about; decides whether threads are used


def sparse_faults(
    indptr: Array, indices: Array, limit: int, n_threads: int | None = None
) -> tuple[bool, bool]:
    """Return whether indptr decreases anywhere, and whether an index lies outside [0, limit).

    Both arrays are contiguous and of one dtype, int32 or int64. Neighbours of indptr are compared, not
    subtracted, since differences may overflow. Reads each array once; extra memory does not grow with them.
    """
    n = max(len(indptr) - 1, len(indices))
    bounds = even_bounds(n, MAX_PARTS)
    found = np.zeros((len(bounds) - 1, 2), np.int64)
    work = NANOSECONDS * (len(indptr) + len(indices))
    run(_faults, bounds, indptr, indices, limit, found, work=work, n_threads=n_threads, cut=1)
    return bool(found[:, 0].any()), bool(found[:, 1].any())
