"""A loss that the package does not have, added as CONTRIBUTING says: ℓ = Σ (e^z − t z), with p = e^z.

Targets are numbers in [0, 1], as those of sigmoids. `tests/losses/test_recipe.py` adds it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.losses.row_functions import register

TAKES_LABELS = ROWS_SUM_TO_ONE = SHIFT_INVARIANT = False


class Poisson(NamedTuple):
    """The Poisson loss; `class_weight` (K,) weighs the outputs."""

    class_weight: Any


KINDS = (Poisson,)


def for_targets(target, n_outputs, *, label_smoothing=0.0):
    return Poisson(np.ones(n_outputs))


def in_float64(loss):
    return loss


def curvature_at_zero(n_outputs):
    return 1.0


def weighted_target_sum(loss, target, weight):
    return np.einsum("i,ik->k", weight, target, dtype=np.float64)


def losses_and_residuals(loss, logits, target):
    e = np.exp(logits)
    return (e - target * logits).sum(axis=1), e - target


def shift_curvature(logits, weight):
    return np.diag(weight @ np.exp(logits, dtype=np.float64))


def feasible_mixture(mean_proba, mean_target):
    theta = float(np.max(np.abs(1.0 - mean_target / mean_proba)))
    if theta == 0.0:
        return 0.0, mean_target
    return theta, np.maximum((mean_target - (1.0 - theta) * mean_proba) / theta, 0.0)


@register("row_loss", Poisson)
def _loss(loss, z, out, target):
    value = 0.0
    for k in range(z.shape[0]):
        e = math.exp(np.float64(z[k]))
        value += loss.class_weight[k] * (e - target[k] * np.float64(z[k]))
        out[k] = loss.class_weight[k] * (e - target[k])
    return value


@register("row_hessp", Poisson)
def _hessp(loss, z, s, target):
    for k in range(z.shape[0]):
        s[k] *= loss.class_weight[k] * math.exp(np.float64(z[k]))


@register("row_curvature", Poisson)
def _curvature(loss, z, target):
    for k in range(z.shape[0]):
        z[k] = loss.class_weight[k] * math.exp(np.float64(z[k]))


@register("row_hessian", Poisson)
def _hessian(loss, z, out, target):
    _curvature(loss, z, target)
    for k in range(z.shape[0]):
        out[k, :k] = 0.0
        out[k, k] = z[k]


@register("row_dual", Poisson)
def _dual(loss, z, target, intercept_shift, theta, q):
    value = 0.0
    for k in range(z.shape[0]):
        p = (1.0 - theta) * math.exp(np.float64(z[k]) + intercept_shift[k]) + theta * q[k]
        value += p * math.log(p) - p if p > 0.0 else 0.0
        z[k] = p - target[k]
    return value
