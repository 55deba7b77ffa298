"""Rows of corrected probabilities, and the least curvature of a row, for each family of losses. By NumPy.

`fastsoftmax.objective.corrected` says what they are for. A correction takes aᵢ, a row of `change`, to
p̃ᵢ = pᵢ − Mᵢ aᵢ, where Mᵢ is the curvature ∂²ℓᵢ/∂z² or, `shared` by all classes, cᵢ I on the vectors that the
curvature does not annihilate, with the least curvature cᵢ. Arrays hold a row of X in each column: NumPy's
reductions over few classes are several times as fast that way. A new family is an entry of `FAMILIES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.losses import family_of, sigmoid, softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Array, Loss, Vector


HALF = float(np.log(0.5))


def _least_of_softmax(logits: Vector) -> Vector:
    """Return cᵢ = min p, (m,), of logits (K, m): cᵢ (I − 11ᵀ / K) is at most diag(pᵢ) − pᵢ pᵢᵀ, if K > 1."""
    shifted = logits - logits.max(axis=0)
    least: Vector = np.exp(shifted.min(axis=0)) / np.exp(shifted).sum(axis=0)
    return least


def _corrected_softmax(
    loss: softmax.SoftmaxIndex | softmax.SoftmaxProbability,
    logits: Vector,
    target: Array,
    change: Vector,
    shared: bool,
) -> tuple[Vector, Vector]:
    """Return Σ p̃ log p̃ in nats, (m,), and p̃ᵢ − tᵢ, (K, m), of logits and `change`, both (K, m).

    Where p̃ would be negative, and from half as far on, it is bent to stay positive. Targets whose sum is A
    count as A p̃ᵢ − tᵢ and A Σ p̃ log p̃.
    """
    logs = logits - logits.max(axis=0)
    e = np.exp(logs)
    is_best = logs == 0.0
    # The others' sum, and log1p of it: a confident row keeps its digits.
    others = np.where(is_best, 0.0, e).sum(axis=0) + (is_best.sum(axis=0) - 1.0)
    proba = e / (1.0 + others)
    if shared:
        ratio = (change - change.mean(axis=0)) * np.exp(logs.min(axis=0) - logs)  # times min p / p
    else:
        ratio = change - (proba * change).sum(axis=0)
    # p̃ = p (1 − ratio) up to a ratio of 1/2; from there on p̃ stays positive, and is divided by its sum. Large
    # ratios are usually those of classes with next to no probability, whose correction is none either.
    logs -= np.log1p(others)
    logs += np.where(ratio <= 0.5, np.log1p(-np.minimum(ratio, 0.5)), HALF + 1.0 - 2.0 * ratio)
    proba *= np.where(ratio <= 0.5, 1.0 - ratio, 0.5 * np.exp(1.0 - 2.0 * np.maximum(ratio, 0.5)))
    bent = np.flatnonzero((ratio > 0.5).any(axis=0))
    sums = proba[:, bent].sum(axis=0)
    proba[:, bent] /= sums
    logs[:, bent] -= np.log(sums)
    logs *= proba
    entropy = logs.sum(axis=0)
    smoothing = loss.label_smoothing / len(logits)
    if isinstance(loss, softmax.SoftmaxProbability):
        smoothed = (1.0 - loss.label_smoothing) * target.T.astype(np.float64)
        total = smoothed.sum(axis=0) + loss.label_smoothing
        entropy *= total
        proba *= total
        proba -= smoothed
    else:
        proba[target, np.arange(len(target))] -= 1.0 - loss.label_smoothing
    if smoothing > 0.0:
        proba -= smoothing
    return entropy, proba


def _least_of_sigmoids(logits: Vector) -> Vector:
    """Return cᵢ = min p (1 − p), (m,), of logits (K, m): cᵢ I is at most diag(pᵢ (1 − pᵢ))."""
    e = np.exp(-np.abs(logits).max(axis=0))
    least: Vector = e / (1.0 + e) ** 2
    return least


def _corrected_sigmoids(
    loss: sigmoid.Sigmoid, logits: Vector, target: Array, change: Vector, shared: bool
) -> tuple[Vector, Vector]:
    """Return Σ p̃ log p̃ + (1 − p̃) log(1 − p̃) in nats, (m,), and p̃ᵢ − tᵢ, (K, m), of (K, m) logits.

    Where p̃ would not lie in [0, 1], and from half as far on, it stays there.
    """
    e = np.exp(-np.abs(logits))
    rarer = e / (1.0 + e)  # the probability of the less likely label
    curvature = rarer / (1.0 + e)
    if shared:
        curvature = curvature.min(axis=0)
    # Half of min(p, 1 − p) at most: p̃ then stays inside.
    difference = np.clip(curvature * change, -0.5 * rarer, 0.5 * rarer)
    positive = logits >= 0.0
    residual = np.where(positive, 1.0, e) / (1.0 + e)
    residual -= difference
    residual -= (1.0 - loss.label_smoothing) * target.T.astype(np.float64) + 0.5 * loss.label_smoothing
    rarer -= np.where(positive, -difference, difference)
    logs = np.log(rarer, out=np.zeros_like(rarer), where=rarer > 0.0)
    entropy = rarer * logs + (1.0 - rarer) * np.log1p(-rarer)
    return entropy.sum(axis=0), residual


class Rows(NamedTuple):
    """The functions of a family: `least_curvature(logits)`, and `corrected(loss, logits, target, ...)`."""

    least_curvature: Callable[[Vector], Vector]
    corrected: Callable[..., tuple[Vector, Vector]]


FAMILIES: dict[object, Rows] = {
    softmax: Rows(_least_of_softmax, _corrected_softmax),
    sigmoid: Rows(_least_of_sigmoids, _corrected_sigmoids),
}


def rows_of(loss: Loss) -> Rows:
    """Return the functions of a loss's family."""
    return FAMILIES[family_of(loss)]
