"""Dask: readings and fits on two workers of one thread beside one process with two, memory, and others' fits.

The blocks are the same on both sides. A reading is one value and gradient; CSR blocks and 10 MB of parameters
are the hardest case, since each block has a gradient of that size.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dask
import numpy as np
import scipy.sparse as sp

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS, NotOfferedError, naive
from bench.contenders.clusters import Point, dask_ml, spark
from bench.measure import results
from bench.measure.steps import Step, with_words
from bench.measure.timing import seconds_of, summary
from bench.problems.archives import archive, tfidf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEVEL = 1e-4  # relative, of F above F*
LOCAL = "one process"
PEER_SECONDS = 600.0
ITERATIONS = (10, 20, 30, 40, 80, 160, 320, 400, 480)


class Sizes(NamedTuple):
    """Rows a block of the readings, rows of Fashion-MNIST in fits and for the others, rounds."""

    sparse_rows: int
    fashion_rows: int
    peer_rows: int
    rounds: int


FULL = Sizes(4_000, 60_000, 10_000, 5)
QUICK = Sizes(200, 5_000, 2_000, 3)


def steps(sizes: Sizes, words: str) -> list[Step]:
    """Give a step for each subject whose name contains all the words."""
    subjects: tuple[tuple[str, Callable[[Sizes], list[dict[str, Any]]]], ...] = (
        ("reading", reading),
        ("fit fashion_mnist", functools.partial(fit, "fashion_mnist")),
        ("fit newsgroups20", functools.partial(fit, "newsgroups20")),
        ("memory", memory),
        ("peers spark", functools.partial(peers, "spark")),
        ("peers dask-ml", functools.partial(peers, "dask-ml")),
    )
    return with_words(
        [Step(name, functools.partial(said, name, make, sizes)) for name, make in subjects], words
    )


def said(name: str, make: Callable[[Sizes], list[dict[str, Any]]], sizes: Sizes) -> list[dict[str, Any]]:
    """Measure a subject, after a line that names it."""
    print(name, flush=True)
    return make(sizes)


def cluster() -> Any:
    """Give a LocalCluster of two workers of one thread."""
    from distributed import LocalCluster

    return LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50)


def client(of: Any) -> Any:
    """Give a client that asks workers for sums itself, not the scheduler, as many a cluster allows."""
    from distributed import Client

    return Client(of, set_as_default=False, direct_to_workers=True)


def drawn(number: int, n_rows: int, d: int = 2**17) -> sp.csr_array:
    """Draw a block of rows with 60 numbers each of d."""
    rng, per_row = np.random.default_rng(number), 60
    indices = rng.integers(0, d, n_rows * per_row).astype(np.int32)
    indptr = np.arange(n_rows + 1, dtype=np.int32) * per_row
    return sp.csr_array((np.ones(len(indices), np.float32), indices, indptr), shape=(n_rows, d))


def drawn_labels(number: int, n_rows: int) -> np.ndarray:
    """Draw the labels of a block, of ten classes."""
    return np.random.default_rng(1000 + number).integers(0, 10, n_rows)


def reading(sizes: Sizes) -> list[dict[str, Any]]:
    """Time a reading of 64 CSR blocks with 10 MB of parameters, there and here in turn."""
    from fastsoftmax import SoftmaxObjective, on_workers
    from fastsoftmax.contracts.queries import LossGrad

    blocks = [dask.delayed(drawn)(i, sizes.sparse_rows) for i in range(64)]
    labels = [dask.delayed(drawn_labels)(i, sizes.sparse_rows) for i in range(64)]
    with cluster() as workers, client(workers) as the_client:
        given = (blocks, labels), tuple(the_client.compute(of) for of in (blocks, labels))
        here, there = (on_workers(*of, memory="100M") for of in given)
        objectives = [SoftmaxObjective(rows, l2=1e-3, n_threads=n) for rows, n in ((here, 2), (there, None))]
        x = np.random.default_rng(0).normal(size=objectives[0].n_params) * 1e-2
        query = LossGrad(objectives[0].unpack(x))
        local, remote = (functools.partial(each._rows.source.sum, query) for each in objectives)
        same = local().joined.tobytes() == remote().joined.tobytes()
        laps = [(seconds_of(remote), seconds_of(local)) for _ in range(3 * sizes.rounds)]
    noted = {"bits_equal": same, "parameter_bytes": x.nbytes, "blocks": 64}
    return [entry("reading", "64 CSR blocks, 10 MB", *np.transpose(laps), noted)]


def fit(name: str, sizes: Sizes) -> list[dict[str, Any]]:
    """Time whole fits of a real set in 16 blocks, there and here in turn."""
    from fastsoftmax import SoftmaxRegression, on_workers

    z = archive(name)
    if name == "fashion_mnist":
        X, y = z["X_train"].reshape(len(z["y_train"]), -1)[: sizes.fashion_rows], z["y_train"]
        options, y = {"C": 1e-6, "tol": 1e-4}, y[: sizes.fashion_rows]
    else:
        X, y, options = tfidf(z, "train").astype(np.float32), z["y_train"], {"C": 1.0, "tol": 1e-4}
    cuts = np.array_split(np.arange(X.shape[0]), 16)
    blocks = [[of[part[0] : part[-1] + 1] for part in cuts] for of in (X, y)]
    lists = [[dask.delayed(part, pure=False) for part in of] for of in blocks]
    with cluster() as workers, client(workers) as the_client:
        here, there = (
            on_workers(*lists, memory="64M"),
            on_workers(*(the_client.compute(of) for of in lists), memory="64M"),
        )
        here.look(), there.look()
        models: dict[str, Any] = {}

        def run(side: str, rows: Any, n_threads: int | None) -> None:
            models[side] = SoftmaxRegression(n_threads=n_threads, **options).fit(rows)

        laps = [
            (seconds_of(lambda: run("there", there, None)), seconds_of(lambda: run("here", here, 2)))
            for _ in range(3)
        ]
    noted = {
        "bits_equal": models["there"].coef_.tobytes() == models["here"].coef_.tobytes(),
        "readings": models["there"].history_[-1].passes,
    }
    return [entry("fit", name, *np.transpose(laps), noted)]


def memory(sizes: Sizes) -> list[dict[str, Any]]:
    """Measure the client's peak memory in fits of n and of 8 n rows, and of one that runs in a task."""
    found, wide = [], 2**17
    cases = (
        (wide, 8, False), (wide, 64, False), (wide // 10, 8, False), (wide, 8, True), (wide, 64, True)
    )  # fmt: skip
    for d, n_blocks, in_task in cases:
        with cluster() as workers, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            given = workers.scheduler_address, n_blocks, sizes.sparse_rows, d
            noted = pool.submit(client_memory, *given, in_task=in_task).result()
        name = f"{n_blocks * sizes.sparse_rows:,} rows, {noted['parameter_bytes'] / 2**20:.0f} MiB"
        found.append(entry("memory", f"{name}, in a task" if in_task else name, *np.ones((2, 1)), noted))
    return found


def client_memory(address: str, n_blocks: int, n_rows: int, d: int, *, in_task: bool) -> dict[str, Any]:
    """Fit in this process, whose workers and scheduler are others, and give its peak above the start.

    A small fit before has imported what there is to import. What is in use before that one is not counted.
    """
    with client(address) as the_client:
        fitted(lists(4, 100, 2000), the_client)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is from here on
        before = status("VmRSS")
        if in_task:
            model = fitted(lists(n_blocks, n_rows, d), the_client, on_worker=True)
        else:
            model = fitted(lists(n_blocks, n_rows, d), the_client)
        peak = status("VmHWM")
    return {"bytes": peak - before, "parameter_bytes": 8 * (model.coef_.size + 10)}


def lists(n_blocks: int, n_rows: int, d: int) -> list[Any]:
    """Give X and y as lists of delayed blocks."""
    X = [dask.delayed(drawn)(i, n_rows, d) for i in range(n_blocks)]
    return [X, [dask.delayed(drawn_labels)(i, n_rows) for i in range(n_blocks)]]


def fitted(blocks: list[Any], the_client: Any, *, on_worker: bool = False) -> Any:
    """Give the fit of blocks that a client's workers make; its own vectors may be on one of them as well."""
    from fastsoftmax import SoftmaxRegression, fit_on_worker, on_workers

    model = SoftmaxRegression(C=1e-4, tol=1e-3)
    with the_client.as_current():
        if on_worker:
            return fit_on_worker(model, on_workers(*blocks, memory="64M"))
        return model.fit(on_workers(*map(the_client.compute, blocks), memory="64M"))


def status(name: str) -> int:
    """Give a number of bytes that the system has of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def peers(name: str, sizes: Sizes) -> list[dict[str, Any]]:
    """Time fits to the same relative distance from the optimum, by us on a cluster and by another engine."""
    from fastsoftmax import SoftmaxRegression, on_workers

    z = archive("fashion_mnist")
    X, y = z["X_train"].reshape(len(z["y_train"]), -1).astype(np.float64) / 255.0, z["y_train"]
    if name == "dask-ml":
        kept = np.flatnonzero((y == 2) | (y == 6))[: sizes.peer_rows]  # pullovers and shirts
        X, y = X[kept], (y[kept] == 6).astype(np.int64)
    else:
        # Spark divides features by their deviations inside, whatever `standardization` says, and its steps
        # are as bad as the penalty is then conditioned: of pixels as they are, 2e7.
        X, y = X[: sizes.peer_rows], y[: sizes.peer_rows]
        deviation = X.std(axis=0, ddof=1)
        X = np.ascontiguousarray(X[:, deviation > 0] / deviation[deviation > 0])
    options = {"C": 0.01, "fit_intercept": name != "dask-ml"}

    def objective(coef: np.ndarray, intercept: np.ndarray) -> float:
        return naive.objective(coef, intercept, X, y, options["C"])

    best_model = SoftmaxRegression(tol=1e-7, **options).fit(X, y)
    best = objective(best_model.coef_, best_model.intercept_)
    lists = [[dask.delayed(part, pure=False) for part in np.array_split(of, 8)] for of in (X, y)]
    warnings.simplefilter("ignore", UserWarning)  # of the size of the graph, in which the rows are
    ours, model = [], None
    with cluster() as workers, client(workers) as the_client:
        futures = [the_client.compute(of) for of in lists]
        for _ in range(sizes.rounds + 1):
            start = time.perf_counter()
            model = SoftmaxRegression(tol=LEVEL, **options).fit(on_workers(*futures, memory="256M"))
            ours.append(time.perf_counter() - start)
    assert model is not None
    reached = objective(model.coef_, model.intercept_)
    assert reached <= best * (1 + LEVEL), "our fit is not at the level"
    given = {"C": options["C"], "iterations": ITERATIONS, "blocks": 8, "solver": "lbfgs"}
    run: Callable[..., Iterator[Point]] = spark if name == "spark" else dask_ml
    curve = []
    try:
        for point in run(X, y, given, PEER_SECONDS):
            excess = objective(point.coef, point.intercept) / best - 1
            curve.append((point.iterations, point.seconds, excess))
            print(
                f"  {name}: {point.iterations} iterations, {point.seconds:.1f} s, excess {excess:.1e}",
                flush=True,
            )
            if excess <= LEVEL:
                break
    except NotOfferedError as missing:
        print(f"  {missing}")
        return []
    noted = {"curve": curve, "reached": bool(curve and curve[-1][2] <= LEVEL), "excess": reached / best - 1}
    other = np.full(sizes.rounds, curve[-1][1])
    return [entry(f"peers {name}", f"Fashion-MNIST, {len(y):,} rows", np.array(ours[1:]), other, noted, name)]


def entry(
    part: str, problem: str, there: np.ndarray, here: np.ndarray, noted: dict[str, Any], other: str = LOCAL
) -> dict[str, Any]:
    """Give a benchmark as pytest-benchmark saves it: seconds there, and its ratio to those here."""
    stats = {"median": float(np.median(there)), "min": float(there.min()), "max": float(there.max())}
    return {
        "name": f"{part}: {problem}",
        "stats": stats,
        "extra_info": {
            "family": "dask", "problem": f"{part}: {problem}", "dtype": "", "operation": part,
            "contender": OURS, "part": part, "yardstick": other, "in_turn": {other: summary(there, here)},
            "taken": {"commit": results.commit()["id"], "load": round(os.getloadavg()[2], 1)},
        } | noted,
    }  # fmt: skip
