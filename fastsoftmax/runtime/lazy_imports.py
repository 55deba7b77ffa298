"""Modules loaded on first use, whole before a fork.

A fork while another thread imports would leave the child with half a module, and with a lock that is never
released.
"""

from __future__ import annotations

import functools
import importlib
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from fastsoftmax.runtime.forks import at_fork

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")

_lock = threading.RLock()


def module(name: str) -> Any:
    """Return a module of this package, loaded where it has not been. Forks wait until it is."""
    with _lock:
        return importlib.import_module(name)


def once(function: Callable[[], Result]) -> Callable[[], Result]:
    """Let a function without arguments be called once a process, whatever threads ask; it may raise again."""
    results: list[Result] = []

    @functools.wraps(function)
    def result() -> Result:
        if not results:
            with _lock:
                if not results:
                    results.append(function())
        return results[0]

    return result


at_fork(before=_lock.acquire, in_parent=_lock.release, in_child=_lock.release)
