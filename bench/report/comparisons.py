"""What the entries of a result say of one another: who is compared with whom, rates, and who was first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes  # noqa: F401 - from here on NumPy knows "bfloat16"
import numpy as np

from bench.contenders import OURS
from bench.measure.results import Spread

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.measure.results import Entry


def groups(entries: list[Entry]) -> dict[tuple[str, ...], dict[str, Entry]]:
    """Put entries that can be compared together, by contender, in the order of the run."""
    grouped: dict[tuple[str, ...], dict[str, Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.group, {})[entry.contender] = entry
    return grouped


def spaced(problem: str) -> str:
    """Write a problem's sizes with multiplication signs; a name stays as it is."""
    return problem.replace("x", " × ") if problem[0].isdigit() else problem


def best_rival(group: dict[str, Entry]) -> Entry | None:
    """Give the fastest of the others, or None where we ran alone.

    Fastest beside us, in the same rounds: they did not run in the same minute, and seconds belong to it.
    """
    rivals = (entry for name, entry in group.items() if name != OURS)
    return min(rivals, key=lambda entry: entry.to_ours or entry.seconds, default=None)


def bandwidth(entry: Entry) -> Spread:
    """Give GB/s of a row kernel: the bytes it cannot avoid moving, over its time."""
    n_bytes = entry.noted["bytes"] / 1e9
    return Spread(
        *(n_bytes / seconds for seconds in (entry.seconds.median, entry.seconds.high, entry.seconds.low))
    )


def copy_bandwidth(entry: Entry) -> float:
    """Give GB/s of the copy that took turns with a row kernel."""
    itemsize = np.dtype(entry.dtype).itemsize
    return (
        2 * float(np.prod(entry.noted["shape"])) * itemsize / entry.noted["in_turn"]["copy"]["seconds"] / 1e9
    )


def excess(entry: Entry, group: dict[str, Entry]) -> float:
    """Give (F − F*) / F*, F* being the best objective that any contender of the run reached."""
    best = min(other.noted["objective"] for other in group.values())
    return (entry.noted["objective"] - best) / best


def time_to(entry: Entry, level: float) -> tuple[float, float | None] | None:
    """Give seconds and passes to a relative suboptimality, or None where it was not reached."""
    reached = entry.noted["reached"][f"{level:.0e}"]
    return None if reached is None else (reached[0], reached[2])


def first_of(entries: Iterable[Entry], level: float) -> Entry | None:
    """Give whoever was first at a level, or where nobody came there, whoever came nearest to it."""

    def rank(entry: Entry) -> tuple[float, float]:
        reached = time_to(entry, level)
        return (reached[0] if reached else float("inf")), least_excess(entry)

    return min(entries, key=rank, default=None)


def least_excess(entry: Entry) -> float:
    """Give how near to the optimum a curve came."""
    return min((point[1] for point in entry.noted["points"]), default=float("inf"))
