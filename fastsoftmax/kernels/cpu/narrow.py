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
    log_softmax_range,
    logsumexp_range,
    losses_range,
    over_rows,
    softmax_range,
)
from fastsoftmax.kernels.executor import kernel
from fastsoftmax.kernels.halves import narrow_brain, narrow_half, widen_brain, widen_half
from fastsoftmax.kernels.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROOM = 2**13  # float32 numbers
CODES = {"softmax": 0, "log_softmax": 1, "logsumexp": 2}


@jit
def _room_rows(n_classes):
    return max(1, ROOM // n_classes)


@jit
def _widen(x, brain, first, last, room):
    for i in range(first, last):
        if brain:
            widen_brain(x[i], room[i - first])
        else:
            widen_half(x[i], room[i - first])


@jit
def _narrow(room, brain, first, last, out):
    for i in range(first, last):
        if brain:
            narrow_brain(room[i - first], out[i])
        else:
            narrow_half(room[i - first], out[i])


@kernel
def _map(start, stop, part, code, brain, x, out):
    step = _room_rows(x.shape[1])
    room = np.empty((step, x.shape[1]), np.float32)
    sums = np.empty((1, step), np.float32)
    for first in range(start, stop, step):
        last = min(first + step, stop)
        _widen(x, brain, first, last, room)
        if code == 2:
            logsumexp_range(room, sums[0], 0, last - first)
            if brain:
                narrow_brain(sums[0, : last - first], out[0, first:last])
            else:
                narrow_half(sums[0, : last - first], out[0, first:last])
            continue
        if code == 0:
            softmax_range(room, room, 0, last - first)
        else:
            log_softmax_range(room, room, 0, last - first)
        _narrow(room, brain, first, last, out)


@kernel
def _losses(start, stop, part, loss, brain, x, target, weight, ignore_index, row_values, slopes, sums):
    step = _room_rows(x.shape[1])
    room = np.empty((step, x.shape[1]), np.float32)
    for first in range(start, stop, step):
        last = min(first + step, stop)
        _widen(x, brain, first, last, room)
        sums[part, 0] += losses_range(
            loss,
            room,
            target[first:last],
            weight[first:last],
            ignore_index,
            0,
            last - first,
            row_values[first:last],
            room,
        )
        if slopes.size:
            _narrow(room, brain, first, last, slopes)


def narrow(name: str, x: NDArray[Any], out: NDArray[Any], brain: bool, n_threads: int | None = None) -> None:
    """Write softmax, log_softmax or logsumexp of rows of float16 or bfloat16.

    `x` (n, K) and `out` (n, K), or (1, n) for logsumexp, are views as uint16; `out` may be x. `brain` says
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
    sums = over_rows(
        _losses, len(x), x.size, n_threads, loss, brain, x, target,
        NOTHING if weight is None else weight, ignore_index, NOTHING if row_values is None else row_values,
        np.empty((0, x.shape[1]), x.dtype) if slopes is None else slopes, n_sums=1,
    )  # fmt: skip
    return math.fsum(value for (value,) in sums)
