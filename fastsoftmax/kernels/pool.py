"""A private pool of threads that work through the parts of a call, together with the thread that made it."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def _after_fork() -> None:
    # The child has none of the parent's threads, and another thread may have held the lock.
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _threads(most: int) -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, most), "fastsoftmax")
        return _pool


class _Call:
    """The parts of one call, each taken once by whoever is free, and how many helpers are at work on them."""

    def __init__(self, body: Callable[[int], Any], n_parts: int) -> None:
        self._body = body
        self._n_parts = n_parts
        self._next_part = itertools.count()  # next() on it is atomic
        self._n_helping = 0
        self._changed = threading.Condition()
        self.stopped = False
        self.error: BaseException | None = None

    def take_parts(self) -> None:
        """Work until no part is left. Each piece of a part returns to Python: so a call can be stopped."""
        for part in self._next_part:
            if part >= self._n_parts:
                return
            for _ in self._body(part):
                if self.stopped:
                    return

    def help(self) -> None:
        """Do the same in a thread of the pool; one that comes too late finds nothing to do."""
        with self._changed:
            self._n_helping += 1
        try:
            if not self.stopped:
                self.take_parts()
        except BaseException as error:
            self.error, self.stopped = error, True
        finally:
            with self._changed:
                self._n_helping -= 1
                self._changed.notify_all()

    def wait_for_helpers(self) -> None:
        """Return when no helper is at work any more."""
        with self._changed:
            while self._n_helping:
                self._changed.wait()


def run(body: Callable[[int], Any], n_parts: int, n_threads: int, most_helpers: int) -> None:
    """Call body(part) for every part from 0 on, in so many threads, and exhaust what it yields.

    Parameters
    ----------
    body : callable
        Returns an iterator; between its items the work may be given up.
    n_parts, n_threads : int
    most_helpers : int
        How many threads the pool gets if there is none yet.

    Notes
    -----
    The calling thread works too, so a pool that is busy, or has no threads, only slows a call down. What a
    body raises, or a signal handler meanwhile, ends the call as soon as the pieces in hand are done: nobody
    writes to the caller's arrays after that.
    """
    call = _Call(body, n_parts)
    try:
        try:
            for _ in range(min(n_threads, n_parts) - 1):
                _threads(most_helpers).submit(call.help)
        except RuntimeError:
            # The interpreter is shutting down, or the system gives no more threads (which the pool says after
            # it has taken the work in): who is there does it.
            pass
        call.take_parts()
        call.wait_for_helpers()
    except BaseException:
        call.stopped = True
        call.wait_for_helpers()
        raise
    if call.error is not None:
        raise call.error
