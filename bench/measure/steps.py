"""What every measuring command is made of: steps, saved one by one, and gone on with after an interrupt.

An unfinished result holds, beside its benchmarks, what it was taken under. The same command goes on with it
only if all of that is the same still; a finished result begins anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.measure import durations, machine, results
from bench.problems.archives import DataMissingError
from bench.problems.discovery import folders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Benchmarks = list[dict[str, Any]]

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("OMP_", "OPENBLAS_", "MKL_", "NUMBA_", "FASTSOFTMAX_")
CARD = ("cpu", "cores", "memory_bytes", "system", "python", "libraries")  # not the rates: they vary


class Step(NamedTuple):
    """What is measured in one piece: a name, how, and the seconds that its time limits allow, if any."""

    name: str
    run: Callable[[], Benchmarks]
    at_most: float | None = None


def with_words(steps: Sequence[Step], words: str | None) -> list[Step]:
    """Choose the steps whose names contain all the words."""
    return [step for step in steps if all(word in step.name for word in (words or "").split())]


def circumstances(options: Mapping[str, Any]) -> dict[str, str]:
    """Digest what has to be the same to go on with a run; a digest names no machine and no folder."""
    card = machine.card()
    settings = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(SETTINGS) and name != "NUMBA_CACHE_DIR"
    }
    return {
        "options": digest(json.dumps(options, sort_keys=True, default=str).encode()),
        "sources": sources(),
        "machine": digest(json.dumps({key: card.get(key) for key in CARD}, sort_keys=True).encode()),
        "settings": digest(json.dumps(settings, sort_keys=True).encode()),
    }


def digest(content: bytes) -> str:
    """Give twelve digits that are others for another content."""
    return hashlib.sha256(content).hexdigest()[:12]


def sources() -> str:
    """Digest every .py file that is measured or measures: a commit says nothing of a tree that is edited."""
    places = [ROOT / "fastsoftmax", ROOT / "bench", *folders()]
    files = sorted(file for place in places for file in place.rglob("*.py"))
    return digest(b"\0".join(file.name.encode() + b"\0" + file.read_bytes() for file in files))


def unfinished(path: Path, now: dict[str, str]) -> Benchmarks:
    """Give what an unfinished result of the same run has, or say why it is not gone on with."""
    if not path.exists():
        return []
    saved = json.loads(path.read_text())
    before = saved.get("unfinished")
    if before is None:
        return []
    others = [name for name, value in now.items() if before["under"].get(name) != value]
    if others:
        print(f"{path.name} is unfinished, but of other {' and '.join(others)}: begun anew", flush=True)
        return []
    names = set(before["steps"])
    return [each for each in saved["benchmarks"] if each["extra_info"].get("step") in names]


def begun(path: Path, options: Mapping[str, Any], redo: bool) -> tuple[dict[str, str], Benchmarks]:
    """Give what a run is taken under, and what it has already; with `redo` that is nothing."""
    under = circumstances(options)
    return under, [] if redo else unfinished(path, under)


def steps_of(benchmarks: Benchmarks) -> list[str]:
    """Name the steps that benchmarks are of, in their order."""
    return list(dict.fromkeys(each["extra_info"]["step"] for each in benchmarks))


def announce(command: str, path: Path, left: Sequence[Step], n_done: int) -> None:
    """Say what is there already, and how many minutes the rest will take."""
    if n_done:
        print(f"{path.name} is unfinished: {n_done} of {n_done + len(left)} steps are there", flush=True)
    print(f"{command}: {durations.estimate(command, left).line()}", flush=True)


def measured(
    command: str,
    steps: Sequence[Step],
    path: Path,
    options: Mapping[str, Any],
    *,
    redo: bool = False,
    before: Benchmarks | None = None,
) -> Benchmarks:
    """Measure steps into a result that grows with them, and give its benchmarks.

    Of the benchmarks of `before` those stay in the result whose names are not measured anew. A step whose
    data are missing is left out, with a line.
    """
    under, done = begun(path, options, redo)
    there = set(steps_of(done))
    left = [step for step in steps if step.name not in there]
    announce(command, path, left, len(there))
    missing: set[str] = set()

    def save(mark: dict[str, Any] | None) -> None:
        anew = {each["name"] for each in done} if before else set()
        stay = [each for each in before or [] if each["name"] not in anew]
        results.write(path, stay + done, mark)

    for step in left:
        began = time.perf_counter()
        try:
            group = step.run()
        except DataMissingError as lacking:
            if str(lacking) not in missing:
                print(f"{step.name} left out: {lacking}", flush=True)
            missing.add(str(lacking))
            continue
        seconds = time.perf_counter() - began
        for each in group:
            each["extra_info"] |= {"step": step.name, "step_seconds": seconds}
        done += group
        if group:
            save({"under": under, "steps": steps_of(done)})
    if done:
        save(None)
    return done
