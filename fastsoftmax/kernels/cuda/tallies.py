"""What the parts of a row come to, and what those come to together."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastsoftmax.kernels.cuda.groups import exp, group, isfinite
from fastsoftmax.kernels.cuda.runtime import cuda, inlined

# Of a part of a row, relative to its maximum (0 where that is infinite): the maximum, how many exponentials
# are exactly 1, the sum of the others, Σ aₖ (zₖ − maximum) and Σ aₖ of the classes' weights in the target.
RECORD = 5


@functools.cache
def placing(packs: int, count: int) -> Any:
    """Return the device function that says what a thread has of which row.

    It takes (n_classes, lead, bits, parts), as `maps.map_kernel` describes them, and returns the row, the
    part of it, the thread's rank in that part, where the row starts in memory, and the first element that the
    thread holds: of packs of `count` elements it has `packs`, a stride of all the part's threads apart.
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
def leave(records, part, top, ones, others, linear, mass):
    """Write the record of a part of a row."""
    at = part * RECORD
    records[at], records[at + 1], records[at + 2] = top, ones, others
    records[at + 3], records[at + 4] = linear, mass


@functools.cache
def tallies(real: Any, whole_block: bool) -> tuple[Any, Any]:
    """Return the functions that sum exponentials and join the records of parts.

    Parameters
    ----------
    real : {np.float32, np.float64}
    whole_block : bool

    Returns
    -------
    tally : device function
        (room, size, shift, kept) → how many of the e^(room − shift) are exactly 1, and the sum of the others:
        added to the ones, a small sum would lose its digits. log Σ e^room = shift + log(ones) +
        log1p(others / ones). The exponentials take the place of room if `kept`.
    join : device function
        (records, first, parts, rank, lanes, shared) → (maximum, ones, others, linear, mass) of a whole row,
        to each of its threads. Uses the shared memory's slots 0 to 4.
    """
    zero, one, least = real(0), real(1), real(-np.inf)
    maximum, total = group(real, whole_block)

    @inlined
    def tally(room, size, shift, kept):
        ones, others = zero, zero
        for j in range(size):
            e = exp(room[j] - shift)
            if kept:
                room[j] = e
            ones += one if e == one else zero
            others += zero if e == one else e
        return ones, others

    @inlined
    def join(records, first, parts, rank, lanes, shared):
        top = least
        for p in range(rank, parts, lanes):
            own = records[(first + p) * RECORD]
            top = own if own > top else top
        top = maximum(top, lanes, shared, 0)
        shift = top if isfinite(top) else zero
        ones, others, linear, mass = zero, zero, zero, zero
        for p in range(rank, parts, lanes):
            at = (first + p) * RECORD
            finite = isfinite(records[at])
            own = records[at] if finite else zero
            if own == shift or not finite:
                ones += records[at + 1]
                others += records[at + 2]
            else:
                others += exp(own - shift) * (records[at + 1] + records[at + 2])
            linear += records[at + 3] + records[at + 4] * (own - shift)
            mass += records[at + 4]
        ones = total(ones, lanes, shared, 1)
        others = total(others, lanes, shared, 2)
        linear = total(linear, lanes, shared, 3)
        mass = total(mass, lanes, shared, 4)
        return top, ones, others, linear, mass

    return tally, join
