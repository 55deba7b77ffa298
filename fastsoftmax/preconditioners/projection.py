"""The projection off the directions along which a softmax does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Params

    Inverse = Callable[[Params], None]  # in place


# A penalty below this fraction of the largest curvature, 1000 float64 eps, is lost in rounding: sums over
# many rows round by more than one eps. A much larger one would discard penalties that still determine the
# solution.
ROUNDING = 2.0**-42
# Takes the place of a lost penalty, as a fraction of the largest curvature: along directions that no row has
# a component in, a step would be the quotient of two rounding errors.
FLOOR = 1e-10


def is_lost(l2: float, curvature: float) -> bool:
    """Return whether a penalty is lost in rounding beside the largest curvature: 1 / l2 is meaningless then.

    Along directions in which only l2 curves F, the gradient is l2 · W plus the rounding of much larger sums.
    """
    return l2 <= ROUNDING * curvature


def pull_of(l2: float, curvature: float) -> float:
    """Return 1 / l2, or zero if l2 is lost in rounding beside the largest curvature (`is_lost`)."""
    return 0.0 if is_lost(l2, curvature) else 1.0 / l2


def projected(inverse: Inverse, pull: float) -> Inverse:
    """Return v ↦ Π · inverse · Π v + pull · (I − Π) v, in place, where Π subtracts the mean over classes.

    Adding one vector to every class's coefficients changes no softmax probability: along those directions the
    Hessian is exactly l2 · I, while an approximation by class is far off. If l2 is lost in rounding (pull =
    0), the result is zero along them.

    Parameters
    ----------
    inverse : callable
        Works on `Params` in place.
    pull : float
        1 / l2, or zero (`pull_of`).
    """

    def apply(vector: Params) -> None:
        coef, intercept = vector
        n_classes = len(intercept)
        shift = coef.sum(axis=0) / n_classes
        coef -= shift
        intercept -= intercept.sum() / n_classes
        inverse(vector)
        coef -= coef.sum(axis=0) / n_classes
        intercept -= intercept.sum() / n_classes
        if pull > 0.0:
            coef += pull * shift

    return apply
