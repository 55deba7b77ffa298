"""Row kernels on float16 and bf16: read and written in 16 bits, computed in float32.

A few rows at a time are widened into a workspace that stays in the first-level cache, go through the float32
kernels there, and are narrowed again: only 16-bit numbers travel to and from memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.kernels.cpu.few_classes import cross_entropy_rows
from fastsoftmax.kernels.cpu.rows import (
    EMPTY,
    is_small_and_plain,
    log_softmax_range,
    logsumexp_range,
    long_rows,
    losses_range,
    over_rows,
    softmax_range,
)
from fastsoftmax.runtime.executor import kernel
from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd.half_precision import WIDE, narrow_bf16, narrow_half, widen_bf16, widen_half
from fastsoftmax.simd.row_tiles import MAX_CLASSES

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, Loss, Vector

LANES = WIDE.count
# With 8 or 11 bits of mantissa x − max is exact in float32, or its error is far below the rounding of the
# result.
EXACT = False
# float32 numbers: 8 KiB, a quarter of a first-level cache. Widening is a phase of its own, during which
# memory is read and nothing is computed; a larger workspace would make it long beside the prefetches of the
# next.
WORKSPACE_SIZE = 2**11
CODES = {"softmax": 0, "log_softmax": 1, "logsumexp": 2}


@inner
def _rows_per_workspace(n_classes):
    """Return how many rows of a workspace are processed together; whole row tiles where classes are few."""
    if n_classes > MAX_CLASSES:
        return max(1, WORKSPACE_SIZE // n_classes)
    return max(LANES, WORKSPACE_SIZE // n_classes // LANES * LANES)


@inner
def _widen(x, bf16, first, last, workspace, out):
    """Widen rows first to last of x (n, K) into the start of workspace, as one contiguous run.

    The same rows of `out`, of x's shape, are prefetched for writing.
    """
    part = slice(first * x.shape[1], last * x.shape[1])
    if bf16:
        widen_bf16(x.reshape(-1)[part], workspace.reshape(-1), out.reshape(-1)[part])
    else:
        widen_half(x.reshape(-1)[part], workspace.reshape(-1), out.reshape(-1)[part])


@inner
def _narrow(workspace, bf16, first, last, out):
    """Narrow the start of workspace to rows first to last of out (n, K)."""
    size = (last - first) * out.shape[1]
    target = out.reshape(-1)[first * out.shape[1] :]
    if bf16:
        narrow_bf16(workspace.reshape(-1)[:size], target)
    else:
        narrow_half(workspace.reshape(-1)[:size], target)


@kernel
def _map(start, stop, part, code, bf16, x, out):
    step = _rows_per_workspace(x.shape[1])
    workspace = np.empty((step, x.shape[1]), np.float32)
    sums = np.empty((step, 1), np.float32)
    to_prefetch = x if code == 2 else out
    for first in range(start, stop, step):
        last = min(first + step, stop)
        _widen(x, bf16, first, last, workspace, to_prefetch)
        if code == 2:
            # The maximum and log Σ may cancel, so that both must have more digits than the result.
            logsumexp_range(workspace, sums.reshape(-1), 0, last - first, True)
            _narrow(sums, bf16, first, last, out)
            continue
        if code == 0:
            softmax_range(workspace, workspace, 0, last - first, EXACT)
        else:
            log_softmax_range(workspace, workspace, 0, last - first, EXACT)
        _narrow(workspace, bf16, first, last, out)


@kernel
def _losses(start, stop, part, loss, bf16, x, target, weight, ignore_index, row_values, slopes, sums):
    step = _rows_per_workspace(x.shape[1])
    workspace = np.empty((step, x.shape[1]), np.float32)
    to_prefetch = slopes if slopes.size else x
    for first in range(start, stop, step):
        last = min(first + step, stop)
        _widen(x, bf16, first, last, workspace, to_prefetch)
        sums[part, 0] += losses_range(
            loss, workspace, target[first:last], weight[first:last], ignore_index, 0, last - first,
            row_values[first:last], workspace,
        )  # fmt: skip
        if slopes.size:
            _narrow(workspace, bf16, first, last, slopes)


@kernel
def _small_index_losses(
    start, stop, part, loss, bf16, x, target, weight, ignore_index, row_values, slopes, sums
):
    step = _rows_per_workspace(x.shape[1])
    workspace = np.empty((step, x.shape[1]), np.float32)
    workspace_slopes = workspace if slopes.size else workspace[:0]
    to_prefetch = slopes if slopes.size else x
    for first in range(start, stop, step):
        last = min(first + step, stop)
        _widen(x, bf16, first, last, workspace, to_prefetch)
        sums[part, 0] += cross_entropy_rows(
            1.0, loss.class_weight, workspace, target[first:last], weight[first:last], ignore_index,
            0, last - first, row_values[first:last], workspace_slopes, EXACT,
        )  # fmt: skip
        if slopes.size:
            _narrow(workspace, bf16, first, last, slopes)


def narrow(name: str, x: Array, out: Array, bf16: bool, n_threads: int | None = None) -> None:
    """Write softmax, log_softmax or logsumexp of each row of float16 or bf16 logits to out.

    `x` (n, K) and `out` (n, K), which may be x, or (n, 1) for logsumexp, are C-ordered uint16 views; `bf16`
    tells the formats apart. Computed in float32.
    """
    over_rows(_map, len(x), x.size, n_threads, CODES[name], bf16, x, out)


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
