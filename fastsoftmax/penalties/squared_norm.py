"""The squared-norm (L2) penalty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from fastsoftmax.contracts.wording import shown

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector
    from fastsoftmax.contracts.device import DeviceNumbers
    from fastsoftmax.contracts.protocols import Algebra, Arithmetic


class SquaredNorm(NamedTuple):
    """The penalty (l2 / 2) ‖W‖² with l2 = `strength`; zero is no penalty.

    Examples
    --------
    >>> SquaredNorm(0.5).with_strength(2.0)
    SquaredNorm(strength=2.0)
    """

    strength: float = 0.0

    @property
    def curvature(self) -> float:
        """The second derivative in each coefficient, l2."""
        return self.strength

    @property
    def smooth(self) -> bool:
        """True: it has a gradient everywhere."""
        return True

    @property
    def rotation_invariant(self) -> bool:
        """True: a rotation Q of the features leaves it unchanged, ‖W Q‖ = ‖W‖."""
        return True

    @property
    def centres_classes(self) -> bool:
        """Whether l2 > 0: coefficients that sum to zero over classes then have the least norm."""
        return self.strength > 0.0

    @property
    def has_conjugate(self) -> bool:
        """Whether the conjugate is finite: l2 > 0."""
        return self.strength > 0.0

    def with_strength(self, strength: float) -> SquaredNorm:
        """Return the penalty with l2 = `strength`. Raises ValueError unless it is finite and ≥ 0."""
        if not (math.isfinite(strength) and strength >= 0.0):
            raise ValueError(f"l2 must be a finite number that is not negative; got {shown(strength)}")
        return SquaredNorm(float(strength))

    def value(self, algebra: Algebra, coef: Vector) -> float:
        """Return (l2 / 2) ‖coef‖²."""
        return 0.5 * self.strength * algebra.dot(coef, coef)

    def add_gradient(
        self, arithmetic: Arithmetic, sums: DeviceNumbers, scale: float, coef: DeviceNumbers
    ) -> DeviceNumbers:
        """Replace sums by scale · sums + l2 · coef, and return (l2 / 2) ‖coef‖². One reading of both."""
        return 0.5 * self.strength * arithmetic.penalise(sums, scale, self.strength, coef)

    def conjugate(self, algebra: Algebra, vector: Vector, divisor: float = 1.0) -> float:
        """Return the conjugate at vector / divisor: ‖vector / divisor‖² / (2 l2)."""
        return algebra.dot(vector, vector) / divisor**2 / (2.0 * self.strength)

    def gap(self, algebra: Algebra, grad: Vector) -> float:
        """Return ‖∇F‖² / (2 l2), a bound of F − min F by strong convexity.

        F(x + s) ≥ F + ∇F · s + (l2 / 2) ‖s‖², least at s = −∇F / l2. It equals the conjugate at ∇F.
        """
        return self.conjugate(algebra, grad)
