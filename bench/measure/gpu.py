"""What a GPU does: its ceilings first, then row kernels, passes over X and a fit, beside others.

Times are CUDA events around single calls, contenders in turn, medians of the rounds. A copy of as many bytes
as a row kernel moves, and the matrix products of a pass, are the ceilings.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import statistics
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROUNDS = 11
CLASSES = [2**power for power in range(5, 19)]
PASSES = {"1000000x512x100": (1_000_000, 512, 100), "1280000x2048x1000": (1_280_000, 2048, 1000)}
SPARSE = (1_000_000, 50_000, 20, 100)  # rows, features, classes, entries a row
GAP = 1e-4
ON_GPU, ON_HOST = "on the GPU", "on the host"  # where rows lie


class Sizes(NamedTuple):
    """How large the problems are: elements of the logits, and what rows are divided by."""

    elements: int
    fewer: int


FULL, QUICK = Sizes(2**28, 1), Sizes(2**24, 64)


def seconds_in_turn(xp: Any, runs: dict[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """Give the median seconds of a call of each, measured on the device."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for lap in range(rounds + 2):  # two to warm up: kernels are compiled, memory is taken
        for name, run in runs.items():
            start, stop = xp.cuda.Event(), xp.cuda.Event()
            start.record()
            run()
            stop.record()
            stop.synchronize()
            if lap >= 2:
                taken[name].append(xp.cuda.get_elapsed_time(start, stop) / 1e3)
    return {name: statistics.median(times) for name, times in taken.items()}


def ceilings(xp: Any, sizes: Sizes) -> dict[str, float]:
    """Measure bytes a second of copies, there and from the host, and flops a second of matrix products."""
    from fastsoftmax.kernels.cuda.runtime import transfers

    a = xp.ones(sizes.elements, np.float32)
    b = xp.empty_like(a)
    copied = seconds_in_turn(xp, {"copy": lambda: xp.copyto(b, a)})["copy"]
    found = {"copy_gb_per_s": 2 * a.nbytes / copied / 1e9}
    bring = transfers()
    pinned, buffer, n_bytes = bring.pinned(2**26), bring.device_buffer(2**26), 2**26
    once = {"copy": lambda: bring.copy(pinned, buffer, n_bytes, bring.current())}
    found["from_host_gb_per_s"] = n_bytes / seconds_in_turn(xp, once)["copy"] / 1e9
    order = 8192 if sizes is FULL else 1024
    for name in ("float32", "float64"):
        m = xp.ones((order, order), name)
        out = xp.empty_like(m)
        once = seconds_in_turn(xp, {"gemm": lambda m=m, out=out: xp.matmul(m, m, out=out)})["gemm"]
        found[f"gemm_{name}_tflop_per_s"] = 2 * order**3 / once / 1e12
    return found


def others(operation: str, x: Any, target: Any, bf16: bool) -> dict[str, Callable[[], Any]]:
    """Give PyTorch's and Liger's ways of an operation, where they are installed."""
    if importlib.util.find_spec("torch") is None:
        return {}
    import torch

    if not torch.cuda.is_available():
        return {}
    z = torch.from_dlpack(x.view(np.int16)).view(torch.bfloat16) if bf16 else torch.from_dlpack(x)
    y = torch.from_dlpack(target)

    def softmax(z: Any) -> Any:
        return torch.softmax(z, 1)

    def cross_entropy(z: Any) -> Any:
        free = z.detach().requires_grad_(True)
        value = torch.nn.functional.cross_entropy(free, y, reduction="sum")
        return torch.autograd.grad(value, free)

    eager = {"softmax": softmax, "cross_entropy": cross_entropy}[operation]
    compiled = torch.compile(eager, dynamic=False)
    runs = {"torch": lambda: eager(z), "torch.compile": lambda: compiled(z)}
    if operation == "cross_entropy" and importlib.util.find_spec("liger_kernel") is not None:
        from liger_kernel.ops.cross_entropy import LigerCrossEntropyFunction

        def liger() -> Any:
            # It writes over its logits: on ever the same array, which changes no time.
            free = z.detach().requires_grad_(True)
            return LigerCrossEntropyFunction.apply(free, y, None, -100, 0.0, 0.0, "sum")

        runs["liger"] = liger
    return runs


def row_kernels(xp: Any, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Time softmax, and cross-entropy with its gradient, from 32 to 262,144 classes."""
    from fastsoftmax.kernels.cuda import rows
    from fastsoftmax.losses import softmax

    for form, n_classes in ((form, k) for form in ("float32", "bfloat16") for k in CLASSES):
        n_rows = max(1, sizes.elements // n_classes)
        bf16 = form == "bfloat16"
        drawn = xp.random.default_rng(0).standard_normal((n_rows, n_classes), dtype=np.float32)
        x = (drawn.view(np.uint32) >> 16).astype(np.uint16) if bf16 else drawn
        target = xp.arange(n_rows, dtype=np.int64) % n_classes
        out = xp.empty_like(x)
        loss = softmax.for_targets(np.zeros(1, np.int64), n_classes)
        ours = {
            "softmax": lambda x=x, out=out: rows.write_map("softmax", x, out),
            "cross_entropy": lambda x=x, out=out, target=target, loss=loss: rows.row_losses(
                loss, x, target, slopes=out
            ),
        }
        for operation, run in ours.items():
            contenders = {"fastsoftmax": run, "copy": lambda x=x, out=out: xp.copyto(out, x)}
            contenders |= others(operation, x, target, bf16)
            times = seconds_in_turn(xp, contenders)
            yield {
                "operation": operation, "dtype": form, "rows": n_rows, "classes": n_classes, "seconds": times,
                "gb_per_s": {name: 2 * x.nbytes / seconds / 1e9 for name, seconds in times.items()},
            }  # fmt: skip


def embeddings(xp: Any, n_rows: int, n_features: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw rows like a network's embeddings: a class's mean, noise of a falling spectrum, rectified."""
    rng = xp.random.default_rng(0)
    means = rng.standard_normal((n_classes, n_features), dtype=np.float32)
    scale = xp.asarray(np.arange(1, n_features + 1, dtype=np.float32) ** -0.5)
    X, y = np.empty((n_rows, n_features), np.float32), np.arange(n_rows) * 7919 % n_classes
    for first in range(0, n_rows, 2**16):
        own = xp.asarray(y[first : first + 2**16])
        noise = 4 * rng.standard_normal((len(own), n_features), dtype=np.float32)
        X[first : first + len(own)] = xp.asnumpy(xp.maximum((means[own] + noise) * scale, 0))
    return X, y


def as_bf16(there: Any) -> Any:
    """Give rows on the GPU as bfloat16, cut off: as another library's array of them is seen."""
    from fastsoftmax.contracts import DeviceArray

    bits = (there.view(np.uint32) >> 16).astype(np.uint16)
    return DeviceArray(bits, lambda result: result, contextlib.nullcontext, bf16=True)


@contextlib.contextmanager
def with_rows_on_the_host() -> Iterator[None]:
    """Have the GPU say that no rows fit it: they are fetched from the host in every pass."""
    from fastsoftmax.kernels.cuda import blocks

    before, blocks.has_memory = blocks.has_memory, lambda n_bytes: False
    try:
        yield
    finally:
        blocks.has_memory = before


def passes(xp: Any, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Time a value with its gradient and a Hessian-vector product beside their matrix products.

    With the parameters on the host and on the GPU, of rows that are on the GPU as float32 and as bfloat16,
    and of rows on the host, for which there is said to be no room.
    """
    from fastsoftmax import SoftmaxObjective
    from fastsoftmax.contracts import RowBlock

    for name, (n_rows, n_features, n_classes) in PASSES.items():
        X, y = embeddings(xp, n_rows // sizes.fewer, n_features, n_classes)
        there, W = xp.asarray(X), xp.zeros((n_classes, n_features), np.float32)
        few = there[: 2**16]
        Z = few @ W.T
        products = {"products": lambda a=few, W=W, Z=Z: (xp.matmul(a, W.T, out=Z), Z.T @ a)}
        options = {"n_classes": n_classes, "l2": 1e-4, "device": "cuda"}
        for form, place in (("float32", ON_GPU), ("bfloat16", ON_GPU), ("float32", ON_HOST)):
            if form == "bfloat16":
                block = RowBlock(as_bf16(there), y, np.ones(len(y)))
                objective = SoftmaxObjective.of_rows(block, **options)
            else:
                objective = SoftmaxObjective(there if place == ON_GPU else X, y, **options)
            with with_rows_on_the_host() if place == ON_HOST else contextlib.nullcontext():
                times = seconds_in_turn(xp, pass_runs(xp, objective) | products, rounds=5)
            times["products"] *= len(X) / len(few)
            yield {"problem": name, "rows": len(X), "dtype": form, "place": place, "seconds": times}
    yield sparse_pass(xp, sizes)


def pass_runs(xp: Any, objective: Any) -> dict[str, Callable[[], Any]]:
    """Give the passes of an objective, with parameters on the host and on the GPU."""
    here = np.zeros(objective.n_params)
    given = xp.asarray(here)
    return {
        "value_and_grad": lambda: objective.value_and_grad(here),
        "value_and_grad, no wait": lambda: objective.value_and_grad(given),
        "hessp": lambda: objective.hessp(here, here),
        "hessp, no wait": lambda: objective.hessp(given, given),
    }


def sparse_pass(xp: Any, sizes: Sizes) -> dict[str, Any]:
    """Time a pass over sparse rows beside cuSPARSE's products."""
    import cupyx.scipy.sparse as csp
    import scipy.sparse as sp

    from fastsoftmax import SoftmaxObjective

    n_rows, n_features, n_classes, entries = SPARSE
    n_rows //= sizes.fewer
    rng = np.random.default_rng(0)
    columns = rng.integers(0, n_features, n_rows * entries, dtype=np.int32)
    starts = np.arange(n_rows + 1, dtype=np.int32) * entries
    X = sp.csr_array((np.ones(len(columns), np.float32), columns, starts), shape=(n_rows, n_features))
    X.sum_duplicates()
    y = np.arange(n_rows) % n_classes
    objective = SoftmaxObjective(X, y, n_classes=n_classes, l2=1e-4, device="cuda")
    there = csp.csr_matrix(sp.csr_matrix(X))
    W, Z = xp.zeros((n_features, n_classes), np.float32), xp.zeros((n_rows, n_classes), np.float32)
    products = {"products": lambda: (there @ W, there.T @ Z)}
    times = seconds_in_turn(xp, pass_runs(xp, objective) | products, rounds=5)
    return {"problem": "sparse", "rows": n_rows, "dtype": "float32", "place": ON_GPU, "seconds": times}


def fit(xp: Any, sizes: Sizes) -> dict[str, Any]:
    """Train to a relative gap of GAP on the larger problem; give the history."""
    from fastsoftmax import SoftmaxRegression

    n_rows, n_features, n_classes = PASSES["1280000x2048x1000"]
    X, y = embeddings(xp, n_rows // sizes.fewer, n_features, n_classes)
    start = time.perf_counter()
    model = SoftmaxRegression(device="cuda", tol=GAP).fit(X, y)
    seconds = time.perf_counter() - start
    history = [[record.seconds, record.objective, record.gap, record.passes] for record in model.history_]
    return {"seconds": seconds, "solver": model.solver_, "rows": len(X), "history": history}


def run(path: Path, quick: bool) -> dict[str, Any]:
    """Measure everything into a JSON file, which is written after each part."""
    from bench.measure import results
    from fastsoftmax.kernels.cuda import runtime

    runtime.require()
    xp = runtime.arrays()
    sizes = QUICK if quick else FULL
    properties = xp.cuda.runtime.getDeviceProperties(0)
    found: dict[str, Any] = {
        "gpu": properties["name"].decode(),
        "memory_bytes": properties["totalGlobalMem"],
        "quick": quick,
        "commit_info": results.commit(),
        "ceilings": ceilings(xp, sizes),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    parts: dict[str, Callable[[], Any]] = {
        "rows": lambda: list(row_kernels(xp, sizes)),
        "passes": lambda: list(passes(xp, sizes)),
        "fit": lambda: fit(xp, sizes),
    }
    began = time.perf_counter()
    for name, part in parts.items():
        found[name] = part()
        found["seconds"] = time.perf_counter() - began
        path.write_text(json.dumps(found, indent=2))
    return found
