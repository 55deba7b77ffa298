"""Checks of the index arrays of a sparse matrix."""

from __future__ import annotations

from fastsoftmax.kernels.cpu.jitted.kinds import INDICES
from fastsoftmax.runtime.jitted import kernel


@kernel(signatures=[f"{index}:1C,{index}:1C,q,i8:2C" for index in INDICES])
def faults(start, stop, part, indptr, indices, limit, found):
    """Set found[part] (2,): whether indptr decreases, and whether an index lies outside [0, limit)."""
    current, following = indptr[start : min(stop, indptr.shape[0] - 1)], indptr[start + 1 :]
    falls = False
    for i in range(current.shape[0]):
        falls |= following[i] < current[i]
    if falls:
        found[part, 0] = 1
    part_indices = indices[start:stop]
    if part_indices.shape[0] == 0:
        return
    smallest, largest = part_indices[0], part_indices[0]
    for e in range(part_indices.shape[0]):
        smallest = min(smallest, part_indices[e])
        largest = max(largest, part_indices[e])
    if smallest < 0 or largest >= limit:
        found[part, 1] = 1
