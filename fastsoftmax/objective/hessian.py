"""Hessian-vector products at one point, whose logits are computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.contracts.points import Point
from fastsoftmax.contracts.queries import Hessp

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import DType, Params, Sums
    from fastsoftmax.objective.counted import CountedSource


def products_at(
    rows: CountedSource, params: Params, *, keep: bool, dtype: DType | None
) -> Callable[[Params], Sums]:
    """Return direction ↦ Σ wᵢ ∂²ℓᵢ · direction at `params`.

    A product reads X once, 6 n d K flops. With `keep` the first one computes the (n, K) logits, which are
    kept with the rows as long as the returned function exists: products are then 4 n d K flops. The reading
    for the logits is counted at once.
    """
    place = Point(params) if keep else params
    rows.passes += keep

    def product(direction: Params) -> Sums:
        return rows.sum(Hessp(place, direction, dtype))

    return product
