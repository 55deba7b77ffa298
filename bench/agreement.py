"""Right before fast: what a contender gives is compared with the naive float64 result before it is timed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.contenders import REFERENCE, bind
from bench.problems import load

if TYPE_CHECKING:
    from bench.problems import Problem


class Reference(NamedTuple):
    """The naive float64 result, and by how much the naive float32 result is off it, array by array."""

    exact: tuple[np.ndarray, ...]
    off_in_single: tuple[float, ...]


@functools.lru_cache(maxsize=1)
def reference(problem: Problem, operation: str) -> Reference:
    """Compute the naive result twice, in float64 and in float32."""
    data, naive = load(problem), bind(REFERENCE, operation)
    calls = (naive(data.astype(dtype)) for dtype in (np.float64, np.float32))
    exact, single = (call.read(call.run()) for call in calls)
    return Reference(exact, tuple(map(distance, single, exact)))


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Give the largest difference of two arrays, computed in the wider precision; NaN if there is one."""
    return float(np.max(np.abs(np.subtract(a, b))))


def check(problem: Problem, operation: str, result: tuple[np.ndarray, ...]) -> None:
    """Raise where a result is further from the reference than rounding explains.

    Rounding errors are proportional to the unit roundoff, so what plain NumPy loses in float32 says what may
    be lost in either precision. Four times that is granted: two for another order of summation, and two
    because in float64 the reference itself is rounded. NumPy sums in pairs; the errors of a contender that
    sums m terms one after the other walk at random, √m eps of the largest entry, which is granted too, with
    16 eps for where plain NumPy is exact by luck.
    """
    exact, off_in_single = reference(problem, operation)
    eps, single = (float(np.finfo(dtype).eps) for dtype in (problem.dtype, np.float32))
    granted = (16 + load(problem).longest_sum ** 0.5) * eps
    if len(result) != len(exact):
        raise AssertionError(f"{operation} gave {len(result)} arrays, not {len(exact)}")
    for place, (got, want, off) in enumerate(zip(result, exact, off_in_single)):
        if np.shape(got) != np.shape(want):
            raise AssertionError(f"{operation}, array {place}: shape {np.shape(got)}, not {np.shape(want)}")
        limit = 4 * off * eps / single + granted * float(np.max(np.abs(want)))
        error = distance(got, want)
        if not error <= limit:  # NaN fails too
            raise AssertionError(f"{operation}, array {place}: off by {error:.3g}, allowed {limit:.3g}")
