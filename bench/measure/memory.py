"""How much memory a call takes beside its data, everybody in a process of his own.

`python -m bench memory` starts `python -m bench.measure.memory CASE CONTENDER` for each. There the call is
made once, so that kernels are compiled, for many threads where there are many rows, and libraries loaded.
What is free goes back to the system, the peak is set back, and the call is made again. What counts is the
peak above what the process held just before, results included. Linux with glibc only: there a process can
set its peak back.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS, as_arrays, bind
from bench.measure.roofline import bytes_of
from bench.measure.steps import Step
from bench.problems.descriptions import Problem, load
from bench.problems.fits import FashionMnist, Newsgroups
from bench.problems.passes import Dense, Head

ROOT = Path(__file__).resolve().parents[2]


class Case(NamedTuple):
    """What is called, and by whom; "torch chunked" is PyTorch's other way of doing the same."""

    problem: Problem
    operation: str
    contenders: tuple[str, ...]


def cases(quick: bool) -> dict[str, Case]:
    """Give the cases by name; the quick ones are a few times smaller. All fit into 16 GB."""
    rows = 10 if quick else 1
    head = (1_024, 512, 32_000) if quick else (4_096, 2_048, 128_256)
    vocabulary = Head("x".join(map(str, head)), "float32", *head)
    labels = f"{1_000_000 // rows}x100x800"
    heads = (OURS, "naive", "torch", "torch chunked")
    fits = (OURS, "sklearn")
    # scikit-learn's memory is that of its first steps: it need not arrive.
    listed = [
        Case(FashionMnist("fashion_mnist", "uint8", 60_000 // rows, 20), "fit", fits),
        Case(Newsgroups("newsgroups20", "float64", 20), "sparse_fit", fits),
        Case(vocabulary, "linear_cross_entropy", heads),
        Case(vocabulary, "linear_cross_entropy_grad", heads),
        Case(Dense(labels, "float32", 1_000_000 // rows, 100, 800), "predict", (OURS, "naive", "sklearn")),
    ]
    return {f"{case.problem.key}-{case.operation}": case for case in listed}


def measure(case: Case, contender: str) -> dict[str, Any]:
    """Make the call in this process, and give what it held as one benchmark of a result."""
    module, _, variant = contender.partition(" ")
    prepare = bind(module, f"{variant}_{case.operation}" if variant else case.operation)
    data = load(case.problem)
    call = prepare(data)
    call.run()
    before = settled()
    start = time.perf_counter()
    raw = call.run()
    seconds = time.perf_counter() - start
    peak = kept("VmHWM")
    results = [part for part in as_parts(call.read(raw)) if part.ndim]
    noted = {
        "family": "memory",
        "problem": case.problem.name,
        "dtype": case.problem.dtype,
        "operation": case.operation.removeprefix("sparse_"),
        "contender": contender,
        "data_bytes": sum(map(bytes_of, arrays_of(data))),
        "before_bytes": before,
        "peak_bytes": peak,
        "result_bytes": sum(part.nbytes for part in results),
        "n_params": sum(part.size for part in results) if case.operation.endswith("fit") else None,
        "in_turn": {},
    }
    return {"name": contender, "extra_info": noted, "stats": dict.fromkeys(("median", "min", "max"), seconds)}


def as_parts(result: Any) -> list[Any]:
    """Give the arrays of a result, or of a fit."""
    return [*as_arrays(tuple(part for part in result if part is not None))]


def arrays_of(data: Any) -> list[Any]:
    """Give the arrays that a call reads: all of a problem's but test sets, directions and spare memory."""
    return [getattr(data, name) for name in ("X", "y", "target", "coef", "intercept") if hasattr(data, name)]


def settled() -> int:
    """Give free memory back to the system, set the peak back, and give the bytes that are left."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return kept("VmRSS")


def kept(what: str) -> int:
    """Read a line of the system's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def steps(quick: bool, wanted: str | None) -> list[Step]:
    """Give a step for each case and contender whose name contains `wanted`."""
    return [
        Step(f"{name} {contender}", functools.partial(in_process, name, contender, quick))
        for name, case in cases(quick).items()
        for contender in case.contenders
        if wanted is None or wanted in f"{name}-{contender}"
    ]


def in_process(name: str, contender: str, quick: bool) -> list[dict[str, Any]]:
    """Measure a contender in a process of his own."""
    command = [sys.executable, "-m", "bench.measure.memory", name, contender, *["--quick"] * quick]
    print(f"{name} {contender}", flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(done.stdout)]


if __name__ == "__main__":
    name_, contender_, *options = sys.argv[1:]
    print(json.dumps(measure(cases(options == ["--quick"])[name_], contender_)))
