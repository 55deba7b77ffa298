"""Rows on disk: the speed of readings, fits that never hold the rows, their memory, and other streaming fits.

The files are drawn once into a folder (`--folder`), 40 GB for everything. F* is the objective of our fit at
its end, certified to 1e-6. What is run in processes of its own is in `disk_jobs`.
"""

from __future__ import annotations

import functools
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS
from bench.contenders.threads import THREADS
from bench.measure.disk_jobs import COLD, LEVELS, TOL, WARM, came, fit, formats, peers, speed, whole_fits
from bench.measure.steps import Step, with_words
from bench.measure.timing import summary, turns_of
from bench.problems.disk import AnnDataTable, DenseShards, HashedShards, OnDisk, ParquetTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "bench" / "disk"
ROUNDS = 5
SAMPLED = 6  # of real sets a sixth of the rows is kept as the sample: of much more memory, all rows
SAMPLE_OF_MEMORY = 8
READINGS = ("dry_bean", "shuttle", "tep_faults", "fashion_mnist", "newsgroups20", "clinc150", "ag_news_7600")
PEERS = ("sgd", "sgd averaged", "vw", "vw bfgs")
PEER_SECONDS = 120.0  # after which no further pass begins


class Sizes(NamedTuple):
    """The rows of each part; `growing` are numbers of shards of `published`."""

    published: DenseShards
    growing: tuple[int, ...]
    logs: HashedShards
    dense: DenseShards
    hashed: HashedShards
    table: ParquetTable
    cells: AnnDataTable


# The published case: a million rows of 3,000 numbers, two classes, l2 = 1e-5 (Spark: 406 s on 2 × 8 cores,
# RAPIDS: 69 s on two GPUs).
PUBLISHED_L2 = 1e-5
FULL = Sizes(
    DenseShards("dense_1000000x3000", 1_000_000, 3_000, 2, 50_000),
    (1, 2, 4, 8),
    HashedShards("hashed_10000000", 10_000_000, 2**20, 2, 250_000),
    DenseShards("dense_600000x500", 600_000, 500, 10, 100_000),
    HashedShards("hashed_1000000", 1_000_000, 2**20, 2, 250_000),
    ParquetTable("parquet_600000x500", 600_000, 500, 10, 20_000),
    AnnDataTable("h5ad_1000000", 1_000_000, 2**20, 2, 100_000),
)
QUICK = Sizes(
    DenseShards("dense_20000x300", 20_000, 300, 2, 2_500),
    (2, 8),
    HashedShards("hashed_80000", 80_000, 2**16, 2, 20_000),
    DenseShards("dense_20000x100", 20_000, 100, 10, 5_000),
    HashedShards("hashed_20000", 20_000, 2**14, 2, 5_000),
    ParquetTable("parquet_20000x100", 20_000, 100, 10, 5_000),
    AnnDataTable("h5ad_20000", 20_000, 2**14, 2, 5_000),
)
FULL_MEMORY, QUICK_MEMORY = {"1G": None, "256M": "256M"}, {"8M": "8M"}


class Plan(NamedTuple):
    """What is run: sizes, the folder of the files, the memory of fits by name, and words of names."""

    sizes: Sizes
    folder: Path
    memory: Mapping[str, str | None]
    words: str
    rounds: int


def steps(plan: Plan) -> list[Step]:
    """Give a step for each subject whose name contains all the words."""
    return with_words(
        [Step(name, functools.partial(said, name, make)) for name, make in subjects(plan)], plan.words
    )


def said(name: str, make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Measure a subject, after a line that names it."""
    print(name, flush=True)
    return make()


def subjects(plan: Plan) -> Iterator[tuple[str, Callable[[], list[dict[str, Any]]]]]:
    """Give the names of what is measured, and how."""
    sizes = plan.sizes
    for problem in (sizes.dense, sizes.hashed):
        yield f"speed: {problem.name}", functools.partial(speeds, plan, problem)
    for problem in (sizes.table, sizes.cells):
        yield f"formats: {problem.name}", functools.partial(format_readings, plan, problem)
    for problem in (sizes.dense, sizes.hashed):
        yield f"in memory: {problem.name}", functools.partial(beside_memory, plan, problem)
    for name in READINGS:
        yield f"readings: {name}", functools.partial(readings, plan, name)
    for label in plan.memory:
        for n_shards in sizes.growing:
            job = functools.partial(large_fit, plan, sizes.published, WARM, label, n_shards)
            yield f"memory {label}: {n_shards} shards of {sizes.published.name}", job
    for problem in (sizes.published, sizes.logs):
        for state in (COLD, WARM):
            job = functools.partial(large_fit, plan, problem, state, next(iter(plan.memory)), None)
            yield f"large {state}: {problem.name}", job
    yield f"peers: {sizes.hashed.name}", functools.partial(beside_peers, plan)


def opened_with(plan: Plan, problem: OnDisk, memory: str | None = None) -> dict[str, Any]:
    """Give the arguments of `open_rows`."""
    target = getattr(problem, "target", None)
    return {"memory": memory} | ({} if target is None else {"target": target})


def files_of(plan: Plan, problem: OnDisk) -> list[str]:
    """Give the names of a problem's files."""
    return [str(path) for path in problem.files(plan.folder)]


def limited(plan: Plan) -> str:
    """Give the memory by which the rows of the middling problems are not kept whole."""
    return "256M" if plan.sizes is FULL else "4M"


def speeds(plan: Plan, problem: OnDisk) -> list[dict[str, Any]]:
    """Compare a reading with `cat` and with a pass in memory, in both states."""
    opened = opened_with(plan, problem, limited(plan))
    found = in_process(
        speed, files=files_of(plan, problem), opened=opened, states=[WARM, COLD], rounds=plan.rounds
    )
    return from_laps(problem, "speed", found)


def format_readings(plan: Plan, problem: OnDisk) -> list[dict[str, Any]]:
    """Compare the first reading of a slow format with its library's scan, and show later ones."""
    found = in_process(
        formats,
        files=files_of(plan, problem),
        opened=opened_with(plan, problem, limited(plan)),
        rounds=plan.rounds,
    )
    return from_laps(problem, "formats", found)


def beside_memory(plan: Plan, problem: OnDisk) -> list[dict[str, Any]]:
    """Compare fits on disk and in memory of rows that the memory given holds."""
    opened = opened_with(plan, problem, "2G" if plan.sizes is FULL else "32M")
    found = in_process(whole_fits, files=files_of(plan, problem), opened=opened, rounds=plan.rounds)
    return from_laps(problem, "in memory", found)


def from_laps(problem: OnDisk, part: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a benchmark for everybody who took turns, in each state."""
    benchmarks = []
    for state, laps in found["laps"].items():
        own = turns_of(OURS, laps)
        for name in laps[0]:
            seconds = turns_of(name, laps)
            noted = {
                "data_bytes": found.get("data_bytes"),
                "in_turn": {} if name == OURS else {OURS: summary(seconds, own)},
                **found.get(name, {}),
            }
            benchmarks.append(benchmark(problem, part, state, name, seconds, noted))
    return benchmarks


def large_fit(
    plan: Plan, problem: OnDisk, state: str, label: str, n_shards: int | None
) -> list[dict[str, Any]]:
    """Fit rows that memory may not hold, in a process of its own."""
    files = files_of(plan, problem)[:n_shards]
    settings = {}
    if problem is plan.sizes.published:
        settings["C"] = 1.0 / (PUBLISHED_L2 * problem.shard_rows * len(files))
    opened = opened_with(plan, problem, plan.memory[label])
    found = in_process(fit, files=files, opened=opened, settings=settings, state=state)
    part = "large" if n_shards is None else f"memory {label}"
    operation = state if n_shards is None else f"{found['n_rows']} rows"
    noted = {"memory": label, "state": state, "in_turn": {}, **found}
    return [benchmark(problem, part, operation, OURS, np.array([found["seconds"]]), noted)]


def readings(plan: Plan, name: str) -> list[dict[str, Any]]:
    """Count the readings of a real set, of which a part is kept as the sample, and the passes in memory."""
    from bench.measure.optimum import sets
    from bench.problems.archives import DataMissingError
    from bench.problems.descriptions import load
    from fastsoftmax import SoftmaxRegression, rows_from

    problem = sets("float64")[name]
    try:
        data = load(problem)
    except DataMissingError as missing:
        print(f"{name} left out: {missing}", flush=True)
        return []
    n_rows, step = data.X.shape[0], math.ceil(data.X.shape[0] / 20)
    n_bytes = data.X.nbytes if isinstance(data.X, np.ndarray) else 12 * data.X.nnz

    def make() -> Iterator[tuple[Any, np.ndarray]]:
        for start in range(0, n_rows, step):
            yield data.X[start : start + step], data.y[start : start + step]

    start = time.perf_counter()
    held = SoftmaxRegression(tol=TOL).fit(data.X, data.y)
    held_seconds = time.perf_counter() - start
    start = time.perf_counter()
    rows = rows_from(make, memory=SAMPLE_OF_MEMORY * n_bytes // SAMPLED)
    rows.look()
    looked = time.perf_counter() - start
    streamed = SoftmaxRegression(tol=TOL).fit(rows)
    seconds = time.perf_counter() - start
    noted = {OURS: came(streamed, looked) | {"readings": rows.n_readings}, "in memory": came(held, 0.0)}
    noted[OURS]["shape"] = [n_rows, data.X.shape[1], len(held.classes_)]
    taken = {OURS: seconds, "in memory": held_seconds}
    return [
        benchmark(problem, "readings", "C = 1", who, np.array([taken[who]]), {"in_turn": {}} | noted[who])
        for who in noted
    ]


def beside_peers(plan: Plan) -> list[dict[str, Any]]:
    """Compare the ways to F of everybody who reads the binary case from disk, warm."""
    problem = plan.sizes.hashed
    files, opened = files_of(plan, problem), opened_with(plan, problem, limited(plan))
    settings = {"C": 1.0}
    ours = in_process(fit, files=files, opened=opened, settings=settings, state=WARM)
    made = [benchmark(problem, "peers", WARM, OURS, np.array([ours["seconds"]]), {"in_turn": {}} | ours)]
    text = plan.folder / f"{problem.name}.vw"
    if not text.exists():
        from bench.contenders.streams import write_text

        write_text(files, text)
    for name in PEERS:
        limit = PEER_SECONDS if plan.sizes is FULL else 2.0
        try:
            found = in_process(peers, files=files, opened=opened, contender=name, text=str(text), limit=limit)
        except subprocess.CalledProcessError:
            print(f"{name} left out: it has said why", flush=True)
            continue
        points = found["points"]
        reached = {}
        for level in LEVELS:
            there = (point for point in points if point[2] <= ours["objective"] * (1.0 + level))
            first = min(there, default=None)
            reached[f"{level:.0e}"] = None if first is None else list(first[:2])
        noted = {"points": points, "objective": min(value for *_, value in points), "reached": reached}
        seconds = np.array([points[-1][0]])
        made.append(benchmark(problem, "peers", WARM, name, seconds, {"in_turn": {}} | noted))
    return made


def benchmark(
    problem: Any, part: str, operation: str, contender: str, seconds: np.ndarray, noted: dict[str, Any]
) -> dict[str, Any]:
    """Write down what one contender did as a benchmark of a result."""
    extra = {
        "family": "disk",
        "part": part,
        "problem": f"{part}: {problem.name}",
        "dtype": getattr(problem, "dtype", "float32"),
        "operation": operation,
        "contender": contender,
        "threads": THREADS,
        "rounds": len(seconds),
    }
    return {
        "name": f"{part}: {problem.name} {operation} {contender}",
        "extra_info": extra | noted,
        "stats": {
            "median": float(np.median(seconds)),
            "min": float(seconds.min()),
            "max": float(seconds.max()),
        },
    }


def in_process(job: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """Run a job in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-disk-") as name:
        path = Path(name) / "job.json"
        path.write_text(json.dumps(arguments))
        command = [sys.executable, "-m", "bench.measure.disk_jobs", job.__name__, str(path)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
