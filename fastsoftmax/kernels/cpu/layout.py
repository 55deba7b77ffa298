"""Copies between memory orders, in blocks that stay in cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsoftmax.kernels.cpu.gather import element
from fastsoftmax.kernels.cpu.partition import MOST_PARTS
from fastsoftmax.kernels.executor import even_bounds, kernel, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Halves

BLOCK = 32


@kernel
def _copy(start, stop, part, a, out):
    """Copy rows start to stop of a to out; an `a` of halves is widened."""
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        for left in range(0, out.shape[1], BLOCK):
            right = min(left + BLOCK, out.shape[1])
            for k in range(left, right):
                for j in range(first, last):
                    out[j, k] = element(a, j, k)


def copy_to(out: NDArray[Any], a: NDArray[Any] | Halves, n_threads: int | None) -> None:
    """Copy a matrix to one of another memory order or dtype."""
    run(_copy, even_bounds(len(out), MOST_PARTS), a, out, work=out.size, n_threads=n_threads)
