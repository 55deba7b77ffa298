"""The machine card: what a reader needs to judge a timing, and nothing that names the machine or its user."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_info

from bench.contenders import ADDED
from bench.contenders.threads import THREADS
from bench.measure.yardsticks import parallel_copy

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARIES = (
    "fastsoftmax",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-learn-intelex",
    "numba",
    "llvmlite",
    "torch",
    "numexpr",
    "xgboost",
    "xgboost-cpu",
    "lightgbm",
)
VECTOR_UNITS = ("avx2", "fma", "avx512f", "asimd", "sve")


@functools.cache
def card() -> dict[str, Any]:
    """Describe hardware, software and the two limits that everything here runs into."""
    import cpuinfo

    cpu = cpuinfo.get_cpu_info()
    return {
        "cpu": cpu.get("brand_raw", platform.machine()),
        "cores": THREADS,
        "caches": caches(),
        "vector_units": [name for name in VECTOR_UNITS if name in cpu.get("flags", ())],
        "memory_bytes": memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version for name in (*LIBRARIES, *ADDED) if (version := installed(name))},
        "thread_pools": thread_pools(),
        "numba_threading_layer": numba_threading_layer(),
        **limits(),
    }


@functools.cache
def limits() -> dict[str, Any]:
    """Measure, once a process, how fast memory is copied and matrices are multiplied."""
    return {
        "copy_gb_per_s": copy_bandwidth(),
        "gemm_gflop_per_s": {"float32": gemm_rate(np.float32), "float64": gemm_rate(np.float64)},
    }


def caches() -> dict[str, str]:
    """Give the sizes of the first core's data caches as Linux states them; nothing elsewhere."""
    sizes = {}
    for cache in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = ((cache / name).read_text().strip() for name in ("level", "type", "size"))
        if kind != "Instruction":
            sizes[f"L{level}"] = size
    return sizes


def memory() -> int | None:
    """Give the memory of the machine in bytes, or None where the system does not tell."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def installed(name: str) -> str | None:
    """Give the version of a distribution, or None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def thread_pools() -> list[dict[str, Any]]:
    """Describe the BLAS and OpenMP libraries loaded so far, without the paths of their files."""
    kept = ("user_api", "internal_api", "version", "threading_layer", "architecture", "num_threads")
    return [{key: pool[key] for key in kept if key in pool} for pool in threadpool_info()]


def numba_threading_layer() -> str | None:
    """Name the layer Numba chose, or give None where nothing parallel has run in this process."""
    numba = sys.modules.get("numba")
    if numba is None:
        return None
    try:
        return numba.threading_layer()
    except ValueError:  # what Numba raises before its threads are started
        return None


def copy_bandwidth() -> float:
    """Measure GB/s, read and written, of a parallel copy too large for any cache."""
    source = np.ones(1 << 26, np.float32)
    copy = parallel_copy(source, np.empty_like(source))
    return round(2 * source.nbytes / best_of(copy) / 1e9, 1)


def gemm_rate(dtype: type) -> float:
    """Measure GFLOP/s of a square product large enough to be bound by arithmetic."""
    n = 1536
    a, out = np.ones((n, n), dtype), np.empty((n, n), dtype)
    return round(2 * n**3 / best_of(lambda: np.matmul(a, a, out=out)) / 1e9, 1)


def best_of(run: Callable[[], Any], rounds: int = 7) -> float:
    """Give the shortest time of a few: a limit is what the machine does undisturbed."""
    run()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
