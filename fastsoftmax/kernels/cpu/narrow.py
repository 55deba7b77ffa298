"""Row kernels on float16 and bfloat16: read narrow, computed in float32, written narrow.

A few rows at a time are widened into a room that stays in the first-level cache, go through the float32
kernels there, and are narrowed again: memory sees the narrow bytes alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cpu.rows import (
    NOTHING,
    is_small_and_plain,
    log_softmax_range,
    logsumexp_range,
    long_rows,
    losses_range,
    over_rows,
    softmax_range,
)
from fastsoftmax.kernels.cpu.small import cross_entropy_rows
from fastsoftmax.kernels.executor import kernel
from fastsoftmax.kernels.halves import WIDE, narrow_brain, narrow_half, widen_brain, widen_half
from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.tiles import MOST_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANES = WIDE.count
# Of numbers of 8 or 11 bits x − max is exact, or misses by far less than the result is rounded.
EXACT = False
ROOM = 2**11  # float32 numbers: read in one go, which must not be long beside the work that follows
CODES = {"softmax": 0, "log_softmax": 1, "logsumexp": 2}


@jit
def _room_rows(n_classes):
    if n_classes > MOST_CLASSES:
        return max(1, ROOM // n_classes)
    return max(LANES, ROOM // n_classes // LANES * LANES)


@jit
def _widen(x, brain, first, last, room, out):
    """Write rows first to last to the start of room. They lie side by side, so they are read as one.

    Meanwhile the same rows of `out`, of x's shape, are fetched.
    """
    part = slice(first * x.shape[1], last * x.shape[1])
    if brain:
        widen_brain(x.reshape(-1)[part], room.reshape(-1), out.reshape(-1)[part])
    else:
        widen_half(x.reshape(-1)[part], room.reshape(-1), out.reshape(-1)[part])


@jit
def _narrow(room, brain, first, last, out):
    """Write the start of room to rows first to last."""
    size = (last - first) * out.shape[1]
    target = out.reshape(-1)[first * out.shape[1] :]
    if brain:
        narrow_brain(room.reshape(-1)[:size], target)
    else:
        narrow_half(room.reshape(-1)[:size], target)


@kernel
def _map(start, stop, part, code, brain, x, out):
    step = _room_rows(x.shape[1])
    room = np.empty((step, x.shape[1]), np.float32)
    sums = np.empty((step, 1), np.float32)
    fetched = x if code == 2 else out
    for first in range(start, stop, step):
        last = min(first + step, stop)
        _widen(x, brain, first, last, room, fetched)
        if code == 2:
            # What is left where the maximum and log Σ cancel has more digits than either: they must be good.
            logsumexp_range(room, sums.reshape(-1), 0, last - first, True)
            _narrow(sums, brain, first, last, out)
            continue
        if code == 0:
            softmax_range(room, room, 0, last - first, EXACT)
        else:
            log_softmax_range(room, room, 0, last - first, EXACT)
        _narrow(room, brain, first, last, out)


@kernel
def _losses(start, stop, part, loss, brain, x, target, weight, ignore_index, row_values, slopes, sums):
    step = _room_rows(x.shape[1])
    room = np.empty((step, x.shape[1]), np.float32)
    fetched = slopes if slopes.size else x
    for first in range(start, stop, step):
        last = min(first + step, stop)
        _widen(x, brain, first, last, room, fetched)
        sums[part, 0] += losses_range(
            loss, room, target[first:last], weight[first:last], ignore_index, 0, last - first,
            row_values[first:last], room,
        )  # fmt: skip
        if slopes.size:
            _narrow(room, brain, first, last, slopes)


@kernel
def _small_index_losses(
    start, stop, part, loss, brain, x, target, weight, ignore_index, row_values, slopes, sums
):
    step = _room_rows(x.shape[1])
    room = np.empty((step, x.shape[1]), np.float32)
    room_slopes = room if slopes.size else room[:0]
    fetched = slopes if slopes.size else x
    for first in range(start, stop, step):
        last = min(first + step, stop)
        _widen(x, brain, first, last, room, fetched)
        sums[part, 0] += cross_entropy_rows(
            1.0, loss.class_weight, room, target[first:last], weight[first:last], ignore_index,
            0, last - first, row_values[first:last], room_slopes, EXACT,
        )  # fmt: skip
        if slopes.size:
            _narrow(room, brain, first, last, slopes)


def narrow(name: str, x: NDArray[Any], out: NDArray[Any], brain: bool, n_threads: int | None = None) -> None:
    """Write softmax, log_softmax or logsumexp of rows of float16 or bfloat16.

    `x` (n, K) and `out` (n, K), or (n, 1) for logsumexp, are views as uint16; `out` may be x. `brain` says
    that they are bfloat16.
    """
    over_rows(_map, len(x), x.size, n_threads, CODES[name], brain, x, out)


def narrow_losses(
    loss: Any,
    x: NDArray[Any],
    target: NDArray[Any],
    brain: bool,
    *,
    weight: NDArray[np.float64] | None = None,
    ignore_index: int = -1,
    row_values: NDArray[np.float64] | None = None,
    slopes: NDArray[Any] | None = None,
    n_threads: int | None = None,
) -> float:
    """Return what `row_losses` does, of rows of float16 or bfloat16 seen as uint16."""
    body = _small_index_losses if is_small_and_plain(loss, x.shape[1]) else _losses
    sums = [
        value
        for loss, x, target, slopes in long_rows(loss, x, target, slopes, weight, row_values)
        for (value,) in over_rows(
            body, len(x), x.size, n_threads, loss, brain, x, target,
            NOTHING if weight is None else weight, ignore_index,
            NOTHING if row_values is None else row_values,
            np.empty((0, x.shape[1]), x.dtype) if slopes is None else slopes, n_sums=1,
        )
    ]  # fmt: skip
    return math.fsum(sums)
