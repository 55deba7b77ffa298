"""Compensated sums: the rounding error does not grow with the number of terms."""

from __future__ import annotations

import math

from fastsoftmax.runtime.jit import inner


@inner
def add(total, lost, term):
    """Return total + term and its compensation, the accumulated rounding error, for the next call.

    Kahan's compensated sum [1]_, in the dtype of the arguments (float64 throughout this package). Start with
    total = lost = 0.

    References
    ----------
    .. [1] W. Kahan, "Further remarks on reducing truncation errors", Comm. ACM 8 (1965).
    """
    corrected = term - lost
    larger = total + corrected
    lost = (larger - total) - corrected
    # The compensation of an infinite sum is NaN, and would turn the sum into NaN at the next term.
    return larger, lost if math.isfinite(lost) else 0.0
