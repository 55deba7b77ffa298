"""Lower bounds that take no reading of their own, or one: those of an objective whose rows are dear to read.

A bound rides on the reading that gave the gradient (`from_gradient`), or takes one more, at intercepts that
the sample and one small matrix of all rows tell (`at_shift`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Mixture
from fastsoftmax.contracts.queries import Dual as DualSums
from fastsoftmax.contracts.queries import ShiftCurvature, Together
from fastsoftmax.objective.riding_bound import CERTAIN, Dual, entropy_at, made_feasible, moments_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import DType, Params, Vector
    from fastsoftmax.contracts.protocols import Algebra, LossFamily, Penalty
    from fastsoftmax.objective.certificate import Certificate
    from fastsoftmax.objective.counted import CountedSource
    from fastsoftmax.objective.layout import Layout

MAX_NEWTON_STEPS = 6


class DearCertificate:
    """The lower bounds of an objective with free intercepts, of rows whose readings are dear.

    Parameters
    ----------
    rows : CountedSource
    layout : Layout
    family : LossFamily
    penalty : Penalty
    algebra : Algebra
    dtype : dtype or None
        Of the products; None takes that of the rows.
    certificate : Certificate
        Knows the mean of the targets.
    read_moments : callable
        Makes a reading after which `keep_moments` has been called.

    Attributes
    ----------
    moments : (ndarray (d,), ndarray (K, d)) or None
        Σ w x / Σ w and Σ w y xᵀ / Σ w of (centred) rows, once they are known.
    curvature : (ndarray (size,), ndarray (K, K)) or None
        A point, and the curvature in the intercepts of all rows there.
    """

    def __init__(
        self,
        rows: CountedSource,
        layout: Layout,
        family: LossFamily,
        penalty: Penalty,
        algebra: Algebra,
        dtype: DType | None,
        certificate: Certificate,
        read_moments: Callable[[], None],
    ) -> None:
        self._rows, self._layout, self._family, self._penalty = rows, layout, family, penalty
        self._algebra, self._dtype, self._certificate = algebra, dtype, certificate
        self._read_moments = read_moments
        self.moments: tuple[Vector, Vector] | None = None
        self.curvature: tuple[Vector, Vector] | None = None

    def moment_points(self) -> list[Vector]:
        """Return the points whose gradients tell the moments: zero, and one of certain probabilities."""
        if not self._layout.fit_intercept:
            return []
        certain = np.zeros(self._layout.size)
        certain[self._layout.n_coef :] = 0.0 if self._family.SHIFT_INVARIANT else CERTAIN
        certain[self._layout.n_coef] = CERTAIN
        return [np.zeros(self._layout.size), certain]

    def keep_moments(self, at_zero: Vector, at_certain: Vector) -> None:
        """Keep the moments, from the gradients at `moment_points`."""
        zero, certain = (self._layout.split(each).coef for each in (at_zero, at_certain))
        self.moments = moments_of(zero, certain, self._family.SHIFT_INVARIANT)

    def curvature_query(self, params: Params) -> ShiftCurvature:
        """Return the query for the curvature in the intercepts."""
        return ShiftCurvature(params, np.zeros(self._layout.n_classes), self._dtype)

    def from_gradient(self, point: Vector, value: float, grad: Vector) -> float:
        """Return a lower bound of min F from F and ∇F at a point; no reading once the moments are known."""
        coef, intercept = self._layout.split(point)
        flat = coef.ravel()
        slope = np.zeros(flat.size)
        loss = value - self._penalty.add_gradient(self._algebra, slope, 1.0, flat)
        at = self._layout.split(grad)
        residual = self._algebra.moved(at.coef.ravel(), slope, -1.0).reshape(coef.shape)
        entropy = entropy_at(loss, residual, coef, at.intercept, intercept)
        return self._bound(Dual(entropy, residual), at.intercept)

    def at_shift(self, params: Params, point: Vector, grad: Vector, sampled: CountedSource) -> float:
        """Return the bound at intercepts whose mean probabilities are nearly those of the targets.

        One reading, and one more if the curvature there has not been summed. `sampled` are rows in memory,
        `params` those of `point`.
        """
        if self.curvature is None or not np.array_equal(self.curvature[0], point):
            sums = self._rows.sum(self.curvature_query(params))
            self.curvature = point.copy(), sums.coef / sums.weight
        shift = self._shift(params, self._layout.split(grad).intercept, self.curvature[1], sampled)
        mixture = Mixture(shift, 0.0, self._certificate.mean_target)
        sums = self._rows.sum(DualSums(params, mixture, True, self._dtype))
        self._layout.centred(sums)
        scale = 1.0 / sums.weight
        return self._bound(Dual(-sums.value * scale, sums.coef * scale), sums.intercept * scale)

    def _bound(self, dual: Dual, excess: Vector) -> float:
        """Return the bound of a dual point, made feasible where probabilities' means exceed the targets'."""
        mean_target = self._certificate.mean_target
        feasible = made_feasible(dual, excess, mean_target, self._family, self._moments)
        return feasible.entropy - self._penalty.conjugate(self._algebra, feasible.residual.ravel())

    def _moments(self) -> tuple[Vector, Vector]:
        if self.moments is None:
            self._read_moments()
        assert self.moments is not None
        return self.moments

    def _shift(self, params: Params, excess: Vector, curvature: Vector, sampled: CountedSource) -> Any:
        """Return the shift t of intercepts at which the mean probabilities are those of the targets.

        The excess of the means and its derivative at t = 0 are those of all rows; what is beyond is taken
        from the sample, where it is of second order.
        """
        mean_target = self._certificate.mean_target
        shift = -np.linalg.lstsq(curvature, excess, rcond=None)[0]

        def at(t: Any) -> tuple[Vector, Vector]:
            sums, curved = sampled.sum(
                Together((
                    DualSums(params, Mixture(t, 0.0, mean_target), False, self._dtype),
                    ShiftCurvature(params, t, self._dtype),
                ))
            ).each  # fmt: skip
            return sums.intercept / sums.weight, curved.coef / curved.weight

        first, slope = at(np.zeros(self._layout.n_classes))
        left = float(np.abs(excess).max())
        for _ in range(MAX_NEWTON_STEPS):
            there, its_slope = at(shift)
            error = excess + curvature @ shift + (there - first - slope @ shift)
            size = float(np.abs(error).max())
            if size >= 0.5 * left:
                break
            left = size
            shift = shift - np.linalg.lstsq(curvature + its_slope - slope, error, rcond=None)[0]
        return shift
