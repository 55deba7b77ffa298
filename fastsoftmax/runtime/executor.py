"""Runs a serial kernel over fixed ranges: in a `prange`, in a pool of threads, or in line.

A kernel is a plain function ``kernel(start, stop, part, *arguments)`` that works on the rows (or columns)
from `start` to `stop` and writes what it sums into slot `part`. The ranges depend on the problem and never
on the number of threads, and the slots are added in order afterwards: so all three executors give the same
bits, whatever `n_threads` is.

Which executor is safe depends on Numba's threading layer (GNU OpenMP kills a forked child, the workqueue
aborts on concurrent calls): "auto" takes `prange` only where Numba compiles the kernels, the layer is omp or
tbb and this process is not a forked child, and the pool everywhere else: a library has no `prange`.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import os
import pathlib
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts.wording import shown
from fastsoftmax.runtime import lazy_imports, library, thread_pool
from fastsoftmax.runtime.crowding import Crowding
from fastsoftmax.runtime.forks import at_fork
from fastsoftmax.runtime.kernels import is_interpreted
from fastsoftmax.runtime.signatures import signature_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastsoftmax.runtime.kernels import Kernel

logger = logging.getLogger(__name__)

EXECUTORS = ("auto", "prange", "threads", "inline")
PYTHON_THREADS = 8  # that call NumPy: more would wait for Python's lock, and each has its buffers
SMALL_WORK = 400_000  # nanoseconds, about: a pool's call costs 25 to 75 µs, so less work is done in line
# Nanoseconds, about, that a thread works without a return to Python, in which signal handlers (Ctrl-C) can
# run: a thirtieth of a second is not noticed, and some microseconds a return cost nothing beside it.
SLICE_WORK = 30_000_000
FORKED_AND_NOT_EXECUTED = 0x40  # PF_FORKNOEXEC among the flags of a Linux process


def _checked(name: str) -> str:
    if name not in EXECUTORS:
        raise ValueError(f"executor must be one of {', '.join(map(repr, EXECUTORS))}; got {shown(name)}")
    return name


def _may_be_forked() -> bool:
    """Return whether a parent process may have started Numba's threading layer, before the fork hooks.

    Linux flags processes that are forks and have executed no program since. Where that cannot be read, the
    answer is True.
    """
    if library.numba_config() is None:
        return False
    try:
        sys.modules["numba"].threading_layer()
    except ValueError:  # it has not been started
        return False
    try:
        stat = pathlib.Path("/proc/self/stat").read_text()
    except OSError:
        return True
    flags = int(stat[stat.rindex(")") :].split()[7])  # the name in parentheses may hold spaces
    return flags == 0 or bool(flags & FORKED_AND_NOT_EXECUTED)


class _State:
    """The chosen executor of this process, and whether it may use `prange`."""

    def __init__(self) -> None:
        self.chosen = _checked(os.environ.get("FASTSOFTMAX_EXECUTOR") or "auto")
        self.forked = _may_be_forked()
        self.prange_is_safe: bool | None = None
        self.crowding = Crowding()


_state = _State()
_addresses: dict[Any, Any] = {}


def _after_fork() -> None:
    # GNU OpenMP would kill the child at its first parallel loop.
    _state.forked = True
    _state.prange_is_safe = None


at_fork(in_child=_after_fork)


def set_executor(name: str) -> str:
    """Choose how kernels are run from now on, in this process.

    Parameters
    ----------
    name : {"auto", "prange", "threads", "inline"}
        "auto" takes `prange` where that is safe and Numba compiles the kernels, and a private pool of threads
        elsewhere, and for a while when other processes turn out to be on the cores; "inline" uses the calling
        thread alone. The environment variable FASTSOFTMAX_EXECUTOR gives the first choice.

    Returns
    -------
    str
        The previous choice.

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


def _most_threads() -> int:
    """Return Numba's NUMBA_NUM_THREADS, without an import of Numba."""
    config = library.numba_config()
    if config is not None:
        return int(config.NUMBA_NUM_THREADS)
    return int(os.environ.get("NUMBA_NUM_THREADS") or os.cpu_count() or 1)


def available_threads() -> int:
    """Return the number of threads for `n_threads` None: the processors that this process may use."""
    limit = _most_threads()
    try:
        return max(1, min(limit, len(os.sched_getaffinity(0))))
    except AttributeError:  # macOS and Windows have no affinity call
        return max(1, limit)


def _prange_is_safe() -> bool:
    """Return whether Numba's layer allows concurrent calls. Starts the layer, hence called on first use."""
    if _state.forked or is_interpreted():  # plain Python has no prange
        return False
    if _state.prange_is_safe is None:
        try:
            import numba

            numba.get_num_threads()
            _state.prange_is_safe = numba.threading_layer() in ("omp", "tbb")
        except (ImportError, ValueError) as error:  # no layer that NUMBA_THREADING_LAYER allows, or no Numba
            reason = str(error).partition("\n")[0]
            logger.warning("fastsoftmax: a pool of threads takes the place of Numba's (%s)", reason)
            _state.prange_is_safe = False
    return _state.prange_is_safe


def threading_layer() -> str:
    """Return the executor of a large kernel: "prange (omp)", "prange (tbb)", "threads", or "inline"."""
    name = _choose(SMALL_WORK, available_threads())
    return f"prange ({sys.modules['numba'].threading_layer()})" if name == "prange" else name


def _choose(work: float, n_threads: int) -> str:
    if n_threads == 1 or work < SMALL_WORK or _state.chosen == "inline":
        return "inline"
    if _state.chosen == "threads" or (library.is_in_use() and not _compiles_loops()):
        return "threads"
    return "prange" if _prange_is_safe() else "threads"


def _compiles_loops() -> bool:
    """Return whether the loop of a `prange`, which no library has, is compiled where one is in use."""
    return _state.chosen == "prange" and library.choice() != "compiled"


def _run_serially(
    serial: Callable[[int, int, int], object], bounds: list[int], step: int, part: int
) -> Iterator[None]:
    """Run one part in this thread, `step` rows at a time, and yield after each step."""
    first, last = bounds[part], bounds[part + 1]
    for start in range(first, max(last, first + 1), step):  # an empty part is run, too
        serial(start, min(start + step, last), part)
        yield


def _run_in_prange(
    kernel: Kernel, bounds: NDArray[np.int64], step: int, parts_at_a_time: int, arguments: tuple[Any, ...]
) -> None:
    """Run groups of parts in a `prange`: of all parts of a group the first `step` rows, then the next."""
    serial = _address_of(kernel, arguments)
    n_parts = len(bounds) - 1
    for left in range(0, n_parts, parts_at_a_time):
        right = min(left + parts_at_a_time, n_parts)
        starts, ends = bounds[left:right], bounds[left + 1 : right + 1]
        for offset in range(0, max(1, int((ends - starts).max())), step):
            pieces = np.zeros((right - left, 4), np.int64)
            pieces[:, 0] = np.minimum(starts + offset, ends)
            pieces[:, 1] = np.minimum(starts + (offset + step), ends)
            pieces[:, 2] = range(left, right)
            _run_loop(kernel.jitted.parallel, pieces, serial, arguments)


def _address_of(kernel: Kernel, arguments: tuple[Any, ...]) -> Any:
    """Return the address of a serial kernel for such arguments, cached: Numba's own lookup takes 0.1 ms."""
    key = kernel, *map(_likeness, arguments)
    found = _addresses.get(key)
    if found is None:
        signature = signature_of(*arguments)
        found = library.address(kernel.module, kernel.name, signature) if signature else None
        if found is None:
            native: Any = lazy_imports.module("fastsoftmax.runtime.native")
            found = native.address_for(kernel.jitted.serial, 0, 0, 0, *arguments)
        _addresses[key] = found
    return found


def _likeness(argument: Any) -> Any:
    """Return a hashable key that differs between arguments of different Numba types."""
    if isinstance(argument, np.ndarray):
        return argument.dtype, argument.ndim, argument.flags.num
    if isinstance(argument, tuple):
        return type(argument), *map(_likeness, argument)
    if type(argument) is int:
        return int, -(2**63) <= argument < 2**63  # else it is unsigned
    return type(argument)


def _run_loop(loop: Any, pieces: NDArray[np.int64], serial: Any, arguments: tuple[Any, ...]) -> None:
    """Call a kernel's `prange`, and check that every piece was done. Raises MemoryError otherwise.

    An exception in a `prange` ends only the work of the thread that raises it (numba/numba#2811); if that is
    the calling thread, the call ends in a SystemError.
    """
    try:
        loop(pieces, serial, *arguments)
    except SystemError:
        if pieces[:, 3].all():
            raise
    if not pieces[:, 3].all():
        raise MemoryError("a thread found no memory to compute in")


def run(
    kernel: Kernel,
    bounds: NDArray[np.int64],
    *arguments: Any,
    work: float,
    n_threads: int | None = None,
    cut: int = 0,
    scratch: int = 0,
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
    cut : int, optional
        The kernel may be called for a part in pieces of any multiple of so many rows, one after the other:
        all that it carries from row to row is in its slot. 0: only for whole parts.
    scratch : int, optional
        How many bytes a kernel allocates. Numba never gives back the arguments of a function that has
        raised, so whether there is so much memory is tried before.

    Raises
    ------
    MemoryError
        If a kernel could not allocate its scratch memory.

    Notes
    -----
    Long work is done in slices with a return to Python in between, so that signals are heard: a few parts at
    a time, and those in pieces where they may be cut. After an exception no thread works on any more.
    """
    n_parts = len(bounds) - 1
    threads, chosen, started = 1, "inline", 0.0
    if n_parts > 1 and work >= SMALL_WORK:  # for less, not even the processors are counted: a system call
        threads = available_threads() if n_threads is None else max(1, int(n_threads))
        started = time.perf_counter()
        chosen = _choose(work, threads)
        if chosen == "prange" and _state.chosen == "auto" and _state.crowding.is_noticed(started):
            chosen = "threads"
    n_slices = max(1, int(work / SLICE_WORK))
    n_rows = int(bounds[-1] - bounds[0])
    step = max(1, n_rows // n_slices // cut) * cut if cut else max(1, n_rows)
    if scratch:
        np.empty(min(threads, n_parts) * scratch, np.uint8)
    if chosen == "prange":
        import numba

        threads = min(threads, numba.config.NUMBA_NUM_THREADS)
        mask = numba.get_num_threads()
        try:
            if threads != mask:
                numba.set_num_threads(threads)
            _run_in_prange(kernel, bounds, step, threads * max(1, n_parts // n_slices), arguments)
        finally:
            if threads != mask:
                numba.set_num_threads(mask)
        _note(kernel, work, threads, started, spins=True)
        return
    if chosen == "inline" and n_slices == 1:  # nothing that a signal could not wait for
        if kernel.divisible:
            bounds = bounds[[0, -1]]
        limits = bounds.tolist()
        for part, (start, stop) in enumerate(itertools.pairwise(limits)):
            kernel.serial(start, stop, part, *arguments)
        return
    bound = kernel.bound(arguments)
    if chosen == "threads" and n_slices <= n_parts and hasattr(bound, "parts"):
        # Some parts at a time, with a return to Python in between as in a slice: four times as often, since
        # `work` is an estimate.
        most = max(1, n_parts // (4 * n_slices * threads))
        taken = np.zeros(1, np.int64)

        def worker() -> Iterator[None]:
            while bound.parts(bounds, taken, most):
                yield

        thread_pool.run_all(worker, min(threads, n_parts), available_threads() - 1)
        _note(kernel, work, threads, started, spins=False)
        return
    body = functools.partial(_run_serially, bound.call, bounds.tolist(), step)
    if chosen == "threads":
        thread_pool.run(body, n_parts, threads, available_threads() - 1)
        _note(kernel, work, threads, started, spins=False)
        return
    for part in range(n_parts):
        for _ in body(part):
            pass


def _note(kernel: Kernel, work: float, threads: int, started: float, *, spins: bool) -> None:
    """Note how long a call took, among those of its kernel and of about as much work."""
    now = time.perf_counter()
    _state.crowding.observe((kernel, int(4.0 * math.log2(work)), threads), now - started, now, spins=spins)


def run_in_python(
    worker: Callable[[Iterator[int]], Iterator[None]], n_parts: int, *, work: float, n_threads: int | None
) -> None:
    """Work through parts by NumPy: in a pool of threads, or in line.

    Parameters
    ----------
    worker : callable
        worker(parts) does the parts that it takes from that iterator, and yields where the work may be
        abandoned. It is called once in each thread, so that its buffers serve many parts.
    n_parts : int
    work : float
        About how many nanoseconds one thread needs for all of it.
    n_threads : int or None

    Notes
    -----
    As by `run`, results are the same for any number of threads if those of a part depend on it alone. At most
    PYTHON_THREADS, however many may be used.
    """
    threads, name = 1, "inline"
    if n_parts > 1 and work >= SMALL_WORK:
        threads = available_threads() if n_threads is None else max(1, int(n_threads))
        name = "inline" if threads == 1 else _state.chosen
    parts = iter(range(n_parts))  # next() on it is atomic
    threads = 1 if name == "inline" else min(threads, PYTHON_THREADS)
    thread_pool.run_all(functools.partial(worker, parts), min(threads, n_parts), available_threads() - 1)


@functools.lru_cache(maxsize=256)
def even_bounds(n: int, n_parts: int) -> NDArray[np.int64]:
    """Return the bounds that cut n rows into at most n_parts ranges of nearly equal length.

    int64 (parts + 1,). The array is cached and shared: do not write to it.
    """
    n_parts = max(1, min(n_parts, n))
    return np.arange(n_parts + 1, dtype=np.int64) * n // n_parts
