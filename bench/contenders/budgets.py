"""Solvers without a callback: a fit that heeds `max_iter`, made a function of the most iterations."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from bench.contenders import Timed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.contenders import Call
    from bench.problems.arrays import FitData

SHORT_SECONDS = 0.2  # runs are repeated, three times at most, until they have taken this long


def budgeted(prepare: Callable[[FitData], Call]) -> Callable[[FitData], Callable[[int], Timed]]:
    """Make a solver, as `contenders` describes it, of a `fit` that heeds `max_iter`."""

    def bound(data: FitData) -> Callable[[int], Timed]:
        return lambda budget: timed(prepare(data._replace(max_iter=budget)))

    return bound


def timed(call: Call) -> Timed:
    """Fit, again if that was short, and give the median of the seconds."""
    kept: list[Any] = []
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < SHORT_SECONDS:
        start = time.perf_counter()
        kept.append(call.run())
        seconds.append(time.perf_counter() - start)
    return Timed(call.read(kept[-1]), statistics.median(seconds))
