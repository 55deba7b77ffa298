"""The verbs of a pass applied to a row or a tile of logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload

import fastsoftmax.losses.jitted  # noqa: F401 - registers the row functions
from fastsoftmax.kernels.cpu.jitted.few_classes import cross_entropy_rows, softmax_rows
from fastsoftmax.kernels.cpu.verbs import Diagonal, Dual, Hessp, LossGrad
from fastsoftmax.losses.jitted.softmax import mixed_entropy
from fastsoftmax.losses.row_functions import row_curvature, row_dual, row_hessp, row_loss
from fastsoftmax.losses.sigmoid import SUM_BLOCK, Sigmoid
from fastsoftmax.losses.softmax import SoftmaxIndex
from fastsoftmax.runtime.jit import INNER, inner, named_tuple_class
from fastsoftmax.simd import compensated
from fastsoftmax.simd.elementwise import sigmoid_losses
from fastsoftmax.simd.sizes import MAX_CLASSES


def apply(verb: Any, loss: Any, z: Any, s: Any, target: Any) -> Any:
    """Turn s (K,) into the row's dlogits and return its value, in nats; z (K,) holds the logits.

    For `Hessp`, s holds the direction's logits and z is overwritten; for the others s and z are one array.
    """
    return _APPLY[type(verb)](verb, loss, z, s, target)


def _loss_grad(verb, loss, z, s, target):
    return row_loss(loss, s, s, target)


def _hessp(verb, loss, z, s, target):
    row_hessp(loss, z, s, target)
    return 0.0


def _diagonal(verb, loss, z, s, target):
    row_curvature(loss, s, target)
    return 0.0


def _dual(verb, loss, z, s, target):
    return row_dual(loss, s, target, verb.intercept_shift, verb.theta, verb.q)


def apply_to_tile(verb: Any, loss: Any, z: Any, s: Any, target: Any, weight: Any, row_values: Any) -> Any:
    """Apply a verb to all rows of a tile z and s (n, K) at once, if there is a kernel for it.

    Returns whether there is one, and Σ wᵢ ℓᵢ. If so, s holds the weighted dlogits, and `row_values` (n,),
    unless empty, the weighted values; otherwise nothing is changed, and `apply` must be called row by row.
    """
    return False, 0.0


@inner
def _is_few_and_plain(loss, z):
    plain = loss.label_smoothing == 0.0 and loss.z_loss == 0.0 and loss.softcap == 0.0
    return plain and z.shape[1] <= MAX_CLASSES


@inner
def _tile_losses(verb, loss, z, s, target, weight, row_values):
    if not _is_few_and_plain(loss, z):
        return False, 0.0
    n_rows = s.shape[0]
    # No label is ignored here, and logits that are products are rounded anyway: no exact differences.
    value = cross_entropy_rows(1.0, loss.class_weight, s, target, weight, -1, 0, n_rows, row_values, s, False)
    return True, value


@inner
def _tile_hessps(verb, loss, z, s, target, weight, row_values):
    if not _is_few_and_plain(loss, z):
        return False, 0.0
    softmax_rows(z, z, 0, z.shape[0], False)
    for i in range(z.shape[0]):
        row_weight = weight[i] * loss.class_weight[target[i]]
        p, row = z[i], s[i]
        mean = 0.0
        for k in range(len(row)):
            mean += np.float64(p[k]) * row[k]
        for k in range(len(row)):
            row[k] = row_weight * p[k] * (row[k] - mean)
    return True, 0.0


@inner
def _tile_duals(verb, loss, z, s, target, weight, row_values):
    n_rows, n_classes = z.shape
    if n_classes > MAX_CLASSES:
        return False, 0.0
    shifted = np.empty((n_rows, n_classes), np.float64)
    for i in range(n_rows):
        for k in range(n_classes):
            shifted[i, k] = z[i, k] + verb.intercept_shift[k]
    proba = np.empty_like(shifted)
    softmax_rows(shifted, proba, 0, n_rows, False)
    smoothing = loss.label_smoothing / n_classes
    value = 0.0
    lost = 0.0
    for i in range(n_rows):
        p, row, row_weight = proba[i], s[i], weight[i]
        row_value = (
            row_weight * mixed_entropy(shifted[i], p, verb.theta, verb.q) if row_weight != 0.0 else 0.0
        )
        value, lost = compensated.add(value, lost, row_value)
        if row_values.size:
            row_values[i] = row_value
        p[target[i]] -= 1.0 - loss.label_smoothing
        for k in range(n_classes):
            row[k] = row_weight * (p[k] - smoothing)
    return True, value


@inner
def _tile_sigmoids(verb, loss, z, s, target, weight, row_values):
    """Take a tile of one output as a row of independent labels, weighted by their rows."""
    n_rows, n_outputs = s.shape
    if n_outputs != 1 or row_values.size:
        return False, 0.0
    keep = s.dtype.type(1.0 - loss.label_smoothing)
    half = s.dtype.type(0.5 * loss.label_smoothing)
    scales = np.empty(min(SUM_BLOCK, n_rows), s.dtype)
    value = 0.0
    for start in range(0, n_rows, SUM_BLOCK):
        stop = min(start + SUM_BLOCK, n_rows)
        scale = scales[: stop - start]
        for i in range(stop - start):
            scale[i] = weight[start + i] * loss.class_weight[0]
        row = s[start:stop].reshape(-1)
        value += sigmoid_losses(row, target[start:stop].reshape(-1), scale, keep, half, row)
    return True, value


@overload(apply_to_tile, jit_options=INNER)
def _overload_apply_to_tile(verb, loss, z, s, target, weight, row_values):
    by_verb: dict[Any, Any] = {
        LossGrad: _tile_losses, Hessp: _tile_hessps, Dual: _tile_duals
    }  # fmt: skip
    implementation = by_verb.get(named_tuple_class(verb))
    if named_tuple_class(loss) is Sigmoid and named_tuple_class(verb) is LossGrad:
        implementation = _tile_sigmoids
    elif named_tuple_class(loss) is not SoftmaxIndex:
        implementation = None
    if implementation is None:
        return lambda verb, loss, z, s, target, weight, row_values: (False, 0.0)
    return lambda verb, loss, z, s, target, weight, row_values: implementation(
        verb, loss, z, s, target, weight, row_values
    )


_APPLY: dict[type | None, Any] = {LossGrad: _loss_grad, Hessp: _hessp, Diagonal: _diagonal, Dual: _dual}


@overload(apply, jit_options=INNER)
def _apply(verb, loss, z, s, target):
    return _APPLY.get(named_tuple_class(verb))
