"""The Hessian at one point, for many products with it: the logits of the point are computed once."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fastsoftmax.contracts import Params, Sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.protocols import Device, Source


def products_at(
    source: Source,
    device: Device,
    loss: Any,
    here: Params,
    *,
    keep: bool,
    n_threads: int | None,
    dtype: Any,
) -> Callable[[Params], Sums]:
    """Return direction ↦ Σ wᵢ ∂²ℓᵢ · direction at the point `here`.

    A product reads X once, 6 n d K flops. With `keep` the (n, K) logits are computed now, by reading X once,
    and kept as long as what is returned: a product is then 4 n d K flops.
    """
    logits: list[Any] = source.map(
        lambda block: (
            device.logits(here, block.X, n_threads, dtype=dtype, memory=block.memory) if keep else None
        )
    )

    def product(along: Params) -> Sums:
        known = iter(logits)
        parts = source.map(
            lambda block: device.hessp(loss, here, along, block, n_threads, logits=next(known), dtype=dtype)
        )
        return functools.reduce(Sums.__add__, parts)

    return product
