"""Holds BLAS to one thread while our own threads call it."""

from __future__ import annotations

import functools
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import threadpoolctl

from fastsoftmax.runtime.forks import at_fork

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

GEMM = {"float32": "sgemm", "float64": "dgemm"}

_lock = threading.RLock()
_users: dict[int, int] = {}  # the id of each one_thread that is entered, and of the thread it is in
_found: list[tuple[Any, int]] | None = None  # libraries, and their numbers of threads to restore


@functools.cache
def _libraries() -> list[Any]:
    # np.dot in a compiled function binds SciPy's BLAS: it must be loaded before it can be found.
    import scipy.linalg.cython_blas  # noqa: F401

    # Not OpenMP's: its settings belong to a thread, and it may be another one that puts them back.
    return list(threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers)


@functools.cache
def gemm_address(dtype: np.dtype[Any]) -> int:
    """Return the address of SciPy's sgemm (float32) or dgemm (float64), which kernels are given.

    Compiled code with an address in it could not be kept on disk. Raises KeyError for any other dtype.
    """
    import ctypes

    import scipy.linalg.cython_blas

    functions: dict[str, object] = dict(scipy.linalg.cython_blas.__pyx_capi__)
    capsule = functions[GEMM[dtype.name]]
    # Functions of their own: the attributes of ctypes.pythonapi's belong to everybody in the process.
    name_of = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", ctypes.pythonapi))
    pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return int(pointer_of(capsule, name_of(capsule)))


def _put_back() -> None:
    global _found
    for library, n_threads in _found or ():
        _set(library, n_threads)
    _found = None


def _set(library: Any, n_threads: int) -> None:
    # threadpoolctl from 3.8 on lets OpenBLAS hear the thread that was the first to set it, and no other.
    release = getattr(library, "clear_controlling_thread", lambda **_: None)
    release(force=True)
    library.set_num_threads(n_threads)
    release(force=True)


class one_thread:  # noqa: N801 - a context manager, named as those of contextlib are
    """Run the body with every BLAS pool of the process set to one thread.

    Notes
    -----
    The setting belongs to the process, so overlapping users are counted: the first sets it, the last puts
    back what the first found. Restoring per user would leave one thread behind for good when two overlap.

    A signal handler may raise between any two lines of this. So each line can be run again without harm, and
    is when one was cut short; what that cannot reach (the step into a method) goes with the object.
    """

    def __enter__(self) -> None:
        global _found
        try:
            with _lock:
                if _found is None:
                    # A library that has one thread is left alone: setting it takes longer than asking.
                    found = [(library, library.num_threads) for library in _libraries()]
                    _found = [(library, n_threads) for library, n_threads in found if n_threads != 1]
                if not _users:
                    for library, _ in _found:
                        _set(library, 1)
                _users[id(self)] = threading.get_ident()
        except BaseException:
            _leave(id(self))
            raise

    def __exit__(self, *_: object) -> None:
        try:
            _leave(id(self))
        except BaseException:
            _leave(id(self))
            raise

    def __del__(self) -> None:
        if id(self) in _users:
            _leave(id(self))


def _leave(user: int) -> None:
    with _lock:
        _users.pop(user, None)
        if not _users:
            _put_back()


def away(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return function(*arguments, **options), a long LAPACK call, in a thread, so that signals are handled.

    If a signal handler raises, this raises at once, while the call runs to its end in its thread: its arrays
    must not be used for anything else.
    """
    result: Future[Any] = Future()

    def work() -> None:
        try:
            result.set_result(function(*arguments, **options))
        except BaseException as error:
            result.set_exception(error)

    if threading.current_thread() is threading.main_thread():
        try:
            threading.Thread(target=work, daemon=True).start()
        except RuntimeError:  # there are no more threads to be had
            work()
    else:  # no signal comes here
        work()
    return result.result()


def _before_fork() -> None:
    _lock.acquire()


def _after_fork_in_parent() -> None:
    _lock.release()


def _after_fork_in_child() -> None:
    # Of the users only the calls of the thread that forked go on here: the others would never leave.
    global _lock
    _lock = threading.RLock()
    this_thread = threading.get_ident()
    for user in [user for user, thread in _users.items() if thread != this_thread]:
        del _users[user]
    if not _users:
        _put_back()


at_fork(before=_before_fork, in_parent=_after_fork_in_parent, in_child=_after_fork_in_child)
