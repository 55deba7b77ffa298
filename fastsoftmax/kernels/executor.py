"""Runs a serial kernel over fixed ranges: in a `prange`, in a pool of threads, or in line.

A kernel is a plain function ``kernel(start, stop, part, *arguments)`` that works on the rows (or columns)
from `start` to `stop` and writes what it sums into slot `part`. The ranges depend on the problem and never
on the number of threads, and the slots are added in order afterwards: so all three executors give the same
bits, whatever `n_threads` is.

Which executor is safe depends on Numba's threading layer (GNU OpenMP kills a forked child, the workqueue
aborts on concurrent calls): "auto" takes `prange` only where the layer is omp or tbb and this process is
not a forked child, and the pool everywhere else.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np

from fastsoftmax.kernels import native
from fastsoftmax.kernels.jit import jit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

EXECUTORS = ("auto", "prange", "threads", "inline")
SMALL_WORK = 400_000  # nanoseconds, about: a pool's call costs 25 to 75 µs, so less is done in line


class Kernel(NamedTuple):
    """A serial kernel and the same kernel under a `prange`."""

    serial: Any
    parallel: Any


def kernel(function: Callable[..., None] | None = None, **options: Any) -> Any:
    """Return a `Kernel`: ``function(start, stop, part, *arguments)`` as it is and under a `prange`.

    `options` are those of `jit`.

    Notes
    -----
    Numba cannot keep on disk a loop that takes the kernel as an argument, nor a closure over it; and a kernel
    that it can see it compiles once more into the loop. So the few lines of the loop are made for each kernel
    from one text, and call it by its address. The cache files them under the kernel's own source file.
    """
    if function is None:
        return functools.partial(kernel, **options)
    code = function.__code__
    names = code.co_varnames[3 : code.co_argcount]
    text = (
        f"def {function.__name__}_prange(bounds, serial, {', '.join(names)}):\n"
        f"    for part in prange(bounds.shape[0] - 1):\n"
        f"        call(serial, (bounds[part], bounds[part + 1], int64(part), {', '.join(names)}))\n"
    )
    serial = jit(function, **options)
    scope: dict[str, Any] = {
        "prange": numba.prange, "call": native.call, "int64": np.int64, "__name__": function.__module__
    }  # fmt: skip
    exec(compile(text, code.co_filename, "exec"), scope)
    loop = scope[f"{function.__name__}_prange"]
    return Kernel(serial, jit(loop, parallel=True))


class _State:
    """What this process has chosen, and its pool."""

    def __init__(self) -> None:
        self.chosen = _checked(os.environ.get("FASTSOFTMAX_EXECUTOR") or "auto")
        self.forked = False
        self.prange_is_safe: bool | None = None
        self.pool: ThreadPoolExecutor | None = None
        self.lock = threading.Lock()


def _checked(name: str) -> str:
    if name not in EXECUTORS:
        raise ValueError(f"executor must be one of {', '.join(map(repr, EXECUTORS))}; got {name!r}")
    return name


_state = _State()


def _after_fork() -> None:
    # The child has none of the parent's threads, and GNU OpenMP would kill it at its first parallel loop.
    _state.forked = True
    _state.prange_is_safe = None
    _state.pool = None
    _state.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def set_executor(name: str) -> str:
    """Choose how kernels are run from now on, in this process.

    Parameters
    ----------
    name : {"auto", "prange", "threads", "inline"}
        "auto" takes `prange` where that is safe and a private pool of threads elsewhere; "inline" uses the
        calling thread alone. The environment variable FASTSOFTMAX_EXECUTOR gives the first choice.

    Returns
    -------
    str
        The choice that stood before.

    Raises
    ------
    ValueError
        If the name is none of these.

    Notes
    -----
    The results are the same to the bit. A forced "prange" is obeyed where it can be; in a forked child, or
    where Numba's layer is the workqueue, it would end the process, so the pool is taken there instead.

    Examples
    --------
    >>> import fastsoftmax
    >>> before = fastsoftmax.set_executor("inline")
    >>> fastsoftmax.set_executor(before)
    'inline'
    """
    before, _state.chosen = _state.chosen, _checked(name)
    return before


def available_threads() -> int:
    """Return how many threads a call uses when `n_threads` is None: the processors this process may use."""
    limit = numba.config.NUMBA_NUM_THREADS
    try:
        return max(1, min(limit, len(os.sched_getaffinity(0))))
    except AttributeError:  # macOS and Windows have no affinity call
        return max(1, limit)


def _prange_is_safe() -> bool:
    """Whether Numba's layer takes concurrent calls. Starts the layer, so it is asked at the first use."""
    if _state.forked:
        return False
    if _state.prange_is_safe is None:
        numba.get_num_threads()
        _state.prange_is_safe = numba.threading_layer() in ("omp", "tbb")
    return _state.prange_is_safe


def threading_layer() -> str:
    """Return what runs a large kernel now: "prange (omp)", "threads", or "inline"."""
    name = _choose(SMALL_WORK, available_threads())
    return f"prange ({numba.threading_layer()})" if name == "prange" else name


def _choose(work: float, n_threads: int) -> str:
    if n_threads == 1 or work < SMALL_WORK or _state.chosen == "inline":
        return "inline"
    if _state.chosen == "threads" or not _prange_is_safe():
        return "threads"
    return "prange"


def _pool() -> ThreadPoolExecutor:
    with _state.lock:
        if _state.pool is None:
            _state.pool = ThreadPoolExecutor(max(1, available_threads() - 1), "fastsoftmax")
        return _state.pool


def _run_in_pool(serial: Any, bounds: NDArray[np.int64], arguments: tuple[Any, ...], n_threads: int) -> None:
    parts = itertools.count()  # next() on it is atomic: every part is taken once, by whoever is free
    n_parts = len(bounds) - 1

    def work() -> None:
        for part in parts:
            if part >= n_parts:
                return
            serial(bounds[part], bounds[part + 1], part, *arguments)

    helpers = [_pool().submit(work) for _ in range(min(n_threads, n_parts) - 1)]
    try:
        work()  # the calling thread works too, so a pool that is busy only slows a call down
    finally:
        for helper in helpers:
            if not helper.cancel():
                helper.result()


def run(
    kernel: Kernel, bounds: NDArray[np.int64], *arguments: Any, work: float, n_threads: int | None = None
) -> None:
    """Run a kernel over the ranges between neighbouring bounds.

    Parameters
    ----------
    kernel : Kernel
    bounds : ndarray (n_parts + 1,), int64
        Part i covers rows bounds[i] to bounds[i + 1].
    *arguments
        Passed on to the kernel after start, stop and part.
    work : float
        About how many nanoseconds one thread needs for all of it; small work is done in line.
    n_threads : int, optional
        None takes every processor the process may use.
    """
    threads = available_threads() if n_threads is None else max(1, int(n_threads))
    n_parts = len(bounds) - 1
    chosen = _choose(work, threads) if n_parts > 1 else "inline"
    if chosen == "inline":
        for part in range(n_parts):
            kernel.serial(bounds[part], bounds[part + 1], part, *arguments)
    elif chosen == "threads":
        _run_in_pool(kernel.serial, bounds, arguments, threads)
    else:
        mask = numba.get_num_threads()
        numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        try:
            kinds = (numba.typeof(argument) for argument in arguments)
            serial = native.address_of(kernel.serial, *(numba.int64,) * 3, *kinds)
            kernel.parallel(bounds, serial, *arguments)
        finally:
            numba.set_num_threads(mask)


def even_bounds(n: int, n_parts: int) -> NDArray[np.int64]:
    """Return the bounds that cut n rows into at most n_parts ranges of nearly equal length."""
    n_parts = max(1, min(n_parts, n))
    return np.arange(n_parts + 1, dtype=np.int64) * n // n_parts
