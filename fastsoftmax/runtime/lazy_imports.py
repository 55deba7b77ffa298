"""Modules loaded on first use, whole before a fork.

A fork while another thread imports would leave the child with half a module, and with a lock that is never
released.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

from fastsoftmax.runtime.forks import at_fork

_lock = threading.RLock()


def module(name: str) -> Any:
    """Return a module of this package, loaded where it has not been. Forks wait until it is."""
    with _lock:
        return importlib.import_module(name)


at_fork(before=_lock.acquire, in_parent=_lock.release, in_child=_lock.release)
