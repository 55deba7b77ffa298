"""Row functions of the sigmoid cross-entropy."""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.losses.row_functions import register
from fastsoftmax.losses.sigmoid import SUM_BLOCK, Sigmoid
from fastsoftmax.runtime.jit import inner
from fastsoftmax.simd.elementwise import sigmoid_losses
from fastsoftmax.simd.exp import exp


@inner(fastmath={"contract"})
def sigmoid_of(z):
    """Return 1 / (1 + e^(−z)) without overflow, accurate to the last places on both sides."""
    e = exp(-abs(z))
    return (1 if z >= 0 else e) / (1 + e)


@register("row_loss", Sigmoid)
def _loss(loss, z, out, target):
    keep = z.dtype.type(1.0 - loss.label_smoothing)
    half = z.dtype.type(0.5 * loss.label_smoothing)
    value = 0.0
    for start in range(0, z.shape[0], SUM_BLOCK):
        part = slice(start, start + SUM_BLOCK)
        value += sigmoid_losses(z[part], target[part], loss.narrow_weight[part], keep, half, out[part])
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


@register("row_hessian", Sigmoid)
def _hessian(loss, z, out, target):
    _curvature(loss, z, target)
    for k in range(z.shape[0]):
        out[k, :k] = 0.0
        out[k, k] = z[k]


@register("row_dual", Sigmoid)
def _dual(loss, z, target, intercept_shift, theta, q):
    value = 0.0
    for k in range(z.shape[0]):
        p = (1.0 - theta) * sigmoid_of(np.float64(z[k]) + intercept_shift[k]) + theta * q[k]
        if 0.0 < p < 1.0:
            value += p * math.log(p) + (1.0 - p) * math.log1p(-p)
        z[k] = p - ((1.0 - loss.label_smoothing) * target[k] + 0.5 * loss.label_smoothing)
    return value
