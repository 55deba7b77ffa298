"""What a pass does with a row of logits: the value and slope, the curvature along a direction, the diagonal.

A pass is one loop for each storage. `apply` is chosen by the types of the verb and the loss while the loop is
compiled. (They are two arguments because a tuple within a tuple cannot be passed into a `prange`.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.extending import overload

from fastsoftmax.kernels.cpu.small import cross_entropy_rows
from fastsoftmax.kernels.jit import named_tuple_class
from fastsoftmax.kernels.tiles import MOST_CLASSES
from fastsoftmax.losses import row_curvature, row_dual, row_hessp, row_loss
from fastsoftmax.losses.softmax import SoftmaxIndex


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
    """The negative entropy of the mixed probabilities (1 − θ) p + θ q; the multiplier is their residual."""

    n_maps: int
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
    return row_dual(loss, s, target, verb.theta, verb.q)


def apply_together(verb: Any, loss: Any, z: Any, target: Any, weight: Any, row_values: Any) -> Any:
    """Do for all rows of z (n, K) what `apply` does for one, where there is a kernel for that.

    Returns whether there is one, and Σ wᵢ ℓᵢ; if so z holds the weighted multipliers, and `row_values` (n,)
    the weighted values where it is not empty. Otherwise nothing has happened.
    """
    return False, 0.0


@overload(apply_together)
def _apply_together(verb, loss, z, target, weight, row_values):
    if named_tuple_class(verb) is not LossGrad or named_tuple_class(loss) is not SoftmaxIndex:
        return lambda verb, loss, z, target, weight, row_values: (False, 0.0)

    def few_classes(verb, loss, z, target, weight, row_values):
        plain = loss.label_smoothing == 0.0 and loss.z_loss == 0.0 and loss.softcap == 0.0
        if not plain or z.shape[1] > MOST_CLASSES:
            return False, 0.0
        # No label is ignored here, and logits that were just rounded need no exact differences.
        value = cross_entropy_rows(
            1.0, loss.class_weight, z, target, weight, -1, 0, z.shape[0], row_values, z, False
        )
        return True, value

    return few_classes


_APPLY: dict[type | None, Any] = {LossGrad: _loss_grad, Hessp: _hessp, Diagonal: _diagonal, Dual: _dual}


@overload(apply)
def _apply(verb, loss, z, s, target):
    return _APPLY.get(named_tuple_class(verb))
