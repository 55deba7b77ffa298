"""Taking turns: a contender, its yardstick and our own implementation are timed A B C, A B C, and so on.

pytest-benchmark times the contender; after each of its rounds the others have theirs. A ratio is taken within
a round and summarised over rounds, so a machine that slows down for a minute slows down both sides of it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROUND_SECONDS = 0.02  # short calls are repeated until a round lasts this long
# Idle OpenMP workers spin for some milliseconds, on the cores that the next contender needs. OpenBLAS's go on
# for between 30 and 100: a pass that follows a matrix product after 30 took twice as long as one after 100.
PAUSE_SECONDS = 0.03
PAUSE_AFTER_BLAS_SECONDS = 0.15


def seconds_of(run: Callable[[], Any], calls: int = 1) -> float:
    """Give the mean time of some calls in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def calls_a_round(run: Callable[[], Any]) -> int:
    """Find how many calls fill a round."""
    calls = 1
    while (elapsed := seconds_of(run, calls) * calls) < ROUND_SECONDS / 2:
        calls *= 4
    return max(1, round(calls * ROUND_SECONDS / elapsed))


def once(_: Callable[[], Any]) -> int:
    """Call once a round: this one is long enough to be timed by itself."""
    return 1


def lap(
    runs: Mapping[str, Callable[[], Any]], calls: dict[str, int], pause: float = PAUSE_SECONDS
) -> dict[str, float]:
    """Let everybody have his turn once, and give the seconds of a call of each."""
    seconds = {}
    for name, run in runs.items():
        time.sleep(pause)
        seconds[name] = seconds_of(run, calls[name])
    return seconds


def in_turn(
    benchmark: Any,
    run: Callable[[], Any],
    others: dict[str, Callable[[], Any]],
    rounds: int,
    calls_of: Callable[[Callable[[], Any]], int] = calls_a_round,
    pause: float = PAUSE_SECONDS,
) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Time `run` as the benchmark, with the others taking turns between its rounds.

    `calls_of` says how often somebody calls in a row when it is his turn, `pause` how many seconds pass
    between two turns.

    Returns
    -------
    result : Any
        What `run` returned last.
    turns : dict
        For each of the others: `seconds` a call (median) and `ratio`, its [median, min, max] over rounds of
        the contender's time divided by the other's.
    """
    calls = {name: calls_of(other) for name, other in others.items()}
    laps: list[dict[str, float]] = []

    def rest_take_turns() -> None:
        laps.append(lap(others, calls, pause))
        time.sleep(pause)

    result = benchmark.pedantic(run, rounds=rounds, iterations=calls_of(run), teardown=rest_take_turns)
    own = np.array(benchmark.stats.stats.data)
    return result, {name: summary(own, turns_of(name, laps)[: len(own)]) for name in others}


def turns_of(name: str, laps: list[dict[str, float]]) -> np.ndarray:
    """Give the seconds of one of those who took turns, lap by lap."""
    return np.array([seconds[name] for seconds in laps])


def summary(own: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """Summarise the rounds of two that took turns."""
    ratio = own / other
    return {
        "seconds": float(np.median(other)),
        "ratio": [float(np.median(ratio)), float(ratio.min()), float(ratio.max())],
    }
