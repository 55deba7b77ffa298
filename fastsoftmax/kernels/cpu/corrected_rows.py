"""Rows of corrected probabilities, and the least curvature of a row, for each family of losses. By NumPy.

`fastsoftmax.objective.corrected` says what they are for. A correction takes aᵢ, a row of `change`, to
p̃ᵢ = pᵢ − Mᵢ aᵢ, where Mᵢ is the curvature ∂²ℓᵢ/∂z² or, `shared` by all classes, cᵢ I on the vectors that the
curvature does not annihilate, with the least curvature cᵢ. An `intercept_shift` s, below 1/2, takes p̃ᵢ on to
p̃ᵢ − ∂²ℓᵢ/∂z² s, with the curvature at p̃ᵢ. Arrays hold a row of X in each column: NumPy's reductions over few
classes are several times as fast that way. A new family is an entry of `FAMILIES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.losses import family_of, sigmoid, softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Array, Loss, Vector


# Of the sum of the less likely classes' e, where log p of the most likely one has to be that of log1p.
CONFIDENT = 1.0 / 64.0


def _exponentials(logits: Vector) -> tuple[Vector, Vector, Vector]:
    """Return e = exp(z − max z), its sum over classes less 1, and z − max z. `logits` (K, m) is overwritten.

    The sum is that of all but one of the largest: a confident row keeps its digits.
    """
    logits -= logits.max(axis=0)
    e = np.exp(logits)
    others: Vector = e.sum(axis=0)
    others -= 1.0
    confident = np.flatnonzero(others < CONFIDENT)
    if len(confident):
        some = e[:, confident]
        is_best = some == 1.0
        others[confident] = np.where(is_best, 0.0, some).sum(axis=0) + (is_best.sum(axis=0) - 1.0)
    return e, others, logits


def _of_softmax(
    loss: softmax.SoftmaxIndex | softmax.SoftmaxProbability, logits: Vector, target: Array
) -> tuple[Vector, Vector]:
    """Return cᵢ = min p, (m,), and pᵢ − tᵢ, (K, m), of logits (K, m).

    cᵢ (I − 11ᵀ / K) is at most diag(pᵢ) − pᵢ pᵢᵀ, if K > 1.
    """
    proba, others, _ = _exponentials(logits)
    proba *= 1.0 / (1.0 + others)
    least: Vector = proba.min(axis=0)
    _subtract_targets(loss, proba, target)
    return least, proba


def _corrected_softmax(
    loss: softmax.SoftmaxIndex | softmax.SoftmaxProbability,
    logits: Vector,
    target: Array,
    change: Vector,
    shared: bool,
    intercept_shift: Vector | None,
) -> tuple[Vector, Vector, Vector | None]:
    """Return Σ p̃ log p̃ in nats, (m,), and p̃ᵢ − tᵢ, (K, m), of logits and `change`, both (K, m).

    And, with an `intercept_shift`, p̃ᵢ itself.

    Where p̃ would be negative, and from half as far on, it is bent to stay positive. Targets whose sum is A
    count as A p̃ᵢ − tᵢ and A Σ p̃ log p̃. `logits` and `change` are overwritten.
    """
    proba, others, logs = _exponentials(logits)
    proba *= 1.0 / (1.0 + others)
    if shared:
        change -= change.mean(axis=0)  # times min p / p, at most 1, it is the ratio of `_careful`
    else:
        change -= (proba * change).sum(axis=0)
    far = change.max(axis=0) > 0.5
    # A few rows by the careful formulas: of a p̃ close to 1 the logarithm would lose its digits.
    careful = np.flatnonzero(far | (others < CONFIDENT))
    if len(careful):
        exact = _careful(
            proba[:, careful], others[careful], logs[:, careful], change[:, careful], shared, intercept_shift
        )
    change *= proba.min(axis=0) if shared else proba
    proba -= change
    if intercept_shift is not None:
        proba *= 1.0 - _ratio_of(intercept_shift, proba)
    if len(careful):
        proba[:, careful] = exact[0]
    np.log(proba, out=change, where=proba > 0.0)
    change *= proba
    entropy = change.sum(axis=0)
    if len(careful):
        entropy[careful] = exact[1]
    kept = None if intercept_shift is None else proba.copy()
    total = _subtract_targets(loss, proba, target)
    if total is not None:
        entropy *= total
    return entropy, proba, kept


def _ratio_of(intercept_shift: Vector, proba: Vector) -> Vector:
    """Return the ratio (K, m) by which a shift, next to zero, takes a part of probabilities away."""
    ratio: Vector = intercept_shift[:, np.newaxis] - intercept_shift @ proba
    return ratio


def _careful(
    proba: Vector,
    others: Vector,
    logs: Vector,
    change: Vector,
    shared: bool,
    intercept_shift: Vector | None,
) -> tuple[Vector, Vector]:
    """Return p̃, (K, m), and Σ p̃ log p̃ of rows that are confident, or whose correction is large.

    p̃ = p (1 − ratio) up to a ratio of 1/2; from there on p̃ stays positive, and is divided by its sum. Large
    ratios are usually those of classes with next to no probability, whose correction is none either.
    """
    ratio = change * np.exp(logs.min(axis=0) - logs) if shared else change
    excess = 1.0 - 2.0 * np.maximum(ratio, 0.5)
    kept = np.minimum(ratio, 0.5)
    logs = logs - np.log1p(others) + np.log1p(-kept) + excess
    proba = proba * (1.0 - kept) * np.exp(excess)
    sums = np.where(excess.min(axis=0) < 0.0, proba.sum(axis=0), 1.0)
    proba /= sums
    logs -= np.log(sums)
    if intercept_shift is not None:
        ratio = _ratio_of(intercept_shift, proba)
        logs += np.log1p(-ratio)
        proba *= 1.0 - ratio
    return proba, (proba * logs).sum(axis=0)


def _subtract_targets(
    loss: softmax.SoftmaxIndex | softmax.SoftmaxProbability, proba: Vector, target: Array
) -> Vector | None:
    """Subtract smoothed targets from probabilities (K, m), times the targets' sums, and return those sums."""
    total: Vector | None = None
    smoothing = loss.label_smoothing / len(proba)
    if isinstance(loss, softmax.SoftmaxProbability):
        smoothed = (1.0 - loss.label_smoothing) * target.T.astype(np.float64)
        total = smoothed.sum(axis=0) + loss.label_smoothing
        proba *= total
        proba -= smoothed
    else:
        proba[target, np.arange(len(target))] -= 1.0 - loss.label_smoothing
    if smoothing > 0.0:
        proba -= smoothing
    return total


def _of_sigmoids(loss: sigmoid.Sigmoid, logits: Vector, target: Array) -> tuple[Vector, Vector]:
    """Return cᵢ = min p (1 − p), (m,), and pᵢ − tᵢ, (K, m), of logits (K, m).

    cᵢ I is at most diag(pᵢ (1 − pᵢ)).
    """
    e = np.exp(-np.abs(logits))
    residual = np.where(logits >= 0.0, 1.0, e) / (1.0 + e)
    residual -= _smoothed(loss, target)
    e = e.min(axis=0)
    least: Vector = e / (1.0 + e) ** 2
    return least, residual


def _smoothed(loss: sigmoid.Sigmoid, target: Array) -> Vector:
    """Return the smoothed targets, (K, m)."""
    smoothed: Vector = (1.0 - loss.label_smoothing) * target.T.astype(np.float64)
    smoothed += 0.5 * loss.label_smoothing
    return smoothed


def _corrected_sigmoids(
    loss: sigmoid.Sigmoid,
    logits: Vector,
    target: Array,
    change: Vector,
    shared: bool,
    intercept_shift: Vector | None,
) -> tuple[Vector, Vector, Vector | None]:
    """Return Σ p̃ log p̃ + (1 − p̃) log(1 − p̃) in nats, (m,), and p̃ᵢ − tᵢ, (K, m), of (K, m) logits.

    And, with an `intercept_shift`, p̃ᵢ itself, or 1 − p̃ᵢ.

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
    residual -= _smoothed(loss, target)
    rarer -= np.where(positive, -difference, difference)
    if intercept_shift is not None:
        difference = rarer * (1.0 - rarer) * intercept_shift[:, np.newaxis]
        residual -= difference
        rarer -= np.where(positive, -difference, difference)
    logs = np.log(rarer, out=np.zeros_like(rarer), where=rarer > 0.0)
    entropy = rarer * logs + (1.0 - rarer) * np.log1p(-rarer)
    return entropy.sum(axis=0), residual, None if intercept_shift is None else rarer


def _curvature_of_softmax(proba: Vector, weight: Vector) -> Vector:
    """Return Σ wᵢ ∂pᵢ/∂s, (K, K), of probabilities (K, m)."""
    weighted = proba * weight
    curvature: Vector = np.diag(weighted.sum(axis=1)) - weighted @ proba.T
    return curvature


def _curvature_of_sigmoids(proba: Vector, weight: Vector) -> Vector:
    """Return Σ wᵢ ∂pᵢ/∂s, (K, K), of probabilities (K, m)."""
    return np.diag((proba * (1.0 - proba)) @ weight)


class Rows(NamedTuple):
    """The functions of a family: of rows as they are, of corrected ones, and of a shift's curvature."""

    uncorrected: Callable[..., tuple[Vector, Vector]]
    corrected: Callable[..., tuple[Vector, Vector, Vector | None]]
    shift_curvature: Callable[[Vector, Vector], Vector]


FAMILIES: dict[object, Rows] = {
    softmax: Rows(_of_softmax, _corrected_softmax, _curvature_of_softmax),
    sigmoid: Rows(_of_sigmoids, _corrected_sigmoids, _curvature_of_sigmoids),
}


def rows_of(loss: Loss) -> Rows:
    """Return the functions of a loss's family."""
    return FAMILIES[family_of(loss)]
