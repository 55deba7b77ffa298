"""Saved results, read back: one `Entry` a benchmark, as the tables and plots want it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import ml_dtypes  # noqa: F401 - from here on NumPy knows "bfloat16"
import numpy as np

from bench import machine
from bench.contenders import OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).resolve().parent / "results"


class Spread(NamedTuple):
    """A ratio over rounds."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Entry:
    """One contender on one problem.

    `to_yardstick` and `to_ours` are its time divided by the other's, in the same rounds; None where nobody of
    that kind took part. `noted` is all that the test wrote down.
    """

    family: str
    problem: str
    dtype: str
    operation: str
    contender: str
    seconds: Spread
    to_yardstick: Spread | None
    to_ours: Spread | None
    noted: dict[str, Any]

    @property
    def group(self) -> tuple[str, str, str, str]:
        """What contenders have to share to be compared."""
        return self.family, self.problem, self.dtype, self.operation


def newest() -> Path:
    """Find the result written last."""
    results = sorted(FOLDER.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not results:
        raise FileNotFoundError("no result in bench/results yet: python -m bench run --quick")
    return results[-1]


def commit() -> dict[str, Any]:
    """Say which state of the sources was measured."""
    from pytest_benchmark.utils import get_commit_info

    info = get_commit_info()
    return {key: info[key] for key in ("id", "time", "dirty")}


def write(path: Path, benchmarks: list[dict[str, Any]]) -> None:
    """Save benchmarks that were not run by pytest as it would, with the machine card."""
    path.parent.mkdir(exist_ok=True)
    saved = {"machine_info": machine.card(), "commit_info": commit(), "benchmarks": benchmarks}
    path.write_text(json.dumps(saved, indent=4))


def read(path: Path) -> tuple[dict[str, Any], list[Entry]]:
    """Give the machine card and the entries of a result."""
    saved = json.loads(path.read_text())
    return saved["machine_info"], [entry_of(benchmark) for benchmark in saved["benchmarks"]]


def entry_of(benchmark: dict[str, Any]) -> Entry:
    """Read one benchmark of pytest-benchmark's JSON."""
    noted, stats = benchmark["extra_info"], benchmark["stats"]
    turns = noted["in_turn"]

    def ratio_to(name: str | None) -> Spread | None:
        return Spread(*turns[name]["ratio"]) if name in turns else None

    return Entry(
        **{key: noted[key] for key in ("family", "problem", "dtype", "operation", "contender")},
        seconds=Spread(stats["median"], stats["min"], stats["max"]),
        to_yardstick=ratio_to(noted.get("yardstick")),
        to_ours=ratio_to(OURS),
        noted=noted,
    )


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
