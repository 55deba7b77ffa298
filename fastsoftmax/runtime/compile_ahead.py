"""Kernels compiled in processes of their own, while this one compiles others or waits.

Numba compiles one function at a time in a process. So where a piece of work is about to compile a list of
kernels, other processes begin at its end, and keep what they have compiled on disk; this one takes them from
there when it comes to them. Nothing else is shared: a process that fails, or is late, costs its time alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastsoftmax.runtime import compiling, executor, kernels, lazy_imports, library

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Planned = tuple[str, str, str]  # module, name, signature

LIMIT = "FASTSOFTMAX_COMPILERS"  # at most so many processes compile at once, this one included
MAX_COMPILERS = 4  # by default: a list of twenty kernels holds three that take half of the time
WORTH_IT = 6  # kernels, at least: starting a process takes as long as compiling two
# Read by a process before anything else: modules are to be found where its parent finds them.
CODE = """
import json, sys
job = json.load(sys.stdin)
sys.path[:] = job["path"]
from fastsoftmax.runtime.compile_ahead import work
work(job["plan"])
"""


def limit() -> int:
    """Return how many processes may compile at once. ValueError if FASTSOFTMAX_COMPILERS is no number."""
    text = os.environ.get(LIMIT)
    if not text:
        return min(executor.available_threads(), MAX_COMPILERS)
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{LIMIT} must be a positive number; got {text!r}")
    return int(text)


@contextlib.contextmanager
def helping(plan: Sequence[Planned] | None, n_threads: int | None = None) -> Iterator[None]:
    """Let other processes compile the end of a plan as soon as the body compiles a kernel.

    Parameters
    ----------
    plan : sequence of (module, name, signature), optional
        What the body will compile, the first first. Without one nothing is done.
    n_threads : int, optional
        Of the body's work: as many processes compile at most, this one included.

    Notes
    -----
    Nothing is done where kernels come from the library, are interpreted, cannot be kept on disk, in a worker
    of a pool of processes, or where this is no ordinary Python whose program can be started again. The
    processes end with the body.
    """
    most = limit() if n_threads is None else min(limit(), n_threads)
    if plan is None or len(plan) < WORTH_IT or most < 2 or not _can_start():
        yield
        return
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        if compiling.keeps_kernels():
            parts = [plan[::-1][part :: most - 1] for part in range(most - 1)]
            processes.extend(started(part) for part in parts)

    try:
        with compiling.at_first(start):
            yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _can_start() -> bool:
    if library.is_in_use() or kernels.is_interpreted():
        return False
    # Workers of a pool are as many as there are cores already, and all need the same.
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.current_process().name != "MainProcess":
        return False
    # An application that holds Python within itself would be started in its place.
    return "python" in Path(sys.executable or "").name.lower() and not getattr(sys, "frozen", False)


def started(plan: Sequence[Planned]) -> subprocess.Popen[bytes]:
    """Return a process that compiles a plan, in its order, for the cache on disk."""
    environment = os.environ | {LIMIT: "1", library.CHOICE: "jit"}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it has ended already, and helps no more
        process.stdin.write(json.dumps({"path": sys.path, "plan": plan}).encode())
        process.stdin.close()
    return process


def work(plan: Sequence[Planned]) -> None:
    """Compile each kernel of a plan, or load it from the cache."""
    for planned in plan:
        compile_one(*planned)


def compile_one(module: str, name: str, signature: str) -> None:
    """Compile a function for arguments of a signature, unless it is in the cache."""
    found: Any = getattr(lazy_imports.module(module), name)
    native: Any = lazy_imports.module("fastsoftmax.runtime.native")
    if hasattr(found, "serial"):  # a kernel, with start, stop and part
        found, signature = found.serial, f"q,q,q,{signature}" if signature else "q,q,q"
    native.address_of(found, *native.kinds(signature))


def compile_all(plan: Sequence[Planned], n_processes: int) -> Iterator[int]:
    """Compile a plan in so many processes, and yield how many of these have ended, each time one ends.

    RuntimeError if one fails.
    """
    processes = [started(plan[part::n_processes]) for part in range(min(n_processes, len(plan)))]
    try:
        for n_ended, process in enumerate(processes, start=1):
            if process.wait():
                raise RuntimeError(
                    f"kernels could not be compiled: a process ended with {process.returncode}"
                )
            yield n_ended
    finally:
        for process in processes:
            process.kill()
            process.wait()
