"""Curves of the objective against seconds, and when they come below a level.

Our own fit is watched step by step. The others have no callback, so they are run from the start with one
iteration, two, three, five, …; each run gives one point. Objectives are computed outside the timing.
"""

from __future__ import annotations

import contextlib
import functools
import math
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.contenders import TimeLimitError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.contenders import Fitted, Timed

GROWTH = 1.6  # of the iterations from run to run
GOAL = 1e-9  # of relative suboptimality, where a curve may end
GRACE = 15.0  # seconds that starting a process, reading its data and a first fit may take besides
SPARE = 0.9  # of the time limit, which the last run is planned to take
MIN_EXCESS = 1e-16  # an excess that rounding cannot tell from none


class Point(NamedTuple):
    """After so many seconds a fit is (F − F*) / F* above the optimum; `passes` where they are counted."""

    seconds: float
    excess: float
    passes: float | None


class Curve(NamedTuple):
    """Points by seconds, and why there are no more: "arrived", "stopped" by itself, or "time limit"."""

    points: list[Point]
    ended: str


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise TimeLimitError in the body when its time is up, as soon as Python runs again."""

    def ring(*_: Any) -> None:
        raise TimeLimitError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def by_budgets(
    at_budget: Callable[[int], Timed], excess_of: Callable[[Fitted], float], limit: float
) -> Curve:
    """Run a solver with growing budgets; a run may take `limit` seconds, and the last nearly does.

    The first run is not counted: libraries load what they need and start their threads.
    """
    points: list[Point] = []
    budget, warm = 1, False
    while budget:
        try:
            with alarm(limit + GRACE):
                fitted, seconds = at_budget(budget)
        except TimeLimitError:
            break
        if not warm:
            warm = True
            continue
        if seconds > limit:
            break
        points.append(Point(seconds, excess_of(fitted), fitted.passes))
        if points[-1].excess <= GOAL:
            return Curve(points, "arrived")
        if fitted.iterations < budget:
            return Curve(points, "stopped")
        budget = next_budget(budget, seconds, limit)
    return Curve(points, "time limit")


def next_budget(budget: int, seconds: float, limit: float) -> int:
    """Give the iterations of the next run, or 0 if none that fits into the limit would tell more."""
    affordable = int(SPARE * budget * limit / seconds)
    chosen = min(math.ceil(GROWTH * budget), affordable)
    return chosen if chosen > budget else 0


def time_to(points: Sequence[Point], level: float, *, between: bool) -> Point | None:
    """Give where a curve first is at or below a level, or None where it never is.

    With `between`, for curves of few points, that is where the straight line of the logarithms from the
    point before crosses the level: the first run below it may have gone on for long after that.
    """
    points = undominated(points) if between else points
    place = next((i for i, point in enumerate(points) if point.excess <= level), None)
    if place is None:
        return None
    after = points[place]
    if place == 0 or not between:
        return after
    before = points[place - 1]
    high, low = (math.log(max(point.excess, MIN_EXCESS)) for point in (before, after))
    share = (high - math.log(level)) / (high - low)
    along = functools.partial(geometric, share=share)
    passes = None if after.passes is None else along(before.passes, after.passes)
    return Point(along(before.seconds, after.seconds), level, passes)


def undominated(points: Sequence[Point]) -> list[Point]:
    """Leave out runs that took longer than a later one that came as near: something else held them up."""
    return [
        point
        for i, point in enumerate(points)
        if not any(
            later.seconds <= point.seconds and later.excess <= point.excess for later in points[i + 1 :]
        )
    ]


def geometric(start: float, stop: float, share: float) -> float:
    """Give the number that lies a share of the way from one to the other, by logarithms."""
    return start ** (1 - share) * stop**share
