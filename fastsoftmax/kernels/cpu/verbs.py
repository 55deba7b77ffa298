"""The verbs of a pass: what becomes of a row of logits (value and slope, curvature along a direction, …).

A pass is one loop for each storage; `apply` is resolved by the types of the verb and the loss when the loop
is compiled. (They are two arguments because Numba cannot pass a tuple within a tuple into a `prange`.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fastsoftmax.runtime.signatures import named


@named
class LossGrad(NamedTuple):
    """Value ℓ; dlogits ∂ℓ/∂z."""

    n_maps: int = 1


@named
class Hessp(NamedTuple):
    """Value 0; dlogits (∂²ℓ/∂z²) s, with s the direction's logits."""

    n_maps: int = 2


@named
class Diagonal(NamedTuple):
    """Value 0; dlogits diag(∂²ℓ/∂z²), which multiply the squares of the row."""

    n_maps: int = 1


@named
class Dual(NamedTuple):
    """Value Σ p̃ log p̃ of the probabilities p̃ of a `contracts.Mixture`; dlogits p̃ less the target."""

    n_maps: int
    intercept_shift: Any
    theta: float
    q: Any
