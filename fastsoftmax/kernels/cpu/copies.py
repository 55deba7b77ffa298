"""Copies between memory orders, in blocks that stay in cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.runtime.executor import even_bounds, kernel, run

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

# Of a block: long contiguous runs on the side that is written take half the time of square blocks. Blocks ten
# times as large would leave the first caches between a line's first use and its last.
ROWS, COLUMNS = 64, 256


@kernel
def _copy(start, stop, _, a, out):
    """Copy rows start to stop of a (n, m) to out (n, m)."""
    for first in range(start, stop, ROWS):
        last = min(first + ROWS, stop)
        for left in range(0, a.shape[1], COLUMNS):
            right = min(left + COLUMNS, a.shape[1])
            for j in range(first, last):
                for k in range(left, right):
                    out[j, k] = a[j, k]


def copy_to(out: Array, a: Array, n_threads: int | None) -> None:
    """Copy a matrix (n, m) of any memory order and dtype to out (n, m), C-ordered."""
    run(_copy, even_bounds(len(a), MAX_PARTS), a, out, work=a.size, n_threads=n_threads)
