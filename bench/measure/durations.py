"""How long a command will take, from what results have recorded and from the time limits of its steps.

A result notes the seconds of each step. Of a step that nobody has recorded the time limits are a bound, and
the calls that were timed in an older result say what it takes at least.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.measure import results

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FAMILIES = {"run": ("rows", "passes", "fits")}  # of a command, where it is not named like its family
RECORDED, LIMITS, TIMED, NEVER = "recorded", "time limits", "timed calls alone", "never recorded"
NOISE = re.compile(r"\((R|TM|r|tm)\)|\bCPU\b|\bProcessor\b|\d+-Core|@.*")


class Known(NamedTuple):
    """Seconds of a step, whole or those of its timed calls alone; the file that says so, and the machine."""

    seconds: float
    whole: bool
    file: str
    machine: str


class Estimate(NamedTuple):
    """The least and the most seconds, and from how many steps of each origin they come."""

    least: float
    most: float
    n_known: int
    origins: dict[str, int]
    files: tuple[str, ...]
    machines: tuple[str, ...]

    def short(self) -> str:
        """Say the minutes."""
        if not self.origins:
            return "nothing is left to do"
        if self.most == math.inf:
            return f"at least {minutes(self.least)}" if self.least else "unknown"
        if 2 * self.n_known < sum(self.origins.values()):
            return f"at most {minutes(self.most)}"
        low, high = minutes(self.least), minutes(self.most)
        return f"about {high}" if low == high else f"{low} to {high}"

    def origin(self) -> str:
        """Name the files, or the time limits."""
        return listed(self.files) or (LIMITS if LIMITS in self.origins else "")

    def line(self) -> str:
        """Say the minutes, and where the figure comes from."""
        counts = ", ".join(f"{count} {origin}" for origin, count in self.origins.items())
        source = f"; {listed(self.files)} on {listed(self.machines)}" if self.files else ""
        return f"{self.short()} (steps: {counts}{source})" if counts else self.short()


def of_gpu(*, quick: bool) -> str:
    """Say the minutes of the benchmark of a GPU, by its newest result of that size."""
    paths = (results.FOLDER / "gpu").glob("*.json")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        saved = json.loads(path.read_text())
        if saved["quick"] is quick and "seconds" in saved:
            return f"about {minutes(saved['seconds'])} ({path.name} on {saved['gpu']})"
    return "unknown"


def minutes(seconds: float) -> str:
    """Write seconds as minutes, and as hours where there are many."""
    if seconds < 55:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3600:.0f} h"


def listed(names: tuple[str, ...]) -> str:
    """Name the first, and how many more."""
    return "".join(names[:1]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def estimate(command: str, steps: Iterable[Any]) -> Estimate:
    """Add up what is known of steps; `steps` have a name, and seconds at most."""
    steps = list(steps)
    found = recorded(command, [step.name for step in steps])
    origins: dict[str, int] = {}
    least, most = 0.0, 0.0
    for step in steps:
        limit = math.inf if step.at_most is None else step.at_most
        known = found.get(step.name)
        # A limit that is smaller than the one it was recorded under holds nevertheless.
        least += 0.0 if known is None else min(known.seconds, limit)
        most += min(known.seconds, limit) if known is not None and known.whole else limit
        origin = RECORDED if known is not None and known.whole else LIMITS if limit < math.inf else NEVER
        origin = TIMED if known is not None and origin == NEVER else origin
        origins[origin] = origins.get(origin, 0) + 1
    used = [found[step.name] for step in steps if step.name in found]
    files, machines = (
        tuple(dict.fromkeys(getattr(each, key) for each in used)) for key in ("file", "machine")
    )
    return Estimate(least, most, len(used), origins, files, machines)


def recorded(command: str, names: list[str]) -> dict[str, Known]:
    """Find what results have recorded of steps; the newest first, and whole steps before timed calls."""
    families = FAMILIES.get(command, (command,))
    wanted = set(names)
    found: dict[str, Known] = {}
    for path in sorted(results.FOLDER.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        saved = json.loads(path.read_text())
        where = machine_of(saved.get("machine_info", {}))
        timed: dict[str, float] = {}
        for each in saved["benchmarks"]:
            noted = each["extra_info"]
            if noted["family"] not in families:
                continue
            if "step_seconds" in noted:
                name, known = noted["step"], found.get(noted["step"])
                if name in wanted and (known is None or not known.whole):
                    found[name] = Known(noted["step_seconds"], True, path.name, where)
                continue
            for name in step_names(each):
                if name in wanted:
                    timed[name] = timed.get(name, 0.0) + timed_seconds(each)
        for name, seconds in timed.items():
            found.setdefault(name, Known(seconds, False, path.name, where))
    return found


def machine_of(card: dict[str, Any]) -> str:
    """Name a processor and its cores in a few words."""
    cpu = " ".join(NOISE.sub("", str(card.get("cpu", "a machine"))).split())
    cores = card.get("cores", 0)
    return f"{cpu}, {cores} core{'' if cores == 1 else 's'}"


def step_names(benchmark: dict[str, Any]) -> Iterator[str]:
    """Give the steps that an older benchmark may be of.

    That is its name, what that begins with, up to a space or a colon, and a case of `memory`.
    """
    name, noted = benchmark["name"], benchmark["extra_info"]
    yield name
    yield from (name[: cut.start()] for cut in re.finditer(r"[ :]", name))
    for storage in ("", "sparse_"):
        yield f"{noted['problem']}-{noted['dtype']}-{storage}{noted['operation']} {noted['contender']}"


def timed_seconds(benchmark: dict[str, Any]) -> float:
    """Add up the calls that a benchmark has timed."""
    noted, stats = benchmark["extra_info"], benchmark["stats"]
    seconds = [point[0] for point in noted.get("points", ())]
    first = float(noted.get("first_call_seconds") or 0.0)
    if noted["family"] in ("optimum", "families"):  # points of ours are of one fit, others' of a run each
        return first + float(3 * max(seconds, default=0.0) if "history_off" in noted else sum(seconds))
    if "states" in noted:
        return float(sum(state["seconds"][0] * state["rounds"] for state in noted["states"].values()))
    if "total" in stats:  # pytest-benchmark's, in turn with others that have as long
        return float(stats["total"] * stats["iterations"] * (1 + len(noted["in_turn"])) + first)
    return float(stats["median"] * noted.get("rounds", 1) + first)
