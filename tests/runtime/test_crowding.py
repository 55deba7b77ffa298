"""Law: loops whose threads spin are left alone for a while after a call that took far longer than once."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax.runtime import executor
from fastsoftmax.runtime.crowding import FIRST_PAUSE, MAX_PAUSE, SLOW, Crowding
from tests.runtime.test_executor import all_bytes, dense


def test_a_slow_call_begins_a_pause_and_the_next_one_after_it_a_longer():
    crowding = Crowding()
    crowding.observe("work", 1.0, 0.0, spins=True)
    crowding.observe("work", 0.9 * SLOW, 1.0, spins=True)
    assert not crowding.is_noticed(1.0)
    pause = FIRST_PAUSE
    now = 2.0
    for _ in range(10):
        crowding.observe("work", 1.1 * SLOW, now, spins=True)
        assert crowding.is_noticed(now + 0.99 * pause)
        assert not crowding.is_noticed(now + 1.01 * pause)
        pause = min(2.0 * pause, MAX_PAUSE)
        now += 2.0 * MAX_PAUSE
    crowding.observe("work", 1.5, now, spins=True)  # quiet again: the next pause is short
    crowding.observe("work", 1.1 * SLOW, now, spins=True)
    assert not crowding.is_noticed(now + 1.01 * FIRST_PAUSE)


def test_each_kind_of_work_has_its_own_measure_and_threads_that_wait_asleep_begin_no_pause():
    crowding = Crowding()
    crowding.observe("short", 1.0, 0.0, spins=True)
    crowding.observe("long", 100.0, 0.0, spins=True)
    crowding.observe("short", 100.0, 0.0, spins=False)
    assert not crowding.is_noticed(0.0)
    crowding.observe("long", 10.0, 0.0, spins=False)  # the quickest counts, by whatever threads
    crowding.observe("long", 100.0, 0.0, spins=True)
    assert crowding.is_noticed(0.0)


@pytest.mark.skipif(not executor._prange_is_safe(), reason="the threading layer has no safe prange")
@pytest.mark.parametrize(("chosen", "loops"), [("auto", False), ("prange", True)])
def test_while_it_is_noticed_a_pool_runs_what_is_not_forced(chosen, loops, monkeypatch):
    """To the same bits."""
    X = dense(np.float64, "C")
    before = fastsoftmax.set_executor(chosen)
    ran = []
    loop = executor._run_in_prange
    monkeypatch.setattr(executor, "_run_in_prange", lambda *arguments: ran.append(1) or loop(*arguments))
    monkeypatch.setattr(executor.library, "is_in_use", lambda: False)
    try:
        monkeypatch.setattr(executor._state, "crowding", Crowding())
        expected = all_bytes(X, 2)
        assert ran
        ran.clear()
        executor._state.crowding._until = np.inf
        assert all_bytes(X, 2) == expected
        assert bool(ran) == loops
    finally:
        fastsoftmax.set_executor(before)
