"""Row kernels on float16 and bf16: read and written in 16 bits, computed in float32."""

from __future__ import annotations

import numpy as np

from fastsoftmax.kernels.cpu.jitted import kinds
from fastsoftmax.kernels.cpu.jitted.few_classes import cross_entropy_rows
from fastsoftmax.kernels.cpu.jitted.rows import (
    log_softmax_range,
    logsumexp_range,
    losses_range,
    softmax_range,
)
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.half_precision import WIDE, narrow_bf16, narrow_half, widen_bf16, widen_half
from fastsoftmax.simd.sizes import MAX_CLASSES

LANES = WIDE.count


# With 8 or 11 bits of mantissa x − max is exact in float32, or its error is far below the rounding of the
# result.
EXACT = False


# float32 numbers: 8 KiB, a quarter of a first-level cache. Widening is a phase of its own, during which
# memory is read and nothing is computed; a larger workspace would make it long beside the prefetches of the
# next.
WORKSPACE_SIZE = 2**11


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


@kernel(signatures=["q,?,u2:2C,u2:2C"])
def map_rows(start, stop, part, code, bf16, x, out):
    """Write softmax, log_softmax or logsumexp (code 0, 1, 2) of rows of 16-bit numbers to out."""
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


@kernel(
    signatures=[f"{loss},?,u2:2C,{target},f8:1C,q,f8:1C,u2:2C,f8:2C" for loss, target in kinds.losses("f4")]
)
def losses(start, stop, part, loss, bf16, x, target, weight, ignore_index, row_values, slopes, sums):
    """Add Σ wᵢ ℓᵢ of rows start to stop, of any loss, to sums[part], as `rows.row_losses`."""
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


@kernel(signatures=["SoftmaxIndex(f8:1C,d,d,d,d),?,u2:2C,i8:1C,f8:1C,q,f8:1C,u2:2C,f8:2C"])
def small_index_losses(
    start, stop, part, loss, bf16, x, target, weight, ignore_index, row_values, slopes, sums
):
    """Do what `losses` does for a plain softmax loss of few classes."""
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
