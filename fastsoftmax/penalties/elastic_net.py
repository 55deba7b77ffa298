"""The elastic-net penalty: squares, and absolute values or norms of a feature's coefficients."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastsoftmax.contracts.wording import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.protocols import Algebra

# Of the dual point's scale in [0, 1]: so many steps, or down to this part of the entropy in the slope.
MAX_DUAL_STEPS, DUAL_ROUNDING = 60, 1e-12


class ElasticNet(NamedTuple):
    """The penalty s [(1 − α)/2 Σ p W² + α Σ p |W|] of coefficients W (K, d), with s = `strength`.

    With `grouped` the second sum is Σⱼ pⱼ ‖W·ⱼ‖₂ over the features' columns, each in or out as a whole.

    Parameters
    ----------
    strength : float
        s, not negative.
    l1_ratio : float
        α in [0, 1]: the part of the absolute values.
    weights : ndarray (K, d)
        p, not negative; 0 leaves a coefficient free. With `grouped` the same in all classes.
    grouped : bool

    Notes
    -----
    Everything but `value` is told of its two parts apart: the squares have a gradient and a curvature, the
    absolute values a proximal map. Arrays are (K, d), float64. No method reads more than its arguments.

    References
    ----------
    .. [1] H. Zou, T. Hastie, "Regularization and variable selection via the elastic net", J. R. Stat. Soc. B
       67 (2005).
    .. [2] M. Yuan, Y. Lin, "Model selection and estimation in regression with grouped variables", J. R. Stat.
       Soc. B 68 (2006).
    """

    strength: float
    l1_ratio: float
    weights: Vector
    grouped: bool = False

    @property
    def curvature(self) -> Vector:
        """The second derivative of the squares in each coefficient, s (1 − α) p, (K, d)."""
        return self.strength * (1.0 - self.l1_ratio) * self.weights

    @property
    def thresholds(self) -> Vector:
        """The factors s α p of the absolute values, (K, d)."""
        return self.strength * self.l1_ratio * self.weights

    @property
    def smooth(self) -> bool:
        """False: it has kinks where coefficients (or columns) are zero."""
        return False

    @property
    def rotation_invariant(self) -> bool:
        """False: it tells features apart."""
        return False

    @property
    def centres_classes(self) -> bool:
        """False: coefficients of a feature need not sum to zero over classes."""
        return False

    @property
    def has_conjugate(self) -> bool:
        """Whether every coefficient is penalised: only then is there a dual point for each scale of one."""
        return self.strength > 0.0 and bool((self.weights > 0.0).all())

    def with_strength(self, strength: float) -> ElasticNet:
        """Return the penalty with another strength. Raises ValueError unless it is finite and ≥ 0."""
        if not (math.isfinite(strength) and strength >= 0.0):
            raise ValueError(f"strength must be a finite number that is not negative; got {shown(strength)}")
        return self._replace(strength=float(strength))

    def of_features(self, features: NDArray[np.intp]) -> ElasticNet:
        """Return the penalty of the coefficients of some features."""
        return self._replace(weights=self.weights[:, features])

    def value(self, algebra: Algebra, coef: Vector) -> float:
        """Return the penalty of flat coefficients, or of a matrix (K, d)."""
        W = coef.reshape(self.weights.shape)
        squares = 0.5 * float(np.sum(self.curvature * W**2))
        return squares + self.of_absolutes(W)

    def of_absolutes(self, coef: Vector) -> float:
        """Return the part of the absolute values, s α Σ p |W|, or that of norms."""
        if self.grouped:
            return float(self.thresholds[0] @ np.linalg.norm(coef, axis=0))
        return float(np.sum(self.thresholds * np.abs(coef)))

    def prox(self, coef: Vector, step: Vector) -> Vector:
        """Return the proximal map of the absolute values, scaled by `step` (K, d), at `coef`.

        It minimises Σ (V − W)² / (2 step) plus them over V. Steps of a group are the same in all classes.
        """
        thresholds = step * self.thresholds
        if not self.grouped:
            return np.asarray(np.sign(coef) * np.maximum(np.abs(coef) - thresholds, 0.0))
        norms = np.linalg.norm(coef, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            kept = np.where(norms > 0.0, np.maximum(1.0 - thresholds[0] / norms, 0.0), 0.0)
        return coef * kept

    def slope(self, coef: Vector) -> Vector:
        """Return the gradient of the absolute values where they have one, (K, d), and zero elsewhere."""
        if not self.grouped:
            return np.asarray(self.thresholds * np.sign(coef))
        norms = np.linalg.norm(coef, axis=0)
        return np.asarray(self.thresholds * coef / np.where(norms > 0.0, norms, 1.0))

    def bend(self, coef: Vector, direction: Vector) -> Vector:
        """Return the Hessian of the absolute values times a direction, (K, d), where they have one."""
        if not self.grouped:
            return np.zeros_like(direction)
        norms = np.linalg.norm(coef, axis=0)
        safe = np.where(norms > 0.0, norms, np.inf)
        unit = coef / safe
        across = direction - unit * np.sum(unit * direction, axis=0)
        return np.asarray(self.thresholds / safe * across)

    def least_subgradient(self, coef: Vector, grad: Vector) -> Vector:
        """Return the shortest of grad + the subgradients of the absolute values at `coef`, (K, d)."""
        thresholds = self.thresholds
        if self.grouped:
            size = np.linalg.norm(grad, axis=0)
            safe = np.where(size > 0.0, size, 1.0)
            at_zero = grad * np.maximum(1.0 - thresholds[0] / safe, 0.0)
            return np.where((coef != 0.0).any(axis=0), grad + self.slope(coef), at_zero)
        at_zero = np.sign(grad) * np.maximum(np.abs(grad) - thresholds, 0.0)
        return np.where(coef != 0.0, grad + self.slope(coef), at_zero)

    def is_free(self, coef: Vector) -> NDArray[np.bool_]:
        """Return where the absolute values have a gradient, or do not count: (K, d)."""
        free = coef != 0.0
        if self.grouped:
            free = np.broadcast_to(free.any(axis=0), coef.shape)
        return np.asarray(free | (self.thresholds == 0.0))

    def excess(self, grad: Vector) -> Vector:
        """Return each feature's largest |grad| as a multiple of what keeps it at zero, (d,).

        Infinite for a feature with a free coefficient whose gradient is not zero.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.grouped:
                size = np.linalg.norm(grad, axis=0)
                ratio = np.where(size > 0.0, size / self.thresholds[0], 0.0)
            else:
                ratio = np.where(grad != 0.0, np.abs(grad) / self.thresholds, 0.0).max(axis=0)
        return np.asarray(ratio)

    def conjugate(self, algebra: Algebra, vector: Vector, divisor: float = 1.0) -> float:
        """Return the conjugate at vector / divisor; infinite beyond the thresholds if α = 1."""
        over, curvature = self._beyond(vector.reshape(self.weights.shape) / divisor, 1.0)
        if not over.any():
            return 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.sum(np.where(over > 0.0, over**2 / (2.0 * curvature), 0.0)))

    def gap(self, algebra: Algebra, grad: Vector) -> float:
        """Return a bound of F − min F from a subgradient of F, by the strong convexity of the squares.

        Infinite without them. Of an objective without intercepts.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            parts = np.where(grad != 0.0, grad**2 / (2.0 * self.curvature.ravel()), 0.0)
        return float(parts.sum())

    def dual_bound(self, entropy: float, residual: Vector) -> float:
        """Return max over τ in [0, 1] of τ · entropy − P*(τ · residual): a lower bound of min F, in nats.

        Parameters
        ----------
        entropy : float
            −Σ v Σ p log p of a dual point's probabilities, not negative.
        residual : ndarray (K, d)
            Its Σ v (p − y) xᵀ; that of intercepts is zero.

        Notes
        -----
        The mixture τ p + (1 − τ) y is a dual point as well: a distribution, whose residuals are τ times those
        of p, the intercepts' zero among them. Entropy is concave and that of y not negative, so that it has
        at least τ times the entropy of p. For α = 1 it is τ that makes the point feasible.
        """
        size = np.abs(residual) if not self.grouped else np.linalg.norm(residual, axis=0)
        thresholds = self.thresholds if not self.grouped else self.thresholds[0]
        curvature = self.curvature if not self.grouped else self.curvature[0]
        beyond = size > thresholds
        if not beyond.any():
            return entropy
        size, thresholds, curvature = size[beyond], thresholds[beyond], curvature[beyond]
        if self.l1_ratio == 1.0:
            return float((thresholds / size).min()) * entropy
        # The derivative by τ falls, ever faster, along straight pieces: Newton's method from τ = 1 ends at
        # its zero from above, after a few. Any τ gives a bound.
        scale = 1.0
        for _ in range(MAX_DUAL_STEPS):
            over = np.maximum(scale * size - thresholds, 0.0)
            weighted = size / curvature
            slope = entropy - float(weighted @ over)
            if slope >= -DUAL_ROUNDING * entropy:
                break
            scale = max(0.0, scale + slope / float(weighted @ np.where(over > 0.0, size, 0.0)))
        over = np.maximum(scale * size - thresholds, 0.0)
        return scale * entropy - float(np.sum(over**2 / (2.0 * curvature)))

    def representative(self, coef: Vector) -> Vector:
        """Return the one of the coefficients of equal F that is kept, for a loss that shifts leave unchanged.

        Adding one number to a feature's coefficients in all classes changes no probability. Where the squares
        or the norms count, the minimum tells it. Of absolute values alone it may be any between two
        coefficients next to the (weighted) median: the one that becomes zero is that which has more
        equals; of as many, that which leaves the smaller sum of squares, then the lower. A feature that is
        free in all classes has the mean zero. `coef` is a minimum, (K, d); returns a copy.
        """
        coef = coef.copy()
        free = ~(self.weights > 0.0).any(axis=0)
        coef[:, free] -= coef[:, free].mean(axis=0)
        if self.l1_ratio == 1.0 and not self.grouped:
            for j in np.flatnonzero(~free & coef.any(axis=0)).tolist():
                coef[:, j] -= _median(coef[:, j], self.weights[:, j])
        return coef

    def _beyond(self, vector: Vector, scale: float) -> tuple[Vector, Vector]:
        """Return what sizes are beyond the thresholds, and the curvatures there."""
        if self.grouped:
            over = scale * np.linalg.norm(vector, axis=0) - self.thresholds[0]
            return np.maximum(over, 0.0), self.curvature[0]
        return np.maximum(scale * np.abs(vector) - self.thresholds, 0.0), self.curvature


def _median(values: Vector, weights: Vector) -> float:
    """Return the weighted median of some values; of an interval the end that `representative` says."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    sums = np.cumsum(weights[order])
    half = 0.5 * sums[-1]
    rounding = 1e-12 * sums[-1]
    lower = int(np.searchsorted(sums, half - rounding))
    upper = int(np.searchsorted(sums, half + rounding))
    ends = ordered[lower], ordered[upper]
    if ends[0] == ends[1]:
        return float(ends[0])

    def merit(end: float) -> tuple[int, float, float]:
        return -int(np.count_nonzero(values == end)), float(np.sum((values - end) ** 2)), float(end)

    return float(min(ends, key=merit))
