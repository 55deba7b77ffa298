"""Lower bounds of the minimum without a penalty, where no dual point bounds it: by self-concordance.

They are those of a point next to the minimum, of rows whose classes overlap: of separable classes, or of
columns that depend on each other, there is none.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.linalg

from fastsoftmax.contracts.points import Point
from fastsoftmax.contracts.queries import LargestNorm, LeastGram

if TYPE_CHECKING:
    from fastsoftmax.contracts import Params, Vector
    from fastsoftmax.contracts.protocols import LossFamily
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout
    from fastsoftmax.objective.preconditioning import Preconditioning

# The least pivot of a Gram matrix of unit diagonal: quadratic forms in its inverse then have six digits.
LEAST_PIVOT = 1e-10
SAFETY = 1.001  # for their rounding
# The part of the passes so far that the bound may cost, or so many flops if that is more.
COST_SHARE, FEW_FLOPS = 0.25, 1e7


class SelfConcordance(NamedTuple):
    """The lower bounds of an objective without a penalty.

    Notes
    -----
    Along a direction v, a row's loss is a function of z + t a with a = v x̃ᵢ (K,). Its second derivative in t
    is the variance of a under p, its third derivative the third central moment: at most the second times the
    range Rᵢ = max a − min a, in absolute value (for sigmoids, max |a|). So φ(t) = F(θ + t v) has
    |φ‴| ≤ R φ″ with R = max Rᵢ, and φ″(s) ≥ φ″(0) e^(−R s). Integrated twice [1]_,

        φ(1) ≥ φ(0) + φ′(0) + φ″(0) (e^(−R) + R − 1) / R².

    Let H ⪰ G be a lower bound of ∇²F(θ) with R(v) ≤ ρ ‖v‖_G. With λ² = gᵀ H⁻¹ g and s = ‖v‖_H, as the last
    factor falls with R,

        F(θ + v) ≥ F(θ) − λ s + (e^(−ρ s) + ρ s − 1) / ρ²    for every v,

    whose minimum over s is, if λ ρ < 1,

        F(θ) − F* ≤ (λ ρ + (1 − λ ρ) log(1 − λ ρ)) / ρ²  =  λ² / 2 + λ³ ρ / 6 + …

    G is the Gram matrix M of rows weighted by vᵢ cᵢ, with the least curvatures cᵢ of
    `objective.corrected`, for each class (a softmax: on directions whose sum over classes is zero). There
    |vₖ x̃ᵢ| ≤ ‖vₖ‖_M ‖x̃ᵢ‖_M⁻¹, so that ρ² = max x̃ᵢᵀ M⁻¹ x̃ᵢ, twice that for a softmax. H is G, or the whole
    Hessian where that costs little. If M is singular to rounding, or λ ρ ≥ 1, there is no bound.

    References
    ----------
    .. [1] F. Bach, "Self-concordant analysis for logistic regression", Electronic Journal of Statistics 4
       (2010), proposition 1, for two classes.
    """

    rows: CountedSource
    layout: Layout
    family: LossFamily
    preconditioning: Preconditioning

    def bound(
        self, params: Params, value: float, grad: Vector, goal: float, n_passes: int, keep: bool
    ) -> float | None:
        """Return a lower bound of min F in nats from F and ∇F at `params`, or None.

        Of those affordable beside `n_passes` passes, the whole Hessian only where the other is not within
        `goal`. Two readings of X, of n d (d + 4 K) flops each.
        """
        n_classes, n_features = self.layout.n_classes, self.layout.n_features
        flops = 2.0 * self.rows.spec.n_rows * n_features * (n_features + 4.0 * n_classes)
        one_pass = 4.0 * self.rows.spec.n_rows * n_features * n_classes
        if flops > max(FEW_FLOPS, COST_SHARE * n_passes * one_pass):
            return None
        mean = None if self.layout.centre is None else self.layout.centre.mean
        order = n_features + self.layout.fit_intercept
        sums = self.rows.sum(LeastGram(Point(params) if keep else params, mean))
        root = _inverse_root(sums.coef[:order, :order] / sums.weight)
        if root is None:
            return None
        if order == n_features:  # the norms are those of rows with a constant
            root = np.vstack((root, np.zeros(order)))
        largest = self.rows.sum(LargestNorm(root, mean)).value
        reach = math.sqrt(SAFETY * largest * (2.0 if self.family.SHIFT_INVARIANT else 1.0))
        part = self.layout.split(grad.copy())
        if self.family.SHIFT_INVARIANT:  # rounding that no direction has
            for array in part:
                array -= array.mean(axis=0)
        by_class = np.column_stack((part.coef, part.intercept))[:, :order] @ root[:order]
        gap = suboptimality(math.sqrt(SAFETY * float(np.vdot(by_class, by_class))), reach)
        whole = self.preconditioning.passes_for_hessian
        if not gap <= goal and min(whole, whole * one_pass / FEW_FLOPS) <= max(1.0, COST_SHARE * n_passes):
            flat = self.layout.pack(part.coef, part.intercept)
            square = float(flat @ self.preconditioning.inverse_hessian(params)(flat))
            gap = min(gap, suboptimality(math.sqrt(SAFETY * max(square, 0.0)), reach))
        return max(0.0, value - gap) if math.isfinite(gap) else None


def suboptimality(decrement: float, reach: float) -> float:
    """Return the bound of F − F* for λ and ρ (`SelfConcordance`); infinity where there is none."""
    x = decrement * reach
    if x >= 1.0:
        return math.inf
    if x < 1e-3:  # the series: the difference of two such terms loses digits
        return decrement**2 * (0.5 + x / 6.0 + x * x / 11.0)
    return (x + (1.0 - x) * math.log1p(-x)) / reach**2


def _inverse_root(matrix: Vector) -> Vector | None:
    """Return T with T Tᵀ = matrix⁻¹, or None if the matrix is singular to rounding."""
    diagonal = matrix.diagonal()
    if not (np.isfinite(matrix).all() and (diagonal > 0.0).all()):
        return None
    scale = 1.0 / np.sqrt(diagonal)
    try:
        factor = scipy.linalg.cholesky(matrix * np.outer(scale, scale), lower=True, check_finite=False)
    except scipy.linalg.LinAlgError:
        return None
    if factor.diagonal().min() ** 2 < LEAST_PIVOT:
        return None
    identity = np.eye(len(factor))
    inverse = scipy.linalg.solve_triangular(factor, identity, lower=True, check_finite=False)
    root: Vector = inverse.T * scale[:, np.newaxis]
    return root
