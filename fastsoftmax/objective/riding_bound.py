"""Lower bounds that ride on a gradient: dual points from F and ∇F at a point, without sums of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.protocols import LossFamily

CERTAIN = 1000.0  # a logit that makes its class certain


class Dual(NamedTuple):
    """A dual point: −Σ v Σ p log p in nats (or a lower bound of it), and Σ v (p − y) xᵀ (K, d)."""

    entropy: float
    residual: Vector


def entropy_at(loss: float, residual: Vector, coef: Vector, excess: Vector, intercept: Vector) -> float:
    """Return −Σ v Σ p log p of the probabilities at a point, from the mean loss and its gradients there.

    By Fenchel's equality Σ v Σ p log p = Σ v (p − y)·z − Σ v ℓ, which is linear in the gradients: `residual`
    (K, d) by `coef`, and `excess` (K,) by `intercept`.
    """
    return loss - float(np.sum(residual * coef)) - float(excess @ intercept)


def made_feasible(
    dual: Dual,
    excess: Vector,
    mean_target: Vector,
    family: LossFamily,
    moments: Callable[[], tuple[Vector, Vector]],
) -> Dual:
    """Return a dual point near `dual` whose mean probabilities are the mean targets: free intercepts ask it.

    The probabilities are mixed with one distribution q for all rows, (1 − θ) p + θ q; the entropy is concave.
    `excess` (K,) is Σ v (p − y); `moments()` are Σ v x (d,) and Σ v y xᵀ (K, d), not asked for where the
    means agree already.
    """
    theta, q = family.feasible_mixture(mean_target + excess, mean_target)
    if theta >= 1.0:
        return Dual(
            0.0, np.zeros_like(dual.residual)
        )  # the targets themselves, whose entropy is not negative
    if theta <= 0.0:
        return dual
    mean, with_target = moments()
    entropy = (1.0 - theta) * dual.entropy + theta * _entropy(q, family.SHIFT_INVARIANT)
    return Dual(entropy, (1.0 - theta) * dual.residual + theta * (np.outer(q, mean) - with_target))


def moments_of(at_zero: Vector, at_certain: Vector, exclusive: bool) -> tuple[Vector, Vector]:
    """Return Σ v x (d,) and Σ v y xᵀ (K, d) of gradients by coefficients (K, d) at two points.

    At zero all probabilities of a row are equal; at the other those of the first class are 1.
    """
    even = 1.0 / len(at_zero) if exclusive else 0.5
    mean = (at_certain[0] - at_zero[0]) / (1.0 - even)
    return mean, even * mean - at_zero


def _entropy(q: Vector, exclusive: bool) -> float:
    """Return −Σ q log q, or that of independent labels, −Σ q log q + (1 − q) log(1 − q)."""
    parts = q if exclusive else np.concatenate((q, 1.0 - q))
    positive = parts[parts > 0.0]
    return -float(positive @ np.log(positive))
