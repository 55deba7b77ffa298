"""softmax, log_softmax and logsumexp of rows: one read of them, one write of the result."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastsoftmax.kernels.cuda.groups import SHARED, exp, group, isfinite, log_sum
from fastsoftmax.kernels.cuda.packs import FORMATS, read_part, write, write_part
from fastsoftmax.kernels.cuda.runtime import cuda, inlined, kernel
from fastsoftmax.kernels.cuda.shapes import Room
from fastsoftmax.kernels.cuda.tallies import leave, placing, tallies

MAPS = ("softmax", "log_softmax", "logsumexp")
FUSED, FIRST, SECOND = 0, 1, 2  # all at once, or the two launches of a split row
ROOM = {"float32": Room(4, 1024), "float64": Room(4, 512), "float16": Room(4, 512), "bfloat16": Room(4, 512)}


@functools.cache
def map_kernel(name: str, form: str, whole_block: bool, packs: int, stage: int, most_threads: int) -> Any:
    """Return a kernel that writes a function of each row.

    Parameters
    ----------
    name : {"softmax", "log_softmax", "logsumexp"}
    form : key of `packs.FORMATS`
    whole_block : bool
        Whether a row's threads are a block, not a part of a warp.
    packs : int
        How many packs a thread holds.
    stage : {FUSED, FIRST, SECOND}
        FIRST writes `records`, one of RECORD numbers for each part of a row, and SECOND reads them.
    most_threads : int

    Returns
    -------
    kernel
        Its arguments: x and out (n · K,) (out (n,) for logsumexp); records; n; K; `lead`, how many elements
        past a multiple of 16 bytes x begins; whether out begins elsewhere; the logarithm of the threads of a
        part; the parts of a row.
    """
    real, count = FORMATS[form].real, FORMATS[form].per_pack
    size = packs * count
    whole = name == "logsumexp"
    exponential = name == "softmax"
    zero, one, least = real(0), real(1), real(-np.inf)
    maximum, total = group(real, whole_block)
    tally, join = tallies(real, whole_block)
    place = placing(packs, count)

    @inlined
    def finish(room, shift, ones, others):
        """Turn logits into results."""
        if exponential:
            factor = one / (ones + others)
            for j in range(size):
                room[j] = (room[j] if stage == FUSED else exp(room[j] - shift)) * factor
        else:
            log_total = log_sum(ones, others)
            for j in range(size):
                room[j] = (room[j] - shift) - log_total

    def body(x, out, records, n_rows, n_classes, lead, out_skewed, bits, parts):
        room = cuda.local.array(size, real)
        shared = cuda.shared.array(SHARED, real)
        lanes = 1 << bits
        row, part, rank, start, first = place(n_classes, lead, bits, parts)
        width = n_classes if row < n_rows else 0
        for r in range(packs):
            read_part(x, start, first + r * lanes * count, width, False, least, room, r * count, count)
        if stage == SECOND:
            shift, ones, others, _, _ = join(records, row * parts, parts, rank, lanes, shared)
        else:
            top = least
            for j in range(size):
                top = room[j] if room[j] > top else top
            shift = maximum(top, lanes, shared, 0)
            top = shift
            # As SciPy, which shifts a row with an infinite maximum by 0 for its logarithm.
            if not isfinite(shift) and (stage == FIRST or not exponential):
                shift = zero
            ones, others = tally(room, size, shift, exponential and stage == FUSED)
            ones = total(ones, lanes, shared, 1)
            others = total(others, lanes, shared, 2)
            if stage == FIRST:
                if rank == 0 and row < n_rows:
                    leave(records, row * parts + part, top, ones, others, zero, zero)
                return
        if stage == SECOND:
            if exponential and not isfinite(shift):
                others += shift - shift  # NaN, as in one launch
            elif not isfinite(shift):
                shift = zero
        if whole:
            if rank == 0 and part == 0 and row < n_rows:
                write(out, row, shift + log_sum(ones, others))
            return
        finish(room, shift, ones, others)
        for r in range(packs):
            at = first + r * lanes * count
            write_part(out, start, at, width, out_skewed, room, r * count, count)

    return kernel(body, most_threads)
