"""Softmax cross-entropy with integer labels or probability targets.

With a_c the weight that class c carries in a row's target (class weight × probability after smoothing),
A = Σ a_c and p = softmax(z):

    ℓ = Σ a_c (−log p_c) + ζ lse²,  ∂ℓ/∂z_c = (A + 2 ζ lse) p_c − a_c,
    ∂²ℓ/∂z² = A (diag(p) − p pᵀ)  (for ζ = 0 and no cap).

Label smoothing ε turns a target t into (1 − ε) t + ε / K; a cap c > 0 turns z into c tanh(z / c) first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.runtime.signatures import named

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, Vector

TAKES_LABELS = ROWS_SUM_TO_ONE = True
SHIFT_INVARIANT = True  # adding a constant to every logit of a row changes nothing


@named
class SoftmaxIndex(NamedTuple):
    """Softmax cross-entropy with integer labels.

    `class_weight` (K,) float64 and its sum; `label_smoothing` ε; `z_loss` ζ; `softcap` c, 0 for none.
    """

    class_weight: Vector
    total_class_weight: float
    label_smoothing: float
    z_loss: float
    softcap: float


@named
class SoftmaxProbability(NamedTuple):
    """Softmax cross-entropy with a row of probabilities as the target; fields as in `SoftmaxIndex`."""

    class_weight: Vector
    label_smoothing: float
    z_loss: float
    softcap: float


DIRECT = True  # its dual's mixtures are those of `kernels.cpu.direct.feasible_mixture`
KINDS = (SoftmaxIndex, SoftmaxProbability)


def curvature_at_zero(n_outputs: int) -> float:
    """Return ∂²ℓ/∂z² at z = 0 as a multiple of I, on vectors that sum to zero, for unit class weights."""
    return 1.0 / n_outputs


def for_targets(
    target: Array,
    n_outputs: int,
    *,
    class_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float = 0.0,
) -> SoftmaxIndex | SoftmaxProbability:
    """Return the loss that fits the targets: integers (n,), or probabilities (n, K)."""
    weight = np.ones(n_outputs) if class_weight is None else np.ascontiguousarray(class_weight, np.float64)
    numbers = (float(label_smoothing), float(z_loss), float(softcap))
    if target.ndim == 1:
        # The sum is used with smoothing only.
        total = float(weight.sum()) if label_smoothing else 0.0
        return SoftmaxIndex(weight, total, *numbers)
    return SoftmaxProbability(weight, *numbers)


def in_float64(loss: SoftmaxIndex | SoftmaxProbability) -> SoftmaxIndex | SoftmaxProbability:
    """Return the loss for targets and logits in float64: the same, as its weights are float64."""
    return loss


def weighted_target_sum(loss: SoftmaxIndex | SoftmaxProbability, target: Array, weight: Vector) -> Vector:
    """Return Σᵢ wᵢ tᵢ of the smoothed targets, (K,) float64, for unit class weights."""
    n_classes = loss.class_weight.shape[0]
    if isinstance(loss, SoftmaxIndex):
        total = np.bincount(target, weights=weight, minlength=n_classes)
    else:
        total = np.einsum("i,ik->k", weight, target)
    return (1.0 - loss.label_smoothing) * total + loss.label_smoothing * weight.sum() / n_classes


def losses_and_residuals(
    loss: SoftmaxIndex | SoftmaxProbability, logits: Vector, target: Array
) -> tuple[Vector, Vector]:
    """Return ℓᵢ in nats, (n,), and pᵢ − tᵢ, (n, K), of float64 logits (n, K), for unit class weights.

    By NumPy: nothing is compiled. Without z-loss and cap.
    """
    n_rows, n_classes = logits.shape
    best = np.arange(n_rows), logits.argmax(axis=1)
    shifted = logits - logits[best][:, np.newaxis]
    proba = np.exp(shifted)
    proba[best] = 0.0  # log1p of the others' sum: the loss of a confident row keeps its digits
    others = proba.sum(axis=1)
    proba[best] = 1.0
    proba /= (1.0 + others)[:, np.newaxis]
    smoothing = loss.label_smoothing / n_classes
    values = np.log1p(others)
    if isinstance(loss, SoftmaxIndex):
        own = np.arange(n_rows), target
        values -= (1.0 - loss.label_smoothing) * shifted[own]
        proba[own] -= 1.0 - loss.label_smoothing
    else:
        smoothed = (1.0 - loss.label_smoothing) * target.astype(np.float64)
        values *= smoothed.sum(axis=1) + loss.label_smoothing
        values -= np.einsum("ik,ik->i", smoothed, shifted)
        proba *= (smoothed.sum(axis=1) + loss.label_smoothing)[:, np.newaxis]
        proba -= smoothed
    if smoothing > 0.0:
        values -= smoothing * shifted.sum(axis=1)
        proba -= smoothing
    return values, proba


def shift_curvature(logits: Array, weight: Vector) -> Vector:
    """Return Σᵢ wᵢ (diag(pᵢ) − pᵢ pᵢᵀ), (K, K): the derivative of Σᵢ wᵢ pᵢ by a shift of all rows' logits.

    `logits` is (n, K), `weight` (n,). 2 n K² flops and two temporary (n, K) arrays.
    """
    proba = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    proba /= proba.sum(axis=1, keepdims=True)
    weighted = proba * weight[:, np.newaxis]
    return np.diag(weighted.sum(axis=0)) - weighted.T @ proba


def feasible_mixture(mean_proba: Vector, mean_target: Vector) -> tuple[float, Vector]:
    """Return (θ, q) with (1 − θ) mean_proba + θ q = mean_target, all (K,), q a distribution and θ minimal.

    Mixing every row's probabilities with q in this proportion makes their weighted mean that of the targets,
    which the dual of an unpenalised intercept requires.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.where(mean_proba > 0.0, 1.0 - mean_target / mean_proba, 0.0)
    theta = float(excess.max(initial=0.0))
    if not theta > 0.0:
        return 0.0, mean_target
    q = np.maximum(mean_target - (1.0 - theta) * mean_proba, 0.0)
    total = q.sum()
    # Means that differ by rounding only leave no mass for q: they agree as well as they can.
    return (theta, q / total) if total > 0.0 else (0.0, mean_target)
