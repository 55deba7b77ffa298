"""Copies between memory orders, in blocks that stay in cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

_copy = Kernel("fastsoftmax.kernels.cpu.jitted.copies", "copy", divisible=True)


def copy_to(out: Array, a: Array, n_threads: int | None) -> None:
    """Copy a matrix (n, m) of any memory order and dtype to out (n, m), C-ordered."""
    run(_copy, even_bounds(len(a), MAX_PARTS), a, out, work=a.size, n_threads=n_threads)
