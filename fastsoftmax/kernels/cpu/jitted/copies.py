"""Copies between memory orders, in blocks that stay in cache."""

from __future__ import annotations

from fastsoftmax.kernels.cpu.jitted.kinds import FLOATS
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.sizes import REGISTER_BYTES
from fastsoftmax.simd.transposes import square_to

# Of a block: long contiguous runs on the side that is written take half the time of square blocks. Blocks ten
# times as large would leave the first caches between a line's first use and its last.
ROWS, COLUMNS = 64, 256


@kernel(signatures=[f"{a}:2{order},{out}:2C" for a in FLOATS for out in FLOATS for order in "CFA"])
def copy(start, stop, _, a, out):
    """Copy rows start to stop of a (n, m) to out (n, m).

    Of a whose columns are contiguous by squares that are transposed in registers; the last ones overlap those
    before them.
    """
    lanes = REGISTER_BYTES // out.itemsize
    if a.strides[0] == a.itemsize and min(stop - start, a.shape[1]) >= lanes:
        for first in range(start, stop, ROWS):
            for left in range(0, a.shape[1], lanes):
                column = min(left, a.shape[1] - lanes)
                for top in range(first, min(first + ROWS, stop), lanes):
                    row = min(top, stop - lanes)
                    square_to(a, row, column, ROWS * a.itemsize, out, row, column, 0)
        return
    for first in range(start, stop, ROWS):
        last = min(first + ROWS, stop)
        for left in range(0, a.shape[1], COLUMNS):
            right = min(left + COLUMNS, a.shape[1])
            for j in range(first, last):
                for k in range(left, right):
                    out[j, k] = a[j, k]
