"""Saved results: JSON files in bench/results, written, and read back as one `Entry` a benchmark."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.contenders import OURS
from bench.measure import machine

FOLDER = Path(__file__).resolve().parents[1] / "results"


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


@functools.cache
def commit() -> dict[str, Any]:
    """Say which state of the sources was measured."""
    from pytest_benchmark.utils import get_commit_info

    info = get_commit_info()
    return {key: info[key] for key in ("id", "time", "dirty")}


def write(path: Path, benchmarks: list[dict[str, Any]], unfinished: dict[str, Any] | None = None) -> None:
    """Save benchmarks that were not run by pytest as it would, with the machine card.

    The file is replaced whole. `unfinished` is what a run needs to be gone on with.
    """
    path.parent.mkdir(exist_ok=True)
    saved = {"machine_info": machine.card(), "commit_info": commit(), "benchmarks": benchmarks}
    replace(path, saved if unfinished is None else saved | {"unfinished": unfinished})


def replace(path: Path, content: dict[str, Any]) -> None:
    """Write a result beside the one that is there, and put it in its place."""
    part = path.with_name(f"{path.name}.tmp")
    part.write_text(json.dumps(content, indent=4))
    part.replace(path)


def benchmarks(path: Path) -> list[dict[str, Any]]:
    """Give the benchmarks of a result as they are saved, or none where there is no such file."""
    return list(json.loads(path.read_text())["benchmarks"]) if path.exists() else []


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
