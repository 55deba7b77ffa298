"""Sums of many terms that keep their digits."""

from __future__ import annotations

import math

from fastsoftmax.kernels.jit import jit


@jit
def add(total, lost, term):
    """Return total + term and what its rounding has lost so far, for the next call.

    Kahan's compensated sum [1]_: the error does not grow with the number of terms.

    References
    ----------
    .. [1] W. Kahan, "Further remarks on reducing truncation errors", Comm. ACM 8 (1965).
    """
    corrected = term - lost
    larger = total + corrected
    lost = (larger - total) - corrected
    # Of an infinite sum it would be NaN, and turn the sum into NaN at the next term.
    return larger, lost if math.isfinite(lost) else 0.0
