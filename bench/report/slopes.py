"""How steeply time grows: the points of a result by what grows, and the slope of their logarithms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bench.measure.scaling import ONE

if TYPE_CHECKING:
    from bench.measure.results import Entry


def by_axis(entries: list[Entry]) -> dict[str, list[Entry]]:
    """Put the points of each axis together, smallest first."""
    axes: dict[str, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.noted["size"]):
        axes.setdefault(entry.noted["axis"], []).append(entry)
    return {axis: axes[axis] for axis in ("n", "d", "K", "nnz") if axis in axes}


def seconds_by_threads(points: list[Entry]) -> dict[str, list[float]]:
    """Give the seconds of each point with one thread and with all."""
    label = f"{points[0].noted['threads']} threads"
    return {
        "1 thread": [entry.noted["in_turn"][ONE]["seconds"] for entry in points],
        label: [entry.seconds.median for entry in points],
    }


def upper_half(points: list[Entry]) -> slice:
    """Give the points that a slope is taken over."""
    return slice(len(points) // 2, None)


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Give b of seconds = a · sizeᵇ, by least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
