"""Sigmoid cross-entropy: independent labels, and the binary model (one label).

With p = σ(z) and w_c the class weight of a label:

    ℓ = Σ w_c (log(1 + e^{z_c}) − t_c z_c),  ∂ℓ/∂z_c = w_c (p_c − t_c),  ∂²ℓ/∂z_c² = w_c p_c (1 − p_c).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.runtime.signatures import named

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, Vector

TAKES_LABELS = ROWS_SUM_TO_ONE = SHIFT_INVARIANT = False
SUM_BLOCK = (
    2048  # elements whose sum runs in the row's dtype, as in `simd.exponentials`: 128 float32 terms a lane
)


@named
class Sigmoid(NamedTuple):
    """Sigmoid cross-entropy summed over labels.

    `class_weight` (K,) float64 are the weights of the labels, `narrow_weight` the same in the dtype of the
    targets. `label_smoothing` ε turns a target t into (1 − ε) t + ε / 2.
    """

    class_weight: Vector
    narrow_weight: Array
    label_smoothing: float


DIRECT = True  # its dual's mixtures are those of `kernels.cpu.direct.feasible_mixture`
KINDS = (Sigmoid,)


def curvature_at_zero(n_outputs: int) -> float:
    """Return ∂²ℓ/∂z² at z = 0 as a multiple of I, for unit class weights."""
    return 0.25


def for_targets(
    target: Array, n_outputs: int, *, class_weight: ArrayLike | None = None, label_smoothing: float = 0.0
) -> Sigmoid:
    """Return the loss for targets (n, K) in [0, 1]."""
    weight = np.ones(n_outputs) if class_weight is None else np.ascontiguousarray(class_weight, np.float64)
    return Sigmoid(weight, weight.astype(target.dtype), float(label_smoothing))


def in_float64(loss: Sigmoid) -> Sigmoid:
    """Return the loss for targets and logits in float64."""
    return loss._replace(narrow_weight=loss.class_weight)


def side_by_side(loss: Sigmoid, n_rows: int) -> Sigmoid:
    """Return the loss of n_rows rows merged into one, which is the same sum as labels are independent."""
    return loss._replace(
        class_weight=np.tile(loss.class_weight, n_rows), narrow_weight=np.tile(loss.narrow_weight, n_rows)
    )


def weighted_target_sum(loss: Sigmoid, target: Array, weight: Vector) -> Vector:
    """Return Σᵢ wᵢ tᵢ of the smoothed targets, (K,) float64, for unit class weights."""
    total = np.einsum("i,ik->k", weight, target)
    return (1.0 - loss.label_smoothing) * total + 0.5 * loss.label_smoothing * weight.sum()


def losses_and_residuals(loss: Sigmoid, logits: Vector, target: Array) -> tuple[Vector, Vector]:
    """Return ℓᵢ in nats, (n,), and pᵢ − tᵢ, (n, K), of float64 logits (n, K), for unit class weights.

    By NumPy: nothing is compiled.
    """
    smoothed = (1.0 - loss.label_smoothing) * target.astype(np.float64) + 0.5 * loss.label_smoothing
    e = np.exp(-np.abs(logits))
    positive = logits >= 0.0
    values = np.log1p(e) + logits * (positive - smoothed)
    return values.sum(axis=1), np.where(positive, 1.0, e) / (1.0 + e) - smoothed


def shift_curvature(logits: Array, weight: Vector) -> Vector:
    """Return Σᵢ wᵢ diag(pᵢ (1 − pᵢ)), (K, K): the derivative of Σᵢ wᵢ pᵢ by a shift of all rows' logits.

    `logits` is (n, K), `weight` (n,).
    """
    e = np.exp(-np.abs(logits), dtype=np.float64)
    return np.diag(weight @ (e / (1.0 + e) ** 2))


def feasible_mixture(mean_proba: Vector, mean_target: Vector) -> tuple[float, Vector]:
    """Return (θ, q) with (1 − θ) mean_proba + θ q = mean_target, all (K,), q in [0, 1] and θ minimal."""
    with np.errstate(divide="ignore", invalid="ignore"):
        above = np.where(mean_proba > 0.0, 1.0 - mean_target / mean_proba, 0.0)
        below = np.where(mean_proba < 1.0, 1.0 - (1.0 - mean_target) / (1.0 - mean_proba), 0.0)
    theta = float(max(above.max(initial=0.0), below.max(initial=0.0)))
    if not theta > 0.0:
        return 0.0, mean_target
    return theta, np.clip((mean_target - (1.0 - theta) * mean_proba) / theta, 0.0, 1.0)
