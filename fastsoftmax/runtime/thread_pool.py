"""A private pool of threads that work through the parts of a call, together with the thread that made it.

A signal handler may raise in the calling thread between any two lines, and a fork may come at any moment. So
nothing here locks in Python code, as `concurrent.futures` and `threading.Condition` do: a Ctrl-C that arrives
when they have just locked themselves leaves them locked for ever.
"""

from __future__ import annotations

import _thread
import contextlib
import itertools
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from fastsoftmax.runtime.forks import at_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_calls: SimpleQueue[_Call] = SimpleQueue()  # one entry for each helper that is asked for
_workers: list[int] = []


def _after_fork() -> None:
    # The child has none of the parent's threads.
    global _calls
    _calls = SimpleQueue()
    _workers.clear()


at_fork(in_child=_after_fork)


def _work(calls: SimpleQueue[_Call]) -> None:
    while True:
        call = calls.get()
        with contextlib.suppress(MemoryError):  # even before the start: the calling thread does all the work
            call.help()
        del call  # its arrays are not kept until the next one


class _Helper:
    """A thread's work on one call: `lock` is released at its end, `ended` is set just before."""

    def __init__(self) -> None:
        self.ended = False
        self.lock = _thread.allocate_lock()
        self.lock.acquire()


class _Call:
    """A call that several threads work on, and its helpers."""

    def __init__(self, worker: Callable[[], Iterator[Any]]) -> None:
        self._worker = worker
        self._helpers: list[_Helper] = []
        self.stopped = False
        self.error: BaseException | None = None

    def work(self) -> None:
        """Work until none is left; a call can be stopped after each item of its worker."""
        for _ in self._worker():
            if self.stopped:
                return

    def help(self) -> None:
        """Do the same in a thread of the pool; one that comes too late finds nothing to do."""
        helper = _Helper()
        self._helpers.append(helper)  # before reading `stopped`: the thread that sets it waits for helpers
        try:
            if not self.stopped:
                self.work()
        except BaseException as error:
            self.error, self.stopped = error, True
        finally:
            helper.ended = True
            helper.lock.release()

    def wait_for_helpers(self) -> None:
        """Return when all helpers have ended. May be called again if a signal handler has raised."""
        for helper in self._helpers:  # including those that are added meanwhile
            if not helper.ended:
                helper.lock.acquire()


def run(body: Callable[[int], Any], n_parts: int, n_threads: int, pool_size: int) -> None:
    """Call body(part) for part = 0, …, n_parts − 1 in n_threads threads, and exhaust the iterators returned.

    Parameters
    ----------
    body : callable
        Returns an iterator; the work may be abandoned between its items.
    n_parts, n_threads : int
    pool_size : int
        The pool's minimal number of threads from now on.

    Notes
    -----
    As `run_all`: parts are taken by the next free thread, each once.
    """
    next_part = itertools.count()  # next() on it is atomic, as is append() on a list

    def worker() -> Iterator[Any]:
        for part in next_part:
            if part >= n_parts:
                return
            yield from body(part)

    run_all(worker, min(n_threads, n_parts), pool_size)


def run_all(worker: Callable[[], Iterator[Any]], n_threads: int, pool_size: int) -> None:
    """Exhaust an iterator of worker() in each of n_threads threads.

    Parameters
    ----------
    worker : callable
        Returns an iterator that does, item by item, some of the work that no other one has done or is doing;
        the work may be abandoned between items.
    n_threads : int
    pool_size : int
        The pool's minimal number of threads from now on.

    Notes
    -----
    The calling thread works too, so a pool that is busy, or has no threads, only slows a call down. An
    exception in a thread, or from a signal handler, ends the work as soon as the current items are done: no
    thread writes to the caller's arrays after that. It is raised here.
    """
    call = _Call(worker)
    try:
        n_helpers = n_threads - 1
        if n_helpers > 0:
            _start(max(1, pool_size))
        for _ in range(n_helpers):
            _calls.put(call)
        call.work()
        call.wait_for_helpers()
    except BaseException:
        call.stopped = True
        call.wait_for_helpers()
        raise
    if call.error is not None:
        raise call.error


def _start(n_workers: int) -> None:
    # The interpreter may be shutting down, or the system out of threads: the existing ones do the work.
    with contextlib.suppress(RuntimeError):
        while len(_workers) < n_workers:
            _workers.append(_thread.start_new_thread(_work, (_calls,)))
