"""Copies between memory orders, in blocks that stay in cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.executor import even_bounds, kernel, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS, COLUMNS = 64, 256  # long runs on the side that is written to: half of the time of square blocks


@kernel
def _copy(start, stop, _, a, out):
    """Copy rows start to stop of a to out."""
    for first in range(start, stop, ROWS):
        last = min(first + ROWS, stop)
        for left in range(0, a.shape[1], COLUMNS):
            right = min(left + COLUMNS, a.shape[1])
            for j in range(first, last):
                for k in range(left, right):
                    out[j, k] = a[j, k]


def copy_to(out: NDArray[Any], a: NDArray[Any], n_threads: int | None) -> None:
    """Copy a matrix to a C-ordered one, from another memory order or dtype."""
    run(_copy, even_bounds(len(a), MOST_PARTS), a, out, work=a.size, n_threads=n_threads)
