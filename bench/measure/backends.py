"""Our functions in PyTorch, XGBoost and LightGBM beside the libraries' own, in turn.

Value and gradient of losses and softmaxes of tensors; an output layer's loss with its gradients, each in a
process of its own, with the peak of its memory; objectives of boosting beside NumPy's; whole trainings beside
those with the built-in objective. What both give is compared first; what differs is noted, and fails the run
once all is saved. A library that is not installed is left out.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS
from bench.contenders.threads import THREADS
from bench.measure.steps import Step, with_words
from bench.measure.timing import calls_a_round, lap, once, summary, turns_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Benchmarks = list[dict[str, Any]]

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = ("torch", "xgboost", "lightgbm")


class Sizes(NamedTuple):
    """Shapes: (n, K) of tensors and objectives, (n, d, K) of the layer, (n, K, trees) of trainings."""

    tensors: tuple[tuple[int, int], ...]
    head: tuple[int, int, int]
    boosting: tuple[tuple[int, int], ...]
    training: tuple[int, int, int]
    rounds: int
    long_rounds: int


FULL = Sizes(
    ((1_000_000, 10), (100_000, 100), (20_000, 1_000), (10_000, 10), (256, 10)),
    (4_096, 64, 128_256),
    ((1_000_000, 3), (300_000, 10), (30_000, 100)),
    (20_000, 10, 20),
    7,
    3,
)
QUICK = Sizes(((2_000, 100), (256, 10)), (256, 64, 8_000), ((20_000, 3), (1_000, 100)), (1_000, 3, 5), 3, 1)


class Subject(NamedTuple):
    """What is timed, of which library."""

    name: str
    library: str
    make: Callable[[Sizes], Benchmarks]


def subjects(sizes: Sizes) -> Iterator[Subject]:
    """Give all that is timed; `-k` looks into the names."""
    operations = [("cross_entropy", "float32"), ("cross_entropy", "bfloat16")]
    operations += [("sigmoid_cross_entropy", "float32"), ("sigmoid_cross_entropy", "bfloat16")]
    operations += [(name, "float32") for name in ("softmax", "log_softmax", "logsumexp")]
    for operation, dtype in operations:
        for shape in sizes.tensors:
            make = functools.partial(tensors, operation, dtype, shape)
            yield Subject(f"torch {operation} {dtype} {spelled(shape)}", "torch", make)
    yield Subject(f"torch linear_cross_entropy float32 {spelled(sizes.head)}", "torch", head)
    for library in LIBRARIES[1:]:
        for shape in sizes.boosting:
            make = functools.partial(objective, library, shape)
            yield Subject(f"{library} objective {spelled(shape)}", library, make)
        yield Subject(
            f"{library} training {spelled(sizes.training)}", library, functools.partial(training, library)
        )


def missing() -> list[str]:
    """Name the libraries that are not installed."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def steps(sizes: Sizes, words: str) -> list[Step]:
    """Give a step for each subject of an installed library whose name contains all the words."""
    absent = missing()
    present = [subject for subject in subjects(sizes) if subject.library not in absent]
    return with_words([Step(each.name, functools.partial(said, each, sizes)) for each in present], words)


def said(subject: Subject, sizes: Sizes) -> Benchmarks:
    """Time a subject, and say what came out."""
    found = subject.make(sizes)
    ratios = [
        f"{noted['contender']} {noted['in_turn'][OURS]['ratio'][0]:.2f}"
        for noted in (each["extra_info"] for each in found)
        if noted["in_turn"]
    ]
    print(f"{subject.name}: {', '.join(ratios)} of our time", flush=True)
    return found


def tensors(operation: str, dtype: str, shape: tuple[int, int], sizes: Sizes) -> Benchmarks:
    """Time a function of tensors with its gradient."""
    from bench.contenders import tensor_losses

    found = tensor_losses.pair(operation, dtype, *shape)
    said = tensor_losses.differences(found)
    return timed(found.runs, (operation, dtype, shape), sizes.rounds, said)


def objective(library: str, shape: tuple[int, int], sizes: Sizes) -> Benchmarks:
    """Time an objective alone."""
    from bench.contenders import boosters

    runs = boosters.objectives(library, *shape)
    said = boosters.differences(runs[OURS](), runs[boosters.NUMPY](), 1e-5)  # numbers of at most 2
    dtype = "float32" if library == "xgboost" else "float64"
    return timed(runs, (f"{library} objective", dtype, shape), sizes.rounds, said)


def training(library: str, sizes: Sizes) -> Benchmarks:
    """Time a whole training; its trees are those of the built-in objective, leaves up to rounding."""
    from bench.contenders import boosters

    runs = boosters.trainings(library, *sizes.training)
    own, other = (run()() for run in runs.values())
    # Where two splits are as good up to rounding, a row may come to another leaf: most must not.
    off = np.abs(np.subtract(own, other, dtype=np.float64)).max(axis=1) > 1e-3
    said = [f"{off.mean():.0%} of the rows are predicted otherwise"] if off.mean() > 0.01 else []
    return timed(runs, (f"{library} training", "float32", sizes.training), sizes.rounds, said, once)


def timed(
    runs: Mapping[str, Callable[[], Any]],
    what: tuple[str, str, tuple[int, ...]],
    rounds: int,
    said: list[str],
    calls_of: Callable[[Callable[[], Any]], int] = calls_a_round,
) -> Benchmarks:
    """Let the contenders take turns; the first lap, which warms up, does not count."""
    calls = {name: calls_of(run) for name, run in runs.items()}
    laps = [lap(runs, calls) for _ in range(rounds + 1)][1:]
    return benchmarks({name: turns_of(name, laps) for name in runs}, what, said)


def benchmarks(
    seconds: Mapping[str, np.ndarray],
    what: tuple[str, str, tuple[int, ...]],
    said: list[str],
    noted: Mapping[str, dict[str, Any]] | None = None,
) -> Benchmarks:
    """Give each contender as one benchmark of a result."""
    operation, dtype, shape = what
    name = f"{operation} {dtype} {spelled(shape)}"
    shared = {"family": "backends", "problem": spelled(shape), "dtype": dtype, "operation": operation}
    shared |= {"shape": list(shape), "threads": THREADS}
    return [
        {
            "name": f"{name} {contender}",
            "extra_info": shared
            | {"contender": contender, "rounds": len(own)}
            | {"complaints": [f"{name}: {text}" for text in said if contender == OURS]}
            | {"in_turn": {} if contender == OURS else {OURS: summary(own, seconds[OURS])}}
            | (noted or {}).get(contender, {}),
            "stats": {"median": float(np.median(own)), "min": float(own.min()), "max": float(own.max())},
        }
        for contender, own in seconds.items()
    ]


def spelled(shape: tuple[int, ...]) -> str:
    """Write a shape as problems are named."""
    return "x".join(map(str, shape))


def head(sizes: Sizes) -> Benchmarks:
    """Time an output layer's loss and measure its memory, in processes that take turns."""
    from bench.contenders.tensor_losses import CHUNKED, THEIRS

    names = OURS, THEIRS, CHUNKED
    turns = [{name: in_process(name, sizes.head) for name in names} for _ in range(sizes.long_rounds)]
    seconds = {name: np.array([turn[name]["seconds"] for turn in turns]) for name in names}
    held = {name: [turn[name]["peak_bytes"] - turn[name]["before_bytes"] for turn in turns] for name in names}
    values = {name: turns[0][name]["value"] for name in names}
    said = [
        f"the loss is {values[OURS]!r}, that of {name} {value!r}"
        for name, value in values.items()
        if not abs(value - values[OURS]) <= 1e-5 * abs(value)
    ]
    noted = {name: {"held_bytes": int(np.median(held[name]))} for name in names}
    return benchmarks(seconds, ("linear_cross_entropy", "float32", sizes.head), said, noted)


def in_process(contender: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Give what one call takes and holds in a process that has made it once before."""
    command = [sys.executable, "-m", "bench.measure.backends", contender, *map(str, shape)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def one_call(contender: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Make the call twice in this process; the second one is measured."""
    from bench.contenders.tensor_losses import head as call_of
    from bench.measure.memory import kept, settled
    from bench.measure.timing import seconds_of

    run = call_of(contender, *shape)
    value = float(run()[0])
    before = settled()
    seconds = seconds_of(run)
    return {"seconds": seconds, "before_bytes": before, "peak_bytes": kept("VmHWM"), "value": value}


def complaints(found: Benchmarks) -> list[str]:
    """Give what differs from the other's, or that nothing could be measured."""
    if not found:
        return ["nothing was measured"]
    return [text for benchmark in found for text in benchmark["extra_info"]["complaints"]]


if __name__ == "__main__":
    print(json.dumps(one_call(sys.argv[1], tuple(map(int, sys.argv[2:])))))
