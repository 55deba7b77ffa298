"""Cross-entropy after sigmoids: labels that do not exclude each other, and the binary model (one label).

With p = σ(z) and a label's weight w_c (its class weight):

    ℓ = Σ w_c (log(1 + e^{z_c}) − t_c z_c),  ∂ℓ/∂z_c = w_c (p_c − t_c),  ∂²ℓ/∂z_c² = w_c p_c (1 − p_c).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.jit import jit
from fastsoftmax.kernels.vector import exp
from fastsoftmax.losses import register

SHIFT_INVARIANT = False


class Sigmoid(NamedTuple):
    """Sigmoid cross-entropy summed over labels; `class_weight` (K,) float64 weighs the labels.

    `label_smoothing` ε turns a target t into (1 − ε) t + ε / 2.
    """

    class_weight: Any
    label_smoothing: float


def for_targets(
    target: Any, n_outputs: int, *, class_weight: Any = None, label_smoothing: float = 0.0
) -> Sigmoid:
    """Return the loss for targets (n, K) in [0, 1]."""
    weight = np.ones(n_outputs) if class_weight is None else np.ascontiguousarray(class_weight, np.float64)
    return Sigmoid(weight, float(label_smoothing))


@jit(fastmath={"contract"})
def sigmoid_of(z):
    """Return 1 / (1 + e^(−z)) without overflow, accurate to the last places on both sides."""
    e = exp(-abs(z))
    return (1 if z >= 0 else e) / (1 + e)


@jit(fastmath={"contract"})
def log_sigmoid_of(z):
    """Return −log(1 + e^(−z)) in float64 without overflow."""
    wide = np.float64(z)
    return min(wide, 0.0) - math.log1p(exp(-abs(wide)))


@register("row_loss", Sigmoid)
def _loss(loss, z, out, target):
    value = 0.0
    keep = 1.0 - loss.label_smoothing
    half = 0.5 * loss.label_smoothing
    for k in range(z.shape[0]):
        logit = z[k]
        t = keep * target[k] + half
        e = exp(-abs(logit))
        one = z.dtype.type(1)
        proba = (one if logit >= 0 else e) / (one + e)
        weight = loss.class_weight[k]
        # max(z, 0) − t z, written so that an infinite logit on the right side costs nothing.
        linear = (1.0 - t) * logit if logit > 0 else -t * logit
        if (t == 0.0 and logit <= 0) or (t == 1.0 and logit >= 0):
            linear = 0.0
        value += weight * (linear + math.log1p(np.float64(e)))
        out[k] = weight * (np.float64(proba) - t)
    return value


@register("row_hessp", Sigmoid)
def _hessp(loss, z, s, target):
    for k in range(z.shape[0]):
        e = exp(-abs(z[k]))
        one = z.dtype.type(1)
        s[k] = loss.class_weight[k] * (s[k] * e / ((one + e) * (one + e)))


@register("row_curvature", Sigmoid)
def _curvature(loss, z, target):
    for k in range(z.shape[0]):
        e = exp(-abs(z[k]))
        one = z.dtype.type(1)
        z[k] = loss.class_weight[k] * (e / ((one + e) * (one + e)))


@register("row_dual", Sigmoid)
def _dual(loss, z, target, theta, q):
    value = 0.0
    for k in range(z.shape[0]):
        p = (1.0 - theta) * np.float64(sigmoid_of(z[k])) + theta * q[k]
        if 0.0 < p < 1.0:
            value += p * math.log(p) + (1.0 - p) * math.log1p(-p)
        z[k] = p - ((1.0 - loss.label_smoothing) * target[k] + 0.5 * loss.label_smoothing)
    return value


def weighted_target_sum(loss: Any, target: Any, weight: Any) -> Any:
    """Return Σᵢ wᵢ tᵢ of the smoothed targets, (K,) float64, for unit class weights."""
    total = np.einsum("i,ik->k", weight, target)
    return (1.0 - loss.label_smoothing) * total + 0.5 * loss.label_smoothing * weight.sum()


def feasible_mixture(mean_proba: Any, mean_target: Any) -> tuple[float, Any]:
    """Return (θ, q) with (1 − θ) mean_proba + θ q = mean_target, q in [0, 1] and θ the least possible."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(mean_proba > 0.0, 1.0 - mean_target / mean_proba, 0.0)
        below = np.where(mean_proba < 1.0, 1.0 - (1.0 - mean_target) / (1.0 - mean_proba), 0.0)
    theta = float(max(above.max(initial=0.0), below.max(initial=0.0)))
    if not theta > 0.0:
        return 0.0, mean_target
    return theta, np.clip((mean_target - (1.0 - theta) * mean_proba) / theta, 0.0, 1.0)
