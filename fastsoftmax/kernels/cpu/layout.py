"""Copies between memory orders, in blocks that stay in cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.executor import even_bounds, kernel, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32


@kernel
def _copy(start, stop, part, a, out):
    """Copy rows start to stop of a to out."""
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        for left in range(0, a.shape[1], BLOCK):
            right = min(left + BLOCK, a.shape[1])
            for k in range(left, right):
                for j in range(first, last):
                    out[j, k] = a[j, k]


def copy_to(out: NDArray[Any], a: NDArray[Any], n_threads: int | None) -> None:
    """Copy a matrix to one of another memory order or dtype."""
    run(_copy, even_bounds(len(a), MOST_PARTS), a, out, work=a.size, n_threads=n_threads)
