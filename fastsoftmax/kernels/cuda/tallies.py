"""Partial results of the parts of a row (records), and their merging."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cuda.groups import exp, group, isfinite
from fastsoftmax.kernels.cuda.runtime import cuda, inlined

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.runtime import Kernel

# The numbers of a record, relative to the part's maximum (to 0 if that is infinite): the maximum, the number
# of exponentials that are exactly 1, the sum of the others, Σ aₖ (zₖ − maximum) and Σ aₖ, with a the classes'
# weights in the target.
RECORD = 5


@functools.cache
def thread_position(packs: int, count: int) -> Kernel:
    """Return the device function that computes a thread's row and position in it.

    It takes (n_classes, lead, bits, parts), as `maps.map_kernel` describes them, and returns the row, its
    part, the thread's rank in that part, the index of the row's first element, and the first element that the
    thread holds: `packs` packs of `count` elements, at a stride of all the part's threads.
    """

    @inlined
    def place(n_classes, lead, bits, parts):
        thread = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        row = (thread >> bits) // parts
        part = (thread >> bits) - row * parts
        rank = thread & ((1 << bits) - 1)
        start = row * n_classes
        skew = (lead + start) & (count - 1)
        return row, part, rank, start, (((part * packs) << bits) + rank) * count - skew

    return place


@inlined
def write_record(records, part, top, ones, others, linear, mass):
    """Write the record of a part of a row."""
    at = part * RECORD
    records[at], records[at + 1], records[at + 2] = top, ones, others
    records[at + 3], records[at + 4] = linear, mass


@functools.cache
def tallies(real: Any, whole_block: bool) -> tuple[Kernel, Kernel]:
    """Return the device functions that sum exponentials and that merge the records of a row's parts.

    Parameters
    ----------
    real : {np.float32, np.float64}
    whole_block : bool

    Returns
    -------
    tally : device function
        (workspace, size, shift, kept) → the number of e^(workspace − shift) that are exactly 1, and the sum
        of the others: added to the ones, a small sum would lose its digits. log Σ e^workspace = shift +
        log(ones) + log1p(others / ones). The exponentials are written over workspace if `kept`.
    join : device function
        (records, first, parts, rank, lanes, shared) → (maximum, ones, others, linear, mass) of a whole row,
        in each of its threads. Uses slots 0 to 4 of the shared memory.
    """
    zero, one, least = real(0), real(1), real(-np.inf)
    maximum, total = group(real, whole_block)

    @inlined
    def tally(workspace, size, shift, kept):
        ones, others = zero, zero
        for j in range(size):
            e = exp(workspace[j] - shift)
            if kept:
                workspace[j] = e
            ones += one if e == one else zero
            others += zero if e == one else e
        return ones, others

    @inlined
    def join(records, first, parts, rank, lanes, shared):
        top = least
        for p in range(rank, parts, lanes):
            part_top = records[(first + p) * RECORD]
            top = part_top if part_top > top else top
        top = maximum(top, lanes, shared, 0)
        shift = top if isfinite(top) else zero
        ones, others, linear, mass = zero, zero, zero, zero
        for p in range(rank, parts, lanes):
            at = (first + p) * RECORD
            finite = isfinite(records[at])
            part_top = records[at] if finite else zero
            if part_top == shift or not finite:
                ones += records[at + 1]
                others += records[at + 2]
            else:
                others += exp(part_top - shift) * (records[at + 1] + records[at + 2])
            linear += records[at + 3] + records[at + 4] * (part_top - shift)
            mass += records[at + 4]
        ones = total(ones, lanes, shared, 1)
        others = total(others, lanes, shared, 2)
        linear = total(linear, lanes, shared, 3)
        mass = total(mass, lanes, shared, 4)
        return top, ones, others, linear, mass

    return tally, join
