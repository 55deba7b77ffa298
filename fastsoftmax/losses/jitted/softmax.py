"""Row functions of the softmax cross-entropy."""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.losses.row_functions import register
from fastsoftmax.losses.softmax import SoftmaxIndex, SoftmaxProbability
from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd.exponentials import exponentials, log_sum, scale, softmax_to
from fastsoftmax.simd.registers import largest


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
