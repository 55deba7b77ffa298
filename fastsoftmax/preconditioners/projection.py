"""The directions along which a softmax does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Params

    Inverse = Callable[[Params], None]  # in place


def projected(inverse: Inverse, l2: float) -> Inverse:
    """Return Π · inverse · Π + (I − Π) / l2.

    Adding one vector to every class's coefficients changes no softmax probability: along those directions
    the Hessian is l2 · I exactly, and an approximation made class by class is far off. Π takes the mean over
    classes away. Where l2 = 0 nothing pulls along those directions, and nothing is returned along them.

    Parameters
    ----------
    inverse : callable
        Works on `Params` in place.
    l2 : float
    """

    def apply(vector: Params) -> None:
        coef, intercept = vector
        shift = coef.mean(axis=0)
        coef -= shift
        intercept -= intercept.mean()
        inverse(vector)
        coef -= coef.mean(axis=0)
        intercept -= intercept.mean()
        if l2 > 0.0:
            coef += shift / l2

    return apply
