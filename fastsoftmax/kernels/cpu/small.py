"""Rows of few classes, a tile of them at a time.

Every row goes through a tile, also the last ones that do not fill one: so the bits of a row's result depend
neither on its place nor on its neighbours.
"""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.kernels import compensated
from fastsoftmax.kernels.exponentials import plain_log_sum
from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.tiles import (
    REGISTER_BYTES,
    cross_entropy_tile,
    log_softmax_tile,
    logsumexp_tile,
    softmax_tile,
)


@jit
def softmax_rows(x, out, start, stop, exact):
    """Write the softmax of rows start to stop of x (n, K) to out, which may be x."""
    lanes = REGISTER_BYTES // x.itemsize
    whole = start + (stop - start) // lanes * lanes
    for i in range(start, whole, lanes):
        softmax_tile(x, out, i, exact)
    if whole < stop:
        room = np.zeros((lanes, x.shape[1]), x.dtype)
        room[: stop - whole] = x[whole:stop]
        softmax_tile(room, room, 0, exact)
        out[whole:stop] = room[: stop - whole]


@jit
def log_softmax_rows(x, out, start, stop, exact):
    """Write the log-softmax of rows start to stop of x (n, K) to out, which may be x."""
    lanes = REGISTER_BYTES // x.itemsize
    for i in range(start, stop, lanes):
        if i + lanes > stop or not log_softmax_tile(x, out, i, exact):
            room = np.zeros((lanes, x.shape[1]), x.dtype)
            infinite = _copy_finite(x, i, min(i + lanes, stop), room)
            log_softmax_tile(room, room, 0, exact)
            for r in range(min(lanes, stop - i)):
                if infinite[r]:
                    log_total = plain_log_sum(x[i + r])
                    for k in range(x.shape[1]):
                        out[i + r, k] = x[i + r, k] - log_total
                else:
                    out[i + r] = room[r]


@jit
def logsumexp_rows(x, out, start, stop, exact):
    """Write log Σ e^x of rows start to stop of x (n, K) to out (n,)."""
    lanes = REGISTER_BYTES // x.itemsize
    for i in range(start, stop, lanes):
        if i + lanes > stop or not logsumexp_tile(x, out, i, exact):
            room = np.zeros((lanes, x.shape[1]), x.dtype)
            sums = np.empty(lanes, x.dtype)
            infinite = _copy_finite(x, i, min(i + lanes, stop), room)
            logsumexp_tile(room, sums, 0, exact)
            for r in range(min(lanes, stop - i)):
                out[i + r] = plain_log_sum(x[i + r]) if infinite[r] else sums[r]


@jit
def _copy_finite(x, start, stop, room):
    """Copy the rows whose maximum is finite; return which ones have another, left zero in `room`."""
    infinite = np.zeros(room.shape[0], np.bool_)
    for i in range(start, stop):
        largest = -np.inf
        for k in range(x.shape[1]):
            if x[i, k] > largest:
                largest = np.float64(x[i, k])
        if math.isfinite(largest):
            room[i - start] = x[i]
        else:
            infinite[i - start] = True
    return infinite


@jit
def cross_entropy_rows(
    share, class_weight, x, target, weight, ignore_index, start, stop, row_values, slopes, exact
):
    """Return share · Σ wᵢ ℓᵢ of rows start to stop with integer targets, no smoothing, z-loss or cap.

    `class_weight` (K,) and `weight` (n,) are ones where they are empty; `row_values` (n,) and `slopes` (n, K)
    are filled where they are not empty.
    """
    lanes = REGISTER_BYTES // x.itemsize
    own = np.empty(lanes, x.dtype)
    values = np.empty(lanes, x.dtype)
    with_slopes = slopes.size > 0
    weighted = weight.size > 0 or not _is_uniform(class_weight)
    if class_weight.size and not weighted:
        share *= class_weight[0]
    slope = slopes if with_slopes else x
    own[:] = share
    value = 0.0
    lost = 0.0
    for i in range(start, stop, lanes):
        n_rows = min(lanes, stop - i)
        if weighted:
            for r in range(n_rows):
                mine = 0.0 if target[i + r] == ignore_index else share
                if class_weight.size and mine != 0.0:
                    mine *= class_weight[target[i + r]]
                own[r] = mine * weight[i + r] if weight.size else mine
        if n_rows == lanes:
            tile_value = cross_entropy_tile(
                x, slope, target, ignore_index, own, values, i, with_slopes, exact
            )
        else:
            own[n_rows:] = 0.0
            room = np.zeros((lanes, x.shape[1]), x.dtype)
            room_labels = np.zeros(lanes, target.dtype)
            room[:n_rows] = x[i:stop]
            room_labels[:n_rows] = target[i:stop]
            tile_value = cross_entropy_tile(
                room, room, room_labels, ignore_index, own, values, 0, with_slopes, exact
            )
            if with_slopes:
                slopes[i:stop] = room[:n_rows]
        value, lost = compensated.add(value, lost, tile_value)
        if row_values.size:
            for r in range(n_rows):
                row_values[i + r] = values[r]
    return value


@jit
def _is_uniform(weights):
    different = 0
    for k in range(weights.shape[0]):
        different += weights[k] != weights[0]
    return different == 0


@jit
def plain_cross_entropy(x, target, ignore_index, mean, slopes):
    """Return Σ ℓᵢ, or its mean, over the rows that count; how many there are; and a label out of range.

    All of a small call in one: the third result is the place of such a label, or −1, and then nothing has
    been computed.
    """
    n_rows, n_classes = x.shape
    counted = 0
    for i in range(n_rows):
        label = target[i]
        if label != ignore_index:
            counted += 1
            if label < 0 or label >= n_classes:
                return 0.0, counted, i
    nothing = np.empty(0)
    share = 1.0 / counted if mean and counted else 1.0
    value = cross_entropy_rows(
        share, nothing, x, target, nothing, ignore_index, 0, n_rows, nothing, slopes, True
    )
    return value, counted, -1
