"""The directions along which a softmax does not change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.contracts import Params

if TYPE_CHECKING:
    from collections.abc import Callable

    Inverse = Callable[[Params], Params]


def projected(inverse: Inverse, l2: float) -> Inverse:
    """Return Π · inverse · Π + (I − Π) / l2.

    Adding one vector to every class's coefficients changes no softmax probability: along those directions
    the Hessian is l2 · I exactly, and an approximation made class by class is far off. Π takes the mean over
    classes away. Where l2 = 0 nothing pulls along those directions, and nothing is returned along them.

    Parameters
    ----------
    inverse : callable
        From `Params` to `Params`; may write over what it is given.
    l2 : float
    """

    def apply(vector: Params) -> Params:
        shift = vector.coef.mean(axis=0)
        coef, intercept = inverse(
            Params(vector.coef - shift, vector.intercept - vector.intercept.mean()),
        )
        coef -= coef.mean(axis=0)
        if l2 > 0.0:
            coef += shift / l2
        return Params(coef, intercept - intercept.mean())

    return apply
