"""Row kernels on float16 and bf16: read and written in 16 bits, computed in float32.

A few rows at a time are widened into a workspace that stays in the first-level cache, go through the float32
kernels there, and are narrowed again: only 16-bit numbers travel to and from memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cpu.rows import (
    EMPTY,
    is_small_and_plain,
    long_rows,
    over_rows,
)
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Loss, Vector

_map_rows = Kernel("fastsoftmax.kernels.cpu.jitted.half_precision", "map_rows")
_losses = Kernel("fastsoftmax.kernels.cpu.jitted.half_precision", "losses")
_small_index_losses = Kernel("fastsoftmax.kernels.cpu.jitted.half_precision", "small_index_losses")

CODES = {"softmax": 0, "log_softmax": 1, "logsumexp": 2}


def narrow(name: str, x: Array, out: Array, bf16: bool, n_threads: int | None = None) -> None:
    """Write softmax, log_softmax or logsumexp of each row of float16 or bf16 logits to out.

    `x` (n, K) and `out` (n, K), which may be x, or (n, 1) for logsumexp, are C-ordered uint16 views; `bf16`
    tells the formats apart. Computed in float32.
    """
    over_rows(_map_rows, len(x), x.size, n_threads, CODES[name], bf16, x, out)


def narrow_losses(
    loss: Loss,
    x: Array,
    target: Array,
    bf16: bool,
    *,
    weight: Vector | None = None,
    ignore_index: int = -1,
    row_values: Vector | None = None,
    slopes: Array | None = None,
    n_threads: int | None = None,
) -> float:
    """Return Σ wᵢ ℓ(xᵢ, tᵢ) in nats, as `row_losses`, for x and slopes (n, K) of float16 or bf16 bits."""
    body = _small_index_losses if is_small_and_plain(loss, x.shape[1]) else _losses
    sums = [
        value
        for loss, x, target, slopes in long_rows(loss, x, target, slopes, weight, row_values)
        for (value,) in over_rows(
            body, len(x), x.size, n_threads, loss, bf16, x, target,
            EMPTY if weight is None else weight, ignore_index,
            EMPTY if row_values is None else row_values,
            np.empty((0, x.shape[1]), x.dtype) if slopes is None else slopes, n_sums=1,
        )
    ]  # fmt: skip
    return math.fsum(sums)
