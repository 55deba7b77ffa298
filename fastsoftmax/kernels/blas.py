"""Holds BLAS to one thread while our own threads call it."""

from __future__ import annotations

import contextlib
import functools
import threading
from typing import TYPE_CHECKING, Any

import threadpoolctl

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_users = 0
_limit: Any = None


@functools.cache
def _controller() -> Any:
    # np.dot in a compiled function binds SciPy's BLAS: it must be loaded before it can be found.
    import scipy.linalg.cython_blas  # noqa: F401

    return threadpoolctl.ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run the body with every BLAS pool of the process set to one thread.

    Notes
    -----
    The setting belongs to the process, so overlapping users are counted: the first sets it, the last puts
    back what the first found. Restoring per user would leave one thread behind for good when two overlap.
    """
    global _users, _limit
    with _lock:
        if _users == 0:
            _limit = _controller().limit(limits=1, user_api="blas")
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _limit.restore_original_limits()
                _limit = None
