"""Elastic nets to the optimum: the processor's seconds on one thread, on real sets.

Every contender fits in a process of its own (`contenders/elastic_net`), in the environment it needs:
FASTSOFTMAX_PEERS, a folder with an environment of each name. F* is the least F of our certified fit. Seconds
are those of the processor, so that others who use the machine count for little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from bench.measure.curves import Point, time_to
from bench.measure.steps import Step
from bench.problems.archives import DataMissingError
from bench.problems.descriptions import load
from bench.problems.fits import Digits, FashionMnist, RealSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from bench.problems.arrays import FitData
    from bench.problems.descriptions import Problem

RUN = Path(__file__).resolve().parents[1] / "contenders" / "elastic_net" / "run.py"
OURS = "fastsoftmax proximal-newton"
# The solver's name in tables, and the file `of_NAME.py` beside `run.py`.
CONTENDERS = {
    OURS: "fastsoftmax",
    "sklearn saga": "sklearn",
    "glmnet path": "glmnet",
    "adelie path": "adelie",
    "cyanure auto": "cyanure",
}
IN_THIS_ENVIRONMENT = ("fastsoftmax", "sklearn")
# Sets, and the power of ten among the C that predicts their held-out rows best.
CHOSEN = {
    "digits": 1.0,
    "tox171": 1.0,
    "tep_faults": 1.0,
    "fashion_mnist_10000": 1.0,
    "clinc150": 10.0,
    "newsgroups20": 10.0,
}
QUICK = ("digits",)
AROUND = (1.0, 0.1, 10.0)  # of the chosen C
KINDS = {
    "α = 1": (1.0, False),
    "α = 0.5": (0.5, False),
    "groups, α = 1": (1.0, True),
}  # l1_ratio, group_classes
# Who has which: an absolute value for each coefficient, or a norm for each feature.
LACKS = {"sklearn saga": True, "adelie path": False}
WHY = {
    "sklearn saga": "saga has no groups across classes",
    "adelie path": "its softmax has only groups across classes",
}
LEVELS = tuple(10.0**-digit for digit in range(2, 9))
LEVEL, TOL = 1e-6, 1e-7
QUICK_SECONDS, SECONDS = 2.0, 8.0
WALL = 12.0  # wall seconds for one of the processor, before a fit on a busy machine is given up


def sets() -> dict[str, Problem]:
    """Give the problems by name."""
    listed = [
        Digits("digits", "float64"),
        RealSet("tox171", "float64"),
        RealSet("tep_faults", "float64"),
        FashionMnist("fashion_mnist_10000", "float64", n_rows=10_000),
        RealSet("clinc150", "float64", scaling="tfidf"),
        RealSet("newsgroups20", "float64", scaling="tfidf"),
    ]
    return {problem.name: problem for problem in listed}


class Plan(NamedTuple):
    """What is run: sets, multiples of the chosen C, penalties, contenders, seconds a fit."""

    sets: Sequence[str]
    around: Sequence[float]
    kinds: Sequence[str]
    solvers: Sequence[str]
    limit: float


def left(plan: Plan, known: Collection[str], redo: Sequence[str]) -> list[Step]:
    """Give a step for each fit that is run: those `known` are not, unless they are to be again.

    Seconds at most are those after which its process is given up: the limit is the processor's time.
    """
    titles = (
        (f"{name} {kind}, C = {CHOSEN[name] * part:g} {contender}", contender)
        for name in plan.sets
        for part in plan.around
        for kind in plan.kinds
        for contender in CONTENDERS
        if LACKS.get(contender) is not KINDS[kind][1]
    )
    return [
        Step(title, list, 4 * plan.limit)  # of a processor that is not shared: nobody has waited for WALL yet
        for title, contender in titles
        if (not plan.solvers or any(part in contender for part in plan.solvers))
        and (title not in known or any(part in contender for part in redo))
    ]


def measure(plan: Plan, known: list[dict[str, Any]], redo: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Give all benchmarks so far, as each is there; those `known` are not run again unless they are to be."""
    by_name = {benchmark["name"]: benchmark for benchmark in known}
    to_do = {step.name for step in left(plan, by_name, redo)}
    for name in plan.sets:
        problem = sets()[name]
        try:
            data = load(problem)
        except DataMissingError as missing:
            print(f"{name} left out: {missing}", flush=True)
            continue
        with tempfile.TemporaryDirectory(prefix="bench-sparse-") as folder:
            write_rows(Path(folder), data)
            for C, kind in ((CHOSEN[name] * part, kind) for part in plan.around for kind in plan.kinds):
                ratio, grouped = KINDS[kind]
                for contender in CONTENDERS:
                    title = f"{name} {kind}, C = {C:g} {contender}"
                    if title not in to_do:
                        continue
                    print(title, flush=True)
                    options = {
                        "C": C,
                        "l1_ratio": ratio,
                        "grouped": grouped,
                        "limit": plan.limit,
                        "tol": TOL,
                        "target": 0.0,
                    }
                    ours = by_name.get(f"{name} {kind}, C = {C:g} {OURS}")
                    if contender != OURS and ours is not None:
                        if not ours["extra_info"]["values"]:
                            print("  left out: our fit, which tells F*, did not end", flush=True)
                            continue
                        options["target"] = optimum_of(ours) * (1 + 0.9 * LEVEL)
                    began = time.perf_counter()
                    by_name[title] = followed(title, contender, Path(folder), data, problem, options)
                    seconds = time.perf_counter() - began
                    by_name[title]["extra_info"] |= {"step": title, "step_seconds": seconds}
                    yield judged(list(by_name.values()))


def write_rows(folder: Path, data: FitData) -> None:
    """Write the training rows where contenders read them."""
    np.save(folder / "y.npy", data.y)
    if not sp.issparse(data.X):
        np.save(folder / "X.npy", data.X)
        return
    X = data.X.tocsr()
    for name in ("data", "indices", "indptr"):
        np.save(folder / f"{name}.npy", getattr(X, name))
    np.save(folder / "shape.npy", np.array(X.shape))


def python_of(name: str) -> str | None:
    """Give the interpreter that a contender needs, or None where there is none."""
    if name in IN_THIS_ENVIRONMENT:
        return sys.executable
    if name == "glmnet":
        asked = (
            subprocess.run(["Rscript", "-e", "library(glmnet)"], capture_output=True)
            if _has("Rscript")
            else None
        )
        return sys.executable if asked is not None and asked.returncode == 0 else None
    python = Path(os.environ.get("FASTSOFTMAX_PEERS", ".venv-peers")) / name / "bin" / "python"
    return str(python.absolute()) if python.exists() else None


def _has(program: str) -> bool:
    from shutil import which

    return which(program) is not None


def followed(
    title: str, contender: str, folder: Path, data: FitData, problem: Problem, options: dict[str, Any]
) -> dict[str, Any]:
    """Run a contender on the rows in a folder, and write down what it reached."""
    name = CONTENDERS[contender]
    python = python_of(name)
    points: list[list[float]] = []
    ended, left_out = (
        "not installed",
        {name: why for name, why in WHY.items() if LACKS[name] is options["grouped"]},
    )
    if python is not None:
        lines = folder / f"{name}.jsonl"
        lines.unlink(missing_ok=True)
        environment = os.environ | dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
        )
        command = [python, "-P", str(RUN), name, str(folder), json.dumps(options)]
        try:
            ran = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=WALL * 4 * options["limit"]
            )
            if ran.stderr.strip():
                print(ran.stderr.strip().splitlines()[-1], flush=True)
        except subprocess.TimeoutExpired:
            print("given up", flush=True)
        said = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
        points = [point for point in said if point != "ended"]
        over = bool(points) and points[-1][0] > options["limit"]
        ended = "stopped" if said[-1:] == ["ended"] and not over else "time limit"
    else:
        left_out[contender] = "not installed"
    return {
        "name": title,
        "extra_info": {
            "family": "sparse",
            "problem": problem.name,
            "dtype": problem.dtype,
            "operation": title.removeprefix(f"{problem.name} ").removesuffix(f" {contender}"),
            "contender": contender,
            "shape": [*data.X.shape, int(data.y.max()) + 1],
            "values": points,
            "ended": ended,
            "limit_seconds": options["limit"],
            "left_out": left_out,
            "in_turn": {},
        },
        "stats": dict.fromkeys(("median", "min", "max"), points[-1][0] if points else options["limit"]),
    }


def optimum_of(ours: dict[str, Any]) -> float:
    """Give the last F of our fit."""
    return float(ours["extra_info"]["values"][-1][1])


def judged(benchmarks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the distance from F*, and when levels were reached: by F* of what is known now."""
    best: dict[tuple[str, str], float] = {}
    for benchmark in benchmarks:
        noted = benchmark["extra_info"]
        key = noted["problem"], noted["operation"]
        if noted["contender"] == OURS and noted["values"]:
            best[key] = min(value for _, value, _ in noted["values"])
    for benchmark in benchmarks:
        noted = benchmark["extra_info"]
        optimum = best.get((noted["problem"], noted["operation"]))
        noted["optimum"], noted["optimum_gap"], noted["first_fit_seconds"] = optimum, None, 0.0
        if optimum is None:
            noted["points"], noted["reached"] = [], {f"{level:.0e}": None for level in LEVELS}
            continue
        points = [Point(seconds, (value - optimum) / optimum, None) for seconds, value, _ in noted["values"]]
        between = noted["contender"] not in (OURS, "glmnet path", "adelie path")
        noted["points"] = points
        noted["reached"] = {f"{level:.0e}": time_to(points, level, between=between) for level in LEVELS}
        if noted["contender"] == OURS:
            noted["ended"] = "time limit" if noted["ended"] == "time limit" else "arrived"
    return benchmarks


def complaints(benchmarks: list[dict[str, Any]]) -> list[str]:
    """Say who is below F*, of a fit of ours that arrived, by more than its tolerance."""
    arrived = {
        (b["extra_info"]["problem"], b["extra_info"]["operation"])
        for b in benchmarks
        if b["extra_info"]["contender"] == OURS and b["extra_info"]["ended"] == "arrived"
    }
    found = []
    for benchmark in benchmarks:
        noted = benchmark["extra_info"]
        least = min((point[1] for point in noted["points"]), default=0.0)
        if least < -TOL and (noted["problem"], noted["operation"]) in arrived:
            found.append(f"{benchmark['name']} is below F* by {-least:.1e} of it")
    return found
