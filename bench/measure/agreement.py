"""Right before fast: what a contender gives is compared with the naive float64 result before it is timed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes
import numpy as np

from bench.contenders import REFERENCE, bind, plain
from bench.problems.descriptions import load

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.problems.descriptions import Problem

BLOCK = 1 << 16  # entries compared at a time, so that differences of large arrays stay in the cache


class Reference(NamedTuple):
    """The naive float64 result; array by array its largest entry, and by how much float32 is off it."""

    exact: tuple[np.ndarray, ...]
    largest: tuple[float, ...]
    off_in_single: tuple[float, ...]


@functools.lru_cache(maxsize=1)
def reference(problem: Problem, operation: str) -> Reference:
    """Compute the naive result twice, in float64 and in float32."""
    data, naive = load(problem), bind(REFERENCE, operation)
    calls = (naive(data.astype(dtype)) for dtype in (np.float64, np.float32))
    exact, single = (call.read(call.run()) for call in calls)
    return Reference(exact, tuple(map(distance, exact)), tuple(map(distance, single, exact)))


def distance(a: np.ndarray, b: ArrayLike = 0.0) -> float:
    """Give the largest difference of two arrays, computed in float64; NaN if there is one."""
    a, b = np.ravel(a), np.ravel(np.broadcast_to(b, np.shape(a)))
    worst = [
        np.max(np.abs(np.subtract(a[i : i + BLOCK], b[i : i + BLOCK], dtype=np.float64)))
        for i in range(0, a.size, BLOCK)
    ]
    return float(np.max(worst))


def tolerance(problem: Problem, largest: float, off_in_single: float) -> float:
    """Give how far a result may be from the reference, whose largest entry is given.

    Rounding errors are proportional to the unit roundoff, so what plain NumPy loses in float32 says what may
    be lost in either precision. Four times that is granted: two for another order of summation, and two
    because in float64 the reference itself is rounded. NumPy sums in pairs; the errors of a contender that
    sums m terms one after the other walk at random, √m eps of the largest entry, which is granted too, with
    16 eps for where plain NumPy is exact by luck.

    Formats of 16 bits are for keeping numbers, and arithmetic goes on in float32: what is rounded to them is
    the result and, in PyTorch, log-probabilities on the way to it (p |log p| < 1/2, so that they cost no more
    than the result). Half an eps each, and as much again, is granted beside float32's errors, and the least
    number of the format, in multiples of which tiny results are rounded.
    """
    formats = {dtype: ml_dtypes.finfo(dtype) for dtype in (problem.dtype, "float32")}
    narrow = formats[problem.dtype].bits == 16
    computed = formats["float32" if narrow else problem.dtype]
    eps = float(computed.eps)
    granted = 4 * off_in_single * eps / float(formats["float32"].eps)
    granted += (16 + load(problem).longest_sum ** 0.5) * eps * largest
    if narrow:
        kept = formats[problem.dtype]
        granted += 2 * float(kept.eps) * largest + float(kept.smallest_subnormal)
    return granted


def check(problem: Problem, operation: str, result: tuple[Any, ...]) -> None:
    """Raise where a result is further from the reference than rounding explains."""
    # A result in given memory is the same one: the reference is not computed again.
    exact, largest, off_in_single = reference(problem, plain(operation).removesuffix("_out"))
    if len(result) != len(exact):
        raise AssertionError(f"{operation} gave {len(result)} arrays, not {len(exact)}")
    for place, (got, want, scale, off) in enumerate(zip(result, exact, largest, off_in_single)):
        if np.shape(got) != np.shape(want):
            raise AssertionError(f"{operation}, array {place}: shape {np.shape(got)}, not {np.shape(want)}")
        limit, error = tolerance(problem, scale, off), distance(got, want)
        if not error <= limit:  # NaN fails too
            raise AssertionError(f"{operation}, array {place}: off by {error:.3g}, allowed {limit:.3g}")
