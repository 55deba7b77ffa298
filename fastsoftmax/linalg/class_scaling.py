"""A diagonal scaling of coefficients, between projections onto those that sum to zero over classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector

_scale = Kernel("fastsoftmax.linalg.jitted.class_scaling", "scale")

# Features of a part: its two float64 sums, 32 KiB, stay in cache while the K rows pass. Larger parts would be
# too few for the threads.
PART = 2**11


def scale_classes(
    coef: Vector, reciprocal: Vector, projected: bool, pull: float, n_threads: int | None
) -> None:
    """Scale coefficients in place: coef becomes Π (reciprocal · Π coef) + pull · (I − Π) coef.

    Or reciprocal · coef, if not `projected`. Π subtracts the mean over classes, for the reason given in
    `fastsoftmax.preconditioners.projection`.

    Parameters
    ----------
    coef, reciprocal : ndarrays (K, m), float64
    projected : bool
    pull : float
    n_threads : int or None

    Notes
    -----
    Reads coef three times if `projected`, otherwise once.
    """
    n_features = coef.shape[1]
    bounds = even_bounds(n_features, -(-n_features // PART))
    run(_scale, bounds, coef, reciprocal, projected, pull, work=2.0 * coef.size, n_threads=n_threads)
