"""softmax, log_softmax and logsumexp of rows: one reading of the logits, one writing of the result."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cuda.groups import SHARED, exp, group, isfinite, log_sum
from fastsoftmax.kernels.cuda.packs import FORMATS, read_part, write, write_part
from fastsoftmax.kernels.cuda.runtime import cuda, inlined, kernel
from fastsoftmax.kernels.cuda.shapes import Limits
from fastsoftmax.kernels.cuda.tallies import tallies, thread_position, write_record

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.runtime import Kernel

MAPS = ("softmax", "log_softmax", "logsumexp")
FUSED, FIRST, SECOND = 0, 1, 2  # one launch, or the two launches for rows that are split over blocks
# By the registers of the compiled kernels: packs a thread, threads a block.
LIMITS = {
    "float32": Limits(4, 1024),
    "float64": Limits(4, 512),
    "float16": Limits(4, 512),
    "bfloat16": Limits(4, 512),
}


@functools.cache
def map_kernel(name: str, form: str, whole_block: bool, packs: int, stage: int, max_threads: int) -> Kernel:
    """Return a kernel that writes a function of each row.

    Parameters
    ----------
    name : {"softmax", "log_softmax", "logsumexp"}
    form : key of `packs.FORMATS`
    whole_block : bool
        Whether a row is shared by a whole block, not by threads of one warp.
    packs : int
        Packs that a thread holds in registers.
    stage : {FUSED, FIRST, SECOND}
        FIRST writes `records`, RECORD numbers for each part of a row, and SECOND reads them.
    max_threads : int
        Of a block.

    Returns
    -------
    kernel
        A function of these arguments:

        - x (n · K,), and out (n · K,), which may be x, or (n,) for logsumexp;
        - records (n · parts · RECORD,), or empty for FUSED;
        - n_rows, n_classes;
        - lead: the number of elements between the last 16-byte boundary and x (`launch.lead_of`);
        - out_skewed: whether out has another lead, so that its packs straddle boundaries;
        - bits: the binary logarithm of the number of threads that share a part of a row;
        - parts: the parts of a row, a group of threads each.
    """
    real, count = FORMATS[form].real, FORMATS[form].per_pack
    size = packs * count
    is_reduction = name == "logsumexp"
    exponential = name == "softmax"
    zero, one, least = real(0), real(1), real(-np.inf)
    maximum, total = group(real, whole_block)
    tally, join = tallies(real, whole_block)
    place = thread_position(packs, count)

    @inlined
    def finish(workspace, shift, ones, others):
        """Turn logits into results."""
        if exponential:
            factor = one / (ones + others)
            for j in range(size):
                workspace[j] = (workspace[j] if stage == FUSED else exp(workspace[j] - shift)) * factor
        else:
            log_total = log_sum(ones, others)
            for j in range(size):
                workspace[j] = (workspace[j] - shift) - log_total

    def body(x, out, records, n_rows, n_classes, lead, out_skewed, bits, parts):
        workspace = cuda.local.array(size, real)
        shared = cuda.shared.array(SHARED, real)
        lanes = 1 << bits
        row, part, rank, start, first = place(n_classes, lead, bits, parts)
        width = n_classes if row < n_rows else 0
        for r in range(packs):
            read_part(x, start, first + r * lanes * count, width, False, least, workspace, r * count, count)
        if stage == SECOND:
            shift, ones, others, _, _ = join(records, row * parts, parts, rank, lanes, shared)
        else:
            top = least
            for j in range(size):
                top = workspace[j] if workspace[j] > top else top
            shift = maximum(top, lanes, shared, 0)
            top = shift
            # As SciPy, which shifts a row with an infinite maximum by 0 in its logarithms.
            if not isfinite(shift) and (stage == FIRST or not exponential):
                shift = zero
            ones, others = tally(workspace, size, shift, exponential and stage == FUSED)
            ones = total(ones, lanes, shared, 1)
            others = total(others, lanes, shared, 2)
            if stage == FIRST:
                if rank == 0 and row < n_rows:
                    write_record(records, row * parts + part, top, ones, others, zero, zero)
                return
        if stage == SECOND:
            if exponential and not isfinite(shift):
                others += shift - shift  # NaN, as in one launch
            elif not isfinite(shift):
                shift = zero
        if is_reduction:
            if rank == 0 and part == 0 and row < n_rows:
                write(out, row, shift + log_sum(ones, others))
            return
        finish(workspace, shift, ones, others)
        for r in range(packs):
            at = first + r * lanes * count
            write_part(out, start, at, width, out_skewed, workspace, r * count, count)

    return kernel(body, max_threads)
