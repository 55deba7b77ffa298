"""Modules loaded on first use, whole before a fork.

Of a module that another thread was loading, a forked child has a half and a lock that nobody releases.
"""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

_lock = threading.RLock()


def module(name: str) -> Any:
    """Return a module of this package, loaded where it has not been. Forks wait until it is."""
    with _lock:
        return importlib.import_module(name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
