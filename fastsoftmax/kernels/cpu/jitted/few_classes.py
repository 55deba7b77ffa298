"""Row functions for few classes (at most `row_tiles.MAX_CLASSES`), by row tiles.

Every row goes through a tile, including the last ones, which do not fill one: so the bits of a row's result
depend neither on its position nor on its neighbours.
"""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd import compensated
from fastsoftmax.simd.copies import copy_matrix, copy_vector
from fastsoftmax.simd.exponentials import plain_log_sum
from fastsoftmax.simd.row_tiles import (
    cross_entropy_tile,
    log_softmax_tile,
    logsumexp_tile,
    softmax_tile,
)
from fastsoftmax.simd.sizes import REGISTER_BYTES


@inner
def softmax_rows(x, out, start, stop, exact):
    """Write the softmax of rows start to stop of x (n, K) to out, which may be x."""
    lanes = REGISTER_BYTES // x.itemsize
    whole = start + (stop - start) // lanes * lanes
    for i in range(start, whole, lanes):
        softmax_tile(x, out, i, exact)
    if whole < stop:
        workspace = np.zeros((lanes, x.shape[1]), x.dtype)
        copy_matrix(x[whole:stop], workspace)
        softmax_tile(workspace, workspace, 0, exact)
        copy_matrix(workspace[: stop - whole], out[whole:stop])


@inner
def log_softmax_rows(x, out, start, stop, exact):
    """Write the log-softmax of rows start to stop of x (n, K) to out, which may be x."""
    lanes = REGISTER_BYTES // x.itemsize
    for i in range(start, stop, lanes):
        if i + lanes > stop or not log_softmax_tile(x, out, i, exact):
            workspace = np.zeros((lanes, x.shape[1]), x.dtype)
            infinite = _copy_finite(x, i, min(i + lanes, stop), workspace)
            log_softmax_tile(workspace, workspace, 0, exact)
            for r in range(min(lanes, stop - i)):
                if infinite[r]:
                    log_total = plain_log_sum(x[i + r])
                    for k in range(x.shape[1]):
                        out[i + r, k] = x[i + r, k] - log_total
                else:
                    copy_vector(workspace[r], out[i + r])


@inner
def logsumexp_rows(x, out, start, stop, exact):
    """Write log Σ e^x of rows start to stop of x (n, K) to out (n,)."""
    lanes = REGISTER_BYTES // x.itemsize
    for i in range(start, stop, lanes):
        if i + lanes > stop or not logsumexp_tile(x, out, i, exact):
            workspace = np.zeros((lanes, x.shape[1]), x.dtype)
            sums = np.empty(lanes, x.dtype)
            infinite = _copy_finite(x, i, min(i + lanes, stop), workspace)
            logsumexp_tile(workspace, sums, 0, exact)
            for r in range(min(lanes, stop - i)):
                out[i + r] = plain_log_sum(x[i + r]) if infinite[r] else sums[r]


@inner
def _copy_finite(x, start, stop, workspace):
    """Copy rows start to stop with a finite maximum to `workspace`; return a mask (lanes,) of the others."""
    infinite = np.zeros(workspace.shape[0], np.bool_)
    for i in range(start, stop):
        largest = -np.inf
        for k in range(x.shape[1]):
            if x[i, k] > largest:
                largest = np.float64(x[i, k])
        if math.isfinite(largest):
            copy_vector(x[i], workspace[i - start])
        else:
            infinite[i - start] = True
    return infinite


@inner
def cross_entropy_rows(
    scale, class_weight, x, target, weight, ignore_index, start, stop, row_values, slopes, exact
):
    """Return scale · Σ wᵢ ℓᵢ, in nats, of rows start to stop with integer targets and a plain softmax loss.

    Parameters
    ----------
    scale : float
        Multiplies every weight.
    class_weight, weight : arrays (K,) and (n,), float64, or empty
        Empty stands for ones.
    x : array (n, K), float32 or float64, C-ordered
        The logits.
    target : array (n,), int64
    ignore_index : int
        Rows with this target get exact zeros.
    start, stop : int
    row_values : array (n,), or empty
        Receives scale · wᵢ ℓᵢ.
    slopes : array (n, K), of the dtype of x, or empty
        Receives scale · wᵢ ∂ℓᵢ/∂x; may be x.
    exact : bool
        As for `emit_exp`.

    Notes
    -----
    Plain: no label smoothing, z-loss or cap. The sum over tiles is compensated.
    """
    lanes = REGISTER_BYTES // x.itemsize
    tile_weights = np.empty(lanes, x.dtype)
    values = np.empty(lanes, x.dtype)
    with_slopes = slopes.size > 0
    weighted = weight.size > 0 or not _is_uniform(class_weight)
    if class_weight.size and not weighted:
        scale *= class_weight[0]
    slopes_or_x = slopes if with_slopes else x
    tile_weights[:] = scale
    value = 0.0
    lost = 0.0
    for i in range(start, stop, lanes):
        n_rows = min(lanes, stop - i)
        if weighted:
            for r in range(n_rows):
                row_weight = 0.0 if target[i + r] == ignore_index else scale
                if class_weight.size and row_weight != 0.0:
                    row_weight *= class_weight[target[i + r]]
                tile_weights[r] = row_weight * weight[i + r] if weight.size else row_weight
        if n_rows == lanes:
            tile_value = cross_entropy_tile(
                x, slopes_or_x, target, ignore_index, tile_weights, values, i, with_slopes, exact
            )
        else:
            tile_weights[n_rows:] = 0.0
            workspace = np.zeros((lanes, x.shape[1]), x.dtype)
            padded_labels = np.zeros(lanes, target.dtype)
            copy_matrix(x[i : i + n_rows], workspace)
            copy_vector(target[i : i + n_rows], padded_labels)
            tile_value = cross_entropy_tile(
                workspace, workspace, padded_labels, ignore_index, tile_weights, values, 0, with_slopes, exact
            )
            if with_slopes:
                copy_matrix(workspace[:n_rows], slopes[i : i + n_rows])
        value, lost = compensated.add(value, lost, tile_value)
        if row_values.size:
            for r in range(n_rows):
                row_values[i + r] = values[r]
    return value


@inner
def _is_uniform(weights):
    n_different = 0
    for k in range(weights.shape[0]):
        n_different += weights[k] != weights[0]
    return n_different == 0
