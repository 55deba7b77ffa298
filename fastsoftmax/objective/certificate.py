"""Lower bounds of the minimum of the objective by Fenchel duality: F less a bound is the duality gap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.contracts import Mixture
from fastsoftmax.contracts.points import Point
from fastsoftmax.contracts.queries import Dual, ShiftCurvature, TargetSum
from fastsoftmax.kernels.cpu.sizes import MAX_SHIFT_STEPS, NEGLIGIBLE
from fastsoftmax.runtime.lazy_attributes import lazy

if TYPE_CHECKING:
    from fastsoftmax.contracts import DType, Params, Sums, Vector
    from fastsoftmax.contracts.protocols import Algebra, LossFamily, Penalty
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout

MAX_SHIFTED_CLASSES = 2048  # the shift's curvature is a (K, K) matrix: 32 MiB, and K³ flops to solve with


def dual_sums(
    rows: CountedSource,
    family: LossFamily,
    params: Params,
    mean_target: Vector,
    *,
    keep: bool,
    dtype: DType | None = None,
) -> Sums:
    """Return the dual sums Σ wᵢ Σ p log p (nats) and Σ wᵢ (pᵢ − yᵢ) xᵢᵀ at a feasible point near `params`.

    The probabilities P of the point have the targets' means, so the sums bound min F from below.

    Parameters
    ----------
    rows : CountedSource
    family : LossFamily
        The family of the rows' loss.
    params : Params
    mean_target : ndarray (K,)
        The weighted mean of the (smoothed) targets.
    keep : bool
        Whether to keep the (n, K) logits between passes.
    dtype : dtype, optional
        The dtype of the products; by default that of the rows.

    Notes
    -----
    Write vᵢ = wᵢ / Σ w. As ℓ(z, y) = max over distributions p of p·z − Σ p log p − y·z, for any P

        min F ≥ min over W, b of Σ vᵢ [(pᵢ − yᵢ)·(W xᵢ + b) − Σ pᵢ log pᵢ] + (l2 / 2) ‖W‖²
              = −Σ vᵢ Σ pᵢ log pᵢ − ‖Σ vᵢ (pᵢ − yᵢ) xᵢᵀ‖² / (2 l2)     if Σ vᵢ (pᵢ − yᵢ) = 0,

    and −∞ otherwise, since b is free (Fenchel's dual [1]_; for sigmoids p log p + (1 − p) log(1 − p) takes
    the place of p log p). The probabilities at a point meet that condition only where the gradient of b is
    zero. So b is shifted by Newton steps t, in float64 and for the dual point only, until the means of the
    probabilities are those of the targets. The rounding that is left is corrected by mixing them with one
    distribution for all rows, p̃ᵢ = (1 − θ) pᵢ + θ q. Mixing alone, without t, gives a feasible point as
    well, but a loose bound: beside a tiny probability θ q is large. With t, F less the bound is
    ‖∇_W F‖² / (2 l2) plus terms of second order.

    X is read twice if the logits are kept, else once more for each Newton step.

    References
    ----------
    .. [1] M. Collins, A. Globerson, T. Koo, X. Carreras, P. L. Bartlett, "Exponentiated gradient algorithms
       for conditional random fields and max-margin Markov networks", JMLR 9 (2008), sec. 2.
    """
    place = Point(params) if keep else params
    rows.passes += keep  # the first query computes the logits
    mixture = _feasible(rows, family, place, mean_target, dtype)
    return rows.sum(Dual(place, mixture, True, dtype))


def _feasible(
    rows: CountedSource,
    family: LossFamily,
    place: Params | Point,
    mean_target: Vector,
    dtype: DType | None,
) -> Mixture:
    """Return the dual point, near `place`, whose mean probabilities are the mean targets."""
    n_outputs = len(mean_target)
    readings = int(not isinstance(place, Point))  # with kept logits, X is not read
    best = Mixture(np.zeros(n_outputs), np.inf, mean_target)
    shift, curvature = best.intercept_shift, None
    for _ in range(MAX_SHIFT_STEPS):
        query = Dual(place, Mixture(shift, 0.0, mean_target), False, dtype)
        sums = rows.sum(query, readings=readings)
        excess = sums.intercept / sums.weight
        theta, q = family.feasible_mixture(mean_target + excess, mean_target)
        if theta >= 0.5 * best.theta:
            break  # rounding, or so far from the optimum that Newton's steps do not converge
        best = Mixture(shift, theta, q)
        if theta <= NEGLIGIBLE or n_outputs > MAX_SHIFTED_CLASSES:
            break
        if curvature is None:
            curvature_sums = rows.sum(ShiftCurvature(place, shift, dtype), readings=readings)
            curvature = curvature_sums.coef / sums.weight
        # Least squares: the curvature is singular along the vector of ones, and in classes whose
        # probabilities are all 0 or 1.
        shift = shift - np.linalg.lstsq(curvature, excess, rcond=None)[0]
    return best


class Certificate:
    """The lower bounds of an objective's minimum.

    Parameters
    ----------
    rows : CountedSource
    layout : Layout
    family : LossFamily
    penalty : Penalty
    algebra : Algebra
    dtype : dtype or None
        The dtype of the products; None takes that of the rows.
    """

    def __init__(
        self,
        rows: CountedSource,
        layout: Layout,
        family: LossFamily,
        penalty: Penalty,
        algebra: Algebra,
        dtype: DType | None,
    ) -> None:
        self._rows, self._layout, self._family, self._penalty = rows, layout, family, penalty
        self._algebra, self._dtype = algebra, dtype

    @lazy
    def mean_target(self) -> Vector:
        """The weighted mean of the (smoothed) targets, (K,). X is not read."""
        sums = self._rows.sum(TargetSum(), readings=0)
        return sums.intercept / sums.weight

    def with_free_intercept(self, params: Params, keep: bool) -> float:
        """Return a lower bound of min F, in nats, of an objective with free intercepts, by `dual_sums`."""
        sums = dual_sums(self._rows, self._family, params, self.mean_target, keep=keep, dtype=self._dtype)
        self._layout.centred(sums)  # the residuals' sum is zero up to rounding, which a large mean magnifies
        conjugate = self._penalty.conjugate(self._algebra, sums.coef.ravel(), sums.weight)
        return max(0.0, -sums.value / sums.weight - conjugate)

    def without_intercept(self, value: float, grad: Vector) -> float:
        """Return a lower bound of min F from F and ∇F, of an objective without intercepts. No pass."""
        return max(0.0, value - self._penalty.gap(self._algebra, grad))

    def likely_gap(self, coef_grad: Vector) -> float:
        """Return an estimate of F − `with_free_intercept` from the gradient with respect to W. No pass."""
        return self._penalty.gap(self._algebra, coef_grad)
