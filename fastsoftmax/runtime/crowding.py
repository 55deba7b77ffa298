"""Whether other processes are on the cores: threads that wait by spinning then cost more than they give.

A parallel loop of OpenMP ends when its last thread does, and the others spin until then. Where that one is
not running because another process has its core, a call takes milliseconds in place of microseconds. Nothing
tells so beforehand; but the same work then takes many times as long as it once did.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

# How many times the quickest call so far one takes on a crowded machine, at least. Fits on two cores that
# other processes had, too, took 1.3 to 6 times as long by spinning threads as by one; with this 0.6 to 1.3.
SLOW = 3.0
# Seconds for which the loops are left alone, and at most: after each such pause one call tries again.
FIRST_PAUSE, MAX_PAUSE = 0.25, 8.0


class Crowding:
    """The times of calls, and the pauses that slow ones lead to. It may be used by several threads at once.

    Wrong entries that two threads may leave cost time and nothing else.
    """

    def __init__(self) -> None:
        self._quickest: dict[Hashable, float] = {}
        self._until = -math.inf
        self._pause = FIRST_PAUSE

    def is_noticed(self, now: float) -> bool:
        """Return whether a call was slow lately."""
        return now < self._until

    def observe(self, work: Hashable, seconds: float, now: float, *, spins: bool) -> None:
        """Note that a call of some kind of work took so long, by threads that spin or by others."""
        quickest = self._quickest.get(work, math.inf)
        if seconds < quickest:
            self._quickest[work] = seconds
        elif spins and seconds > SLOW * quickest:
            self._until = now + self._pause
            self._pause = min(2.0 * self._pause, MAX_PAUSE)
            return
        if spins:
            self._pause = FIRST_PAUSE
