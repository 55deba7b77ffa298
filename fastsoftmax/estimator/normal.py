"""The normal distribution of estimates: p-values and intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.special

from fastsoftmax.contracts.wording import shown

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector


def p_values(z: Vector) -> Vector:
    """Return the two-sided p-values 2 Φ(−|z|), with all digits far out."""
    two_sided: Vector = 2.0 * scipy.special.ndtr(-np.abs(z))
    return two_sided


def quantile(level: float) -> float:
    """Return how many standard errors an interval of that level reaches to each side.

    Raises ValueError for a level that does not lie between 0 and 1.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1, as 0.95 does; got {shown(level)}")
    return float(-scipy.special.ndtri(0.5 * (1.0 - level)))


def intervals(estimates: Vector, errors: Vector, level: float) -> Vector:
    """Return the intervals of that level, with a last axis of lower and upper end."""
    reach = quantile(level) * errors
    return np.stack((estimates - reach, estimates + reach), axis=-1)
