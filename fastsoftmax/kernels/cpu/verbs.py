"""What a pass does with a row of logits: the value and slope, the curvature along a direction, the diagonal.

A pass is one loop for each storage. `apply` is chosen by the types of the verb and the loss while the loop is
compiled. (They are two arguments because a tuple within a tuple cannot be passed into a `prange`.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.extending import overload

from fastsoftmax.kernels.jit import named_tuple_class
from fastsoftmax.losses import row_curvature, row_dual, row_hessp, row_loss


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


_APPLY: dict[type | None, Any] = {LossGrad: _loss_grad, Hessp: _hessp, Diagonal: _diagonal, Dual: _dual}


@overload(apply)
def _apply(verb, loss, z, s, target):
    return _APPLY.get(named_tuple_class(verb))
