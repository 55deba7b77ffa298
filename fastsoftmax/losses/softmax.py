"""Softmax cross-entropy with integer labels or probability targets.

With a_c the weight that class c carries in a row's target (class weight × probability after smoothing),
A = Σ a_c and p = softmax(z):

    ℓ = Σ a_c (−log p_c) + ζ lse²,  ∂ℓ/∂z_c = (A + 2 ζ lse) p_c − a_c,
    ∂²ℓ/∂z² = A (diag(p) − p pᵀ)  (for ζ = 0 and no cap).

Label smoothing ε turns a target t into (1 − ε) t + ε / K; a cap c > 0 turns z into c tanh(z / c) first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.losses.row_functions import register
from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd.exponentials import exponentials, log_sum, scale, softmax_to
from fastsoftmax.simd.registers import largest

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, Vector

TAKES_LABELS = ROWS_SUM_TO_ONE = True
SHIFT_INVARIANT = True  # adding a constant to every logit of a row changes nothing


class SoftmaxIndex(NamedTuple):
    """Softmax cross-entropy with integer labels.

    `class_weight` (K,) float64 and its sum; `label_smoothing` ε; `z_loss` ζ; `softcap` c, 0 for none.
    """

    class_weight: Vector
    total_class_weight: float
    label_smoothing: float
    z_loss: float
    softcap: float


class SoftmaxProbability(NamedTuple):
    """Softmax cross-entropy with a row of probabilities as the target; fields as in `SoftmaxIndex`."""

    class_weight: Vector
    label_smoothing: float
    z_loss: float
    softcap: float


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


@inner
def cap(z, out, softcap):
    """Write softcap · tanh(z / softcap) to out, which may be z, and return the slopes 1 − tanh², all (K,)."""
    slopes = np.empty_like(z)
    for k in range(z.shape[0]):
        t = math.tanh(np.float64(z[k]) / softcap)
        out[k] = softcap * t
        slopes[k] = 1.0 - t * t
    return slopes


@register("row_loss", SoftmaxIndex)
def _index_loss(loss, z, out, target):
    if loss.softcap > 0.0:
        slopes = cap(z, out, loss.softcap)
        value = _plain_index_loss(loss, out, out, target)
        for k in range(out.shape[0]):
            out[k] *= slopes[k]
        return value
    return _plain_index_loss(loss, z, out, target)


@inner(fastmath={"reassoc", "contract"})
def _plain_index_loss(loss, z, out, target):
    n_classes = z.shape[0]
    smoothing = loss.label_smoothing / n_classes
    true_logit = z[target]
    smooth = 0.0
    if smoothing > 0.0:
        shift = largest(z)
        for k in range(n_classes):
            smooth += loss.class_weight[k] * np.float64(z[k] - shift)
    shift, count, others = exponentials(z, out)
    total = count + others
    log_total = log_sum(count, others)
    label_weight = (1.0 - loss.label_smoothing) * loss.class_weight[target]
    value = label_weight * (log_total - np.float64(true_logit - shift))
    e_true = np.float64(out[target])
    # Σ over the other classes, not total − e: p − 1 of a confident row would lose its digits.
    other_sum = (count - 1.0) + others if e_true == 1.0 else total - e_true
    true_slope = -label_weight * (other_sum / total)
    mass = label_weight
    if smoothing > 0.0:
        value += smoothing * (loss.total_class_weight * log_total - smooth)
        mass += smoothing * loss.total_class_weight
        true_slope += smoothing * (loss.total_class_weight * (e_true / total) - loss.class_weight[target])
    if loss.z_loss != 0.0:
        lse = np.float64(shift) + log_total
        value += loss.z_loss * lse * lse
        mass += 2.0 * loss.z_loss * lse
        true_slope += 2.0 * loss.z_loss * lse * (e_true / total)
    scale(out, mass / total)
    if smoothing > 0.0:
        for k in range(n_classes):
            out[k] -= out.dtype.type(smoothing * loss.class_weight[k])
    out[target] = true_slope
    return value


@register("row_hessp", SoftmaxIndex)
def _index_hessp(loss, z, s, target):
    smoothing = loss.label_smoothing / z.shape[0]
    label_weight = (1.0 - loss.label_smoothing) * loss.class_weight[target]
    _covariance_product(z, s, label_weight + smoothing * loss.total_class_weight)


@register("row_curvature", SoftmaxIndex)
def _index_curvature(loss, z, target):
    smoothing = loss.label_smoothing / z.shape[0]
    label_weight = (1.0 - loss.label_smoothing) * loss.class_weight[target]
    _variances(z, label_weight + smoothing * loss.total_class_weight)


@register("row_hessian", SoftmaxIndex)
def _index_hessian(loss, z, out, target):
    smoothing = loss.label_smoothing / z.shape[0]
    label_weight = (1.0 - loss.label_smoothing) * loss.class_weight[target]
    _covariances(z, out, label_weight + smoothing * loss.total_class_weight)


@inner(fastmath={"reassoc", "contract"})
def _mass(loss, target):
    """Return A, the sum of the classes' weights in a row's target (K,)."""
    smoothing = loss.label_smoothing / target.shape[0]
    mass = 0.0
    for k in range(target.shape[0]):
        mass += loss.class_weight[k] * ((1.0 - loss.label_smoothing) * target[k] + smoothing)
    return mass


@register("row_loss", SoftmaxProbability)
def _probability_loss(loss, z, out, target):
    if loss.softcap > 0.0:
        slopes = cap(z, out, loss.softcap)
        value = _plain_probability_loss(loss, out, out, target)
        for k in range(out.shape[0]):
            out[k] *= slopes[k]
        return value
    return _plain_probability_loss(loss, z, out, target)


@inner(fastmath={"reassoc", "contract"})
def _plain_probability_loss(loss, z, out, target):
    n_classes = z.shape[0]
    keep = 1.0 - loss.label_smoothing
    smoothing = loss.label_smoothing / n_classes
    shift = largest(z)
    mass = 0.0
    linear = 0.0
    for k in range(n_classes):
        class_mass = loss.class_weight[k] * (keep * target[k] + smoothing)
        # A class of weight zero adds nothing even if its logit is −∞.
        linear += class_mass * np.float64(z[k] - shift) if class_mass != 0.0 else 0.0
        mass += class_mass
    _, count, others = exponentials(z, out)
    log_total = log_sum(count, others)
    value = mass * log_total - linear
    if loss.z_loss != 0.0:
        lse = np.float64(shift) + log_total
        value += loss.z_loss * lse * lse
        mass += 2.0 * loss.z_loss * lse
    factor = mass / (count + others)
    for k in range(n_classes):
        out[k] = factor * out[k] - loss.class_weight[k] * (keep * target[k] + smoothing)
    return value


@register("row_hessp", SoftmaxProbability)
def _probability_hessp(loss, z, s, target):
    _covariance_product(z, s, _mass(loss, target))


@register("row_curvature", SoftmaxProbability)
def _probability_curvature(loss, z, target):
    _variances(z, _mass(loss, target))


@register("row_hessian", SoftmaxProbability)
def _probability_hessian(loss, z, out, target):
    _covariances(z, out, _mass(loss, target))


@inner(fastmath={"reassoc", "contract"})
def _covariance_product(z, s, mass):
    """Turn s into mass · (diag(p) − p pᵀ) s with p = softmax(z)."""
    _, count, others = exponentials(z, z)
    total = count + others
    mean = 0.0
    for k in range(z.shape[0]):
        mean += z[k] * s[k]
    mean /= total
    factor = z.dtype.type(mass / total)
    mean = z.dtype.type(mean)
    for k in range(z.shape[0]):
        s[k] = factor * z[k] * (s[k] - mean)


@inner(fastmath={"reassoc", "contract"})
def _variances(z, mass):
    """Turn z into mass · p (1 − p) with p = softmax(z)."""
    softmax_to(z, z)
    factor = z.dtype.type(mass)
    one = z.dtype.type(1)
    for k in range(z.shape[0]):
        z[k] = factor * z[k] * (one - z[k])


@inner(fastmath={"reassoc", "contract"})
def _covariances(z, out, mass):
    """Write the lower triangle of mass · (diag(p) − p pᵀ) with p = softmax(z) to out; z becomes p."""
    softmax_to(z, z)
    factor = z.dtype.type(mass)
    one = z.dtype.type(1)
    for k in range(z.shape[0]):
        scaled = factor * z[k]
        for other in range(k):
            out[k, other] = -scaled * z[other]
        out[k, k] = scaled * (one - z[k])


@inner(fastmath={"reassoc", "contract"})
def mixed_entropy(z, p, theta, q):
    """Turn p = softmax(z) into p̃ = (1 − θ) p + θ q and return Σ p̃ log p̃ in nats; all (K,) float64."""
    entropy = 0.0
    if theta != 0.0:
        for k in range(z.shape[0]):
            p[k] = (1.0 - theta) * p[k] + theta * q[k]
            entropy += p[k] * math.log(p[k]) if p[k] > 0.0 else 0.0
        return entropy
    top = 0
    for k in range(1, z.shape[0]):
        top = k if z[k] > z[top] else top
    other_sum = 0.0
    for k in range(z.shape[0]):
        entropy += p[k] * (z[k] - z[top])
        other_sum += p[k] if k != top else 0.0
    return entropy + math.log1p(-other_sum)  # log p of the largest, without cancellation


@inner(fastmath={"reassoc", "contract"})
def _mix(z, intercept_shift, theta, q):
    """Return p̃ = (1 − θ) p + θ q, with p = softmax(z + intercept_shift), and Σ p̃ log p̃.

    In float64 for any dtype of z: the means over rows must agree with those of the targets to the last
    digits.
    """
    shifted = np.empty(z.shape[0], np.float64)
    for k in range(z.shape[0]):
        shifted[k] = z[k] + intercept_shift[k]
    p = np.empty_like(shifted)
    softmax_to(shifted, p)
    return p, mixed_entropy(shifted, p, theta, q)


@register("row_dual", SoftmaxIndex)
def _index_dual(loss, z, target, intercept_shift, theta, q):
    p, entropy = _mix(z, intercept_shift, theta, q)
    smoothing = loss.label_smoothing / z.shape[0]
    for k in range(z.shape[0]):
        z[k] = p[k] - smoothing - (1.0 - loss.label_smoothing if k == target else 0.0)
    return entropy


@register("row_dual", SoftmaxProbability)
def _probability_dual(loss, z, target, intercept_shift, theta, q):
    p, entropy = _mix(z, intercept_shift, theta, q)
    smoothing = loss.label_smoothing / z.shape[0]
    for k in range(z.shape[0]):
        z[k] = p[k] - smoothing - (1.0 - loss.label_smoothing) * target[k]
    return entropy


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
