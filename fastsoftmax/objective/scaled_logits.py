"""The mean loss of logits that are scaled and shifted class by class, as a function of few parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.linalg.cholesky import factor
from fastsoftmax.linalg.vectors import Algebra
from fastsoftmax.losses import softmax

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Array, Vector


class ScaledLogits:
    """F(a, b) = Σ wᵢ ℓ(a ∘ zᵢ + b, yᵢ) / Σ wᵢ in nats, or F(a) with one number a for all classes.

    What a solver sees of it: `newton-cholesky` asks for no more.

    Parameters
    ----------
    logits : ndarray (n, K), float64
    target : ndarray (n,) or (n, K)
        Class indices, or probabilities.
    weight : ndarray (n,)
    shared : bool
        Whether there is one slope, and no shift: size 1, else 2 K, slopes first.

    Notes
    -----
    By NumPy: some (n, K) arrays beside the logits, n (2 K)² flops for a Hessian.
    """

    offers = frozenset({"gradient", "inverse_hessian"})
    is_float32 = False
    has_lower_bound = False

    def __init__(self, logits: Vector, target: Array, weight: Vector, *, shared: bool) -> None:
        self._z, self._target, self._shared = logits, target, shared
        self._weight = weight / weight.sum()
        self._loss = softmax.for_targets(target, logits.shape[1])
        self.size = 1 if shared else 2 * logits.shape[1]
        self.algebra = Algebra(1)
        self.passes = 0

    def map_of(self, x: Vector) -> tuple[Vector, Vector]:
        """Return the slopes and the shifts (K,)."""
        n_classes = self._z.shape[1]
        if self._shared:
            return np.full(n_classes, x[0]), np.zeros(n_classes)
        return x[:n_classes], x[n_classes:]

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return F and its gradient (size,)."""
        self.passes += 1
        slope, shift = self.map_of(x)
        values, residuals = softmax.losses_and_residuals(self._loss, slope * self._z + shift, self._target)
        residuals *= self._weight[:, np.newaxis]
        slopes = np.einsum("ik,ik->k", residuals, self._z)
        grad = np.array([slopes.sum()]) if self._shared else np.concatenate((slopes, residuals.sum(axis=0)))
        return float(self._weight @ values), grad

    def inverse_hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ H⁻¹ v, for vectors whose shifts sum to zero: the others change no probability."""
        self.passes += 1
        slope, shift = self.map_of(x)
        logits = slope * self._z + shift
        proba = np.exp(logits - logits.max(axis=1, keepdims=True))
        proba /= proba.sum(axis=1, keepdims=True)
        weighted = self._weight[:, np.newaxis] * proba
        if self._shared:
            mean = np.einsum("ik,ik->i", proba, self._z)
            curvature = float(np.vdot(weighted, (self._z - mean[:, np.newaxis]) ** 2))
            return lambda v: v / max(curvature, np.finfo(np.float64).tiny)
        n_classes = self._z.shape[1]
        both = np.hstack((proba * self._z, proba))
        hessian = -both.T @ (self._weight[:, np.newaxis] * both)
        k = np.arange(n_classes)
        hessian[k, k] += np.einsum("ik,ik->k", weighted, self._z**2)
        hessian[n_classes + k, n_classes + k] += weighted.sum(axis=0)
        mixed = np.einsum("ik,ik->k", weighted, self._z)
        hessian[k, n_classes + k] += mixed
        hessian[n_classes + k, k] += mixed
        hessian[n_classes:, n_classes:] += 1.0 / n_classes**2  # along a shift of all, which no gradient has
        lower, scale = factor(hessian, np.finfo(np.float64).eps)

        def solved(v: Vector) -> Vector:
            half = np.linalg.solve(lower, scale * v)
            step: Vector = scale * np.linalg.solve(lower.T, half)
            return step

        return solved

    def lower_bound(self, x: Vector, value: float, grad: Vector) -> None:
        """Return None: there is no bound."""

    def unpenalised_bound(
        self, x: Vector, value: float, grad: Vector, goal: float, n_passes: int
    ) -> float | None:
        """Return None: there is no bound."""
        return None

    def likely_gap(self, grad: Vector) -> float:
        """Return 0: there is no bound."""
        return 0.0

    def in_float64(self) -> None:
        """Return None: products are float64."""
