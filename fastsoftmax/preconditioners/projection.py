"""The directions along which a softmax does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Params

    Inverse = Callable[[Params], None]  # in place


ROUNDING = 2.0**-42  # a thousand roundings
# What takes the place of a lost penalty, as a share of the largest curvature: along directions in which no
# row lies, the quotient of two roundings would lead anywhere.
ROOM = 1e-10
NOT_FINITE = "the Hessian is not finite; X or the parameters are too large"


def is_lost(l2: float, curvature: float) -> bool:
    """Return whether a penalty is rounding beside the largest curvature: nothing may be divided by it then.

    Where l2 alone curves F, the gradient is l2 · W and the rounding of much larger sums.
    """
    return l2 <= ROUNDING * curvature


def pull_of(l2: float, curvature: float) -> float:
    """Return 1 / l2, or zero where l2 is lost beside the largest curvature."""
    return 0.0 if is_lost(l2, curvature) else 1.0 / l2


def projected(inverse: Inverse, pull: float) -> Inverse:
    """Return Π · inverse · Π + (I − Π) · pull.

    Adding one vector to every class's coefficients changes no softmax probability: along those directions
    the Hessian is l2 · I exactly, and an approximation made class by class is far off. Π takes the mean over
    classes away. Where no l2 can be told from 0, nothing is returned along those directions.

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
