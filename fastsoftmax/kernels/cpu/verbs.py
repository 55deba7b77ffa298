"""What a pass does with a row of logits: the value and slope, the curvature along a direction, the diagonal.

A pass is one loop for each storage. `apply` is chosen by the types of the verb and the loss while the loop is
compiled. (They are two arguments because a tuple within a tuple cannot be passed into a `prange`.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload

from fastsoftmax.kernels import compensated
from fastsoftmax.kernels.cpu.small import cross_entropy_rows, softmax_rows
from fastsoftmax.kernels.jit import jit, named_tuple_class
from fastsoftmax.kernels.tiles import MOST_CLASSES
from fastsoftmax.losses import row_curvature, row_dual, row_hessp, row_loss
from fastsoftmax.losses.softmax import SoftmaxIndex, mixed_entropy


class LossGrad(NamedTuple):
    """ℓ, and its slope as the row's multiplier."""

    n_maps: int = 1


class Hessp(NamedTuple):
    """The curvature along the direction's logits as the row's multiplier."""

    n_maps: int = 2


class Diagonal(NamedTuple):
    """The diagonal of the curvature as the multiplier of the row's squares."""

    n_maps: int = 1


class Dual(NamedTuple):
    """The negative entropy of a `contracts.Mixture` of probabilities; the multiplier is their residual."""

    n_maps: int
    tilt: Any
    theta: float
    q: Any


def apply(verb: Any, loss: Any, z: Any, s: Any, target: Any) -> Any:
    """Turn s into the row's multiplier and return its value; z holds the logits.

    For `Hessp`, s holds the direction's logits and z is spoilt; for the others s and z are one array.
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
    return row_dual(loss, s, target, verb.tilt, verb.theta, verb.q)


def apply_together(verb: Any, loss: Any, z: Any, s: Any, target: Any, weight: Any, row_values: Any) -> Any:
    """Do for all rows of z and s (n, K) what `apply` does for one, where there is a kernel for that.

    Returns whether there is one, and Σ wᵢ ℓᵢ; if so s holds the weighted multipliers, and `row_values` (n,)
    the weighted values where it is not empty. Otherwise nothing has happened.
    """
    return False, 0.0


@jit
def _are_few(loss, z):
    plain = loss.label_smoothing == 0.0 and loss.z_loss == 0.0 and loss.softcap == 0.0
    return plain and z.shape[1] <= MOST_CLASSES


@jit
def _losses_together(verb, loss, z, s, target, weight, row_values):
    if not _are_few(loss, z):
        return False, 0.0
    n_rows = s.shape[0]
    # No label is ignored here, and logits that were just rounded need no exact differences.
    value = cross_entropy_rows(1.0, loss.class_weight, s, target, weight, -1, 0, n_rows, row_values, s, False)
    return True, value


@jit
def _products_together(verb, loss, z, s, target, weight, row_values):
    if not _are_few(loss, z):
        return False, 0.0
    softmax_rows(z, z, 0, z.shape[0], False)
    for i in range(z.shape[0]):
        own = weight[i] * loss.class_weight[target[i]]
        p, row = z[i], s[i]
        mean = 0.0
        for k in range(len(row)):
            mean += np.float64(p[k]) * row[k]
        for k in range(len(row)):
            row[k] = own * p[k] * (row[k] - mean)
    return True, 0.0


@jit
def _duals_together(verb, loss, z, s, target, weight, row_values):
    n_rows, n_classes = z.shape
    if n_classes > MOST_CLASSES:
        return False, 0.0
    moved = np.empty((n_rows, n_classes), np.float64)
    for i in range(n_rows):
        for k in range(n_classes):
            moved[i, k] = z[i, k] + verb.tilt[k]
    proba = np.empty_like(moved)
    softmax_rows(moved, proba, 0, n_rows, False)
    smoothing = loss.label_smoothing / n_classes
    value = 0.0
    lost = 0.0
    for i in range(n_rows):
        p, row, own = proba[i], s[i], weight[i]
        row_value = own * mixed_entropy(moved[i], p, verb.theta, verb.q) if own != 0.0 else 0.0
        value, lost = compensated.add(value, lost, row_value)
        if row_values.size:
            row_values[i] = row_value
        p[target[i]] -= 1.0 - loss.label_smoothing
        for k in range(n_classes):
            row[k] = own * (p[k] - smoothing)
    return True, value


@overload(apply_together)
def _apply_together(verb, loss, z, s, target, weight, row_values):
    by_verb: dict[Any, Any] = {
        LossGrad: _losses_together, Hessp: _products_together, Dual: _duals_together
    }  # fmt: skip
    together = by_verb.get(named_tuple_class(verb))
    if together is None or named_tuple_class(loss) is not SoftmaxIndex:
        return lambda verb, loss, z, s, target, weight, row_values: (False, 0.0)
    return lambda verb, loss, z, s, target, weight, row_values: together(
        verb, loss, z, s, target, weight, row_values
    )


_APPLY: dict[type | None, Any] = {LossGrad: _loss_grad, Hessp: _hessp, Diagonal: _diagonal, Dual: _dual}


@overload(apply)
def _apply(verb, loss, z, s, target):
    return _APPLY.get(named_tuple_class(verb))
