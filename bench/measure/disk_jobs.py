"""What is measured of rows on disk, each job in a process of its own.

`python -m bench.measure.disk_jobs JOB FILE`: FILE holds the job's arguments, and what it finds is printed,
both JSON. So the peak of a process is that of one fit: VmHWM, which counts pages of mapped files, less what
it held after its imports. Linux only.

"warm" has the files in the page cache; for "cold" they are taken out of it before each turn, by
`posix_fadvise`, which needs no rights.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS
from bench.measure.memory import kept
from bench.measure.timing import PAUSE_AFTER_BLAS_SECONDS, lap
from bench.problems.disk import ParquetTable, in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastsoftmax import SoftmaxRegression
    from fastsoftmax.contracts import Record

LEVELS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
TOL = 1e-6
WARM, COLD = "warm", "cold"


def forget(files: list[str]) -> None:
    """Take files out of the page cache."""
    for name in files:
        descriptor = os.open(name, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def companions(files: list[str]) -> list[str]:
    """Give all files of the folders, labels included."""
    return sorted(str(path) for folder in {Path(name).parent for name in files} for path in folder.iterdir())


def read_to_nowhere(files: list[str]) -> None:
    """Read files as `cat` does."""
    subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True)


def fit(files: list[str], opened: dict[str, Any], settings: dict[str, Any], state: str) -> dict[str, Any]:
    """Fit rows on disk, and give what it took."""
    from fastsoftmax import SoftmaxRegression, open_rows

    if state == COLD:
        forget(companions(files))
    before = kept("VmRSS")
    start = time.perf_counter()
    with open_rows(files, **opened) as rows:
        rows.look()
        looked = time.perf_counter() - start
        model = SoftmaxRegression(tol=TOL, **settings).fit(rows)
        seconds = time.perf_counter() - start
        found = {
            "n_rows": rows.n_rows,
            "data_bytes": rows.n_bytes,
            "readings": rows.n_readings,
            "seconds": seconds,
            "look_seconds": looked,
            "peak_bytes": kept("VmHWM") - before,
        }
    return found | came(model, looked)


def came(model: SoftmaxRegression, before: float) -> dict[str, Any]:
    """Say where a fit came, and what it took to each level: seconds, and passes with the first reading."""
    last: Record = model.history_[-1]
    reached = {}
    for level in LEVELS:
        limit = model.objective_ * (1.0 + level)
        there = next((record for record in model.history_ if record.objective <= limit), last)
        reached[f"{level:.0e}"] = [before + there.seconds, there.passes + 1]
    certified = model.duality_gap_ is not None and model.duality_gap_ <= TOL * model.objective_
    return {
        "objective": model.objective_,
        "gap": model.duality_gap_,
        "certified": certified,
        "passes": last.passes,
        "reached": reached,
        "solver": model.solver_,
    }


def speed(files: list[str], opened: dict[str, Any], states: list[str], rounds: int) -> dict[str, Any]:
    """Let `cat`, a reading, and a pass over the same rows in memory take turns."""
    from fastsoftmax import SoftmaxObjective, open_rows

    with open_rows(files, **opened) as rows:
        streamed = SoftmaxObjective(rows)
        X, y = in_memory(files)
        objective = SoftmaxObjective(X, y)
        rng = np.random.default_rng(0)

        def at_another_point(which: SoftmaxObjective) -> None:
            which.value_and_grad(0.01 * rng.standard_normal(which.n_params))

        everything = companions(files)
        runs: dict[str, Callable[[], Any]] = {
            "cat": functools.partial(read_to_nowhere, everything),
            OURS: functools.partial(at_another_point, streamed),
            "in memory": functools.partial(at_another_point, objective),
        }
        found = {}
        for state in states:
            if state == COLD:
                runs.pop("in memory")
            laps = [_one_lap(runs, everything, state) for _ in range(rounds)]
            found[state] = laps
        return {"laps": found, "data_bytes": rows.n_bytes}


def _one_lap(runs: Mapping[str, Callable[[], Any]], files: list[str], state: str) -> dict[str, float]:
    seconds = {}
    for name, run in runs.items():
        if state == COLD:
            forget(files)
        seconds |= lap({name: run}, {name: 1}, PAUSE_AFTER_BLAS_SECONDS)
    return seconds


def whole_fits(files: list[str], opened: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Let fits of rows on disk and of the same rows in memory take turns, warm."""
    from fastsoftmax import SoftmaxRegression, open_rows

    X, y = in_memory(files)

    def streamed() -> SoftmaxRegression:
        with open_rows(files, **opened) as rows:
            return SoftmaxRegression(tol=TOL).fit(rows)

    def held() -> SoftmaxRegression:
        return SoftmaxRegression(tol=TOL).fit(X, y)

    ours, theirs = streamed(), held()
    runs: dict[str, Callable[[], Any]] = {OURS: streamed, "in memory": held}
    laps = [lap(runs, dict.fromkeys(runs, 1), PAUSE_AFTER_BLAS_SECONDS) for _ in range(rounds)]
    return {"laps": {WARM: laps}, OURS: came(ours, 0.0), "in memory": came(theirs, 0.0)}


def formats(files: list[str], opened: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Let the first reading of a slow format and its library's own scan take turns; then later readings."""
    from fastsoftmax import SoftmaxObjective, open_rows

    def first() -> None:
        with open_rows(files, **opened) as rows:
            rows.look()

    scan = parquet_scan if files[0].endswith(".parquet") else h5ad_scan
    runs: dict[str, Callable[[], Any]] = {OURS: first, "scan": functools.partial(scan, files[0])}
    for run in runs.values():
        run()
    laps = [lap(runs, dict.fromkeys(runs, 1), PAUSE_AFTER_BLAS_SECONDS) for _ in range(rounds)]
    rng = np.random.default_rng(0)
    with open_rows(files, **opened) as rows:
        objective = SoftmaxObjective(rows)
        again: dict[str, Callable[[], Any]] = {
            "later": lambda: objective.value_and_grad(0.01 * rng.standard_normal(objective.n_params))
        }
        laps = [one | lap(again, {"later": 1}, PAUSE_AFTER_BLAS_SECONDS) for one in laps]
        return {"laps": {WARM: laps}, "data_bytes": rows.n_bytes}


def parquet_scan(name: str) -> None:
    """Read a Parquet file by pyarrow, batch by batch, into arrays (n, d)."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(name) as file:
        columns = [column for column in file.schema_arrow.names if column != ParquetTable.target]
        for batch in file.iter_batches(columns=columns):
            np.column_stack([column.to_numpy(zero_copy_only=False) for column in batch.columns])


def h5ad_scan(name: str) -> None:
    """Read the entries of an .h5ad file by h5py, part by part."""
    import h5py

    with h5py.File(name) as file:
        data, indices = file["X/data"], file["X/indices"]
        for start in range(0, data.shape[0], 2**22):
            data[start : start + 2**22], indices[start : start + 2**22]


def peers(
    files: list[str], opened: dict[str, Any], contender: str, text: str, limit: float
) -> dict[str, Any]:
    """Fit the binary case as another does, and give F after each of its passes: (seconds, passes, F)."""
    from bench.contenders import streams
    from fastsoftmax import SoftmaxObjective, open_rows

    with open_rows(files, **opened) as rows:
        n_rows, n_features = rows.n_rows, rows.n_features
        l2 = 1.0 / n_rows
        # Two outputs of -w / 2 and w / 2 have the loss of one logit w, and half of w's squares.
        objective = SoftmaxObjective(rows, l2=2.0 * l2)

        def value(coef: np.ndarray, intercept: float) -> float:
            coef, offset = np.asarray(coef, np.float64) / 2, intercept / 2
            return objective.value(objective.pack(np.stack([-coef, coef]), np.array([-offset, offset])))

        if contender.startswith("sgd"):
            return {"points": streams.sgd(files, l2, contender.endswith("averaged"), limit, value)}
        options, strength = ("--bfgs", l2 * n_rows) if contender.endswith("bfgs") else ("", l2)
        return {"points": streams.vowpal_wabbit(Path(text), n_features, options, strength, limit, value)}


JOBS = {job.__name__: job for job in (fit, speed, whole_fits, formats, peers)}

if __name__ == "__main__":
    job_, path_ = sys.argv[1:]
    print(json.dumps(JOBS[job_](**json.loads(Path(path_).read_text()))))
