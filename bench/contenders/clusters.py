"""Spark and dask-ml, each in a process of an environment that the caller names: they need other packages.

FASTSOFTMAX_BENCH_SPARK and FASTSOFTMAX_BENCH_DASK_ML are the interpreters
(`pip install pyspark==4.3.0 pyarrow numpy` and `pip install dask-ml==2025.1.0`).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.contenders import NotOfferedError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
INTERPRETERS = {"spark": "FASTSOFTMAX_BENCH_SPARK", "dask-ml": "FASTSOFTMAX_BENCH_DASK_ML"}


class Point(NamedTuple):
    """A fit with that many iterations."""

    iterations: int
    seconds: float
    coef: np.ndarray
    intercept: np.ndarray


def spark(X: np.ndarray, y: np.ndarray, options: dict[str, Any], seconds: float) -> Iterator[Point]:
    """Give fits by pyspark.ml's LogisticRegression, local[2], without standardization."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as name:
        values = pa.array(np.ascontiguousarray(X, np.float64).ravel())
        offsets = pa.array(np.arange(0, X.size + 1, X.shape[1], dtype=np.int32))
        features = pa.ListArray.from_arrays(offsets, values)
        table = pa.table({"features": features, "label": pa.array(y.astype(np.float64))})
        pq.write_table(table, Path(name) / "rows.parquet")
        yield from _points("spark", "spark_fit.py", Path(name), options, seconds)


def dask_ml(X: np.ndarray, y: np.ndarray, options: dict[str, Any], seconds: float) -> Iterator[Point]:
    """Give fits of two classes, 0 and 1, by dask-ml's LogisticRegression without an intercept."""
    with tempfile.TemporaryDirectory() as name:
        np.savez(Path(name) / "rows.npz", X=np.asarray(X, np.float64), y=y)
        yield from _points("dask-ml", "dask_ml_fit.py", Path(name), options, seconds)


def _points(name: str, script: str, folder: Path, options: dict[str, Any], seconds: float) -> Iterator[Point]:
    """Run a script, and give its fits as they end; the first one, of few iterations, is not counted."""
    interpreter = os.environ.get(INTERPRETERS[name])
    if interpreter is None:
        raise NotOfferedError(f"{name} needs {INTERPRETERS[name]}, an interpreter that has it")
    (folder / "options.json").write_text(json.dumps(options))
    command = ["timeout", str(seconds), interpreter, "-P", str(HERE / script), str(folder)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        is_first = True
        for line in process.stdout:
            said = json.loads(line)
            found = np.load(folder / f"{said['iterations']}.npz")
            if not is_first:
                yield Point(said["iterations"], said["seconds"], found["coef"], found["intercept"])
            is_first = False
