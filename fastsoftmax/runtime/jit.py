"""Numba's compiler with this package's settings, and without a cache where none can be written."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numba

from fastsoftmax.runtime import numba_internals
from fastsoftmax.runtime.forks import at_fork
from fastsoftmax.runtime.kernel_cache import KernelCache, warn_uncached
from fastsoftmax.runtime.numba_internals import named_tuple_class as named_tuple_class
from fastsoftmax.runtime.private_library import InnerCompiler, PrivateCompiler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# numpy error model: a division may give inf or NaN as NumPy does; checking each for zero costs four times
# its price and keeps loops from vectorising.
SETTINGS: dict[str, Any] = {
    "nogil": True, "error_model": "numpy", "pipeline_class": PrivateCompiler, "no_cfunc_wrapper": True
}  # fmt: skip

# Those of a function that only compiled functions call, for `numba.extending.overload`, too.
INNER: dict[str, Any] = {
    "pipeline_class": InnerCompiler, "no_cpython_wrapper": True, "no_cfunc_wrapper": True
}  # fmt: skip

# A child forked while another thread compiles would wait for ever to compile anything itself.
at_fork(
    before=numba_internals.compiler_lock.acquire,
    in_parent=numba_internals.compiler_lock.release,
    in_child=numba_internals.compiler_lock.release,
)


class Manifest(NamedTuple):
    """A function that the library of compiled kernels shall hold, and for which arguments."""

    dispatcher: Any
    signatures: tuple[str, ...]
    is_kernel: bool


# By module and name: what has been declared where functions are defined. `aot` compiles it.
MANIFEST: dict[tuple[str, str], Manifest] = {}


def declare(function: Any, dispatcher: Any, signatures: Iterable[str], *, is_kernel: bool) -> None:
    """Enter a function into the manifest of the library of compiled kernels."""
    key = function.__module__, function.__name__
    MANIFEST[key] = Manifest(dispatcher, tuple(dict.fromkeys(signatures)), is_kernel)


def jit(
    function: Callable[..., Any] | None = None, *, signatures: Iterable[str] | None = None, **options: Any
) -> Any:
    """Compile a function that is called from Python or by its address, keeping the machine code on disk.

    Parameters
    ----------
    function : callable
        Plain Python that Numba can compile.
    signatures : iterable of str, optional
        Of the arguments for which the library of compiled kernels shall hold it.
    **options
        Passed to `numba.njit`; `nogil` and `error_model="numpy"` are set.

    Returns
    -------
    dispatcher
        Compiled for each new signature at its first call.

    Notes
    -----
    Where neither the package's folder nor HOME can be written to, the function is compiled without a cache,
    and the log says so once.
    """
    if function is None:
        return functools.partial(jit, signatures=signatures, **options)
    dispatcher = numba.njit(**(SETTINGS | options))(function)
    if signatures is not None:
        declare(function, dispatcher, signatures, is_kernel=False)
    if numba.config.DISABLE_JIT:
        return dispatcher
    try:
        numba_internals.set_cache(dispatcher, KernelCache(function))
    except OSError as error:
        warn_uncached(f"the sources that a kernel is made of cannot be read: {error}")
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        warn_uncached("no folder for the kernel cache can be written to; NUMBA_CACHE_DIR names one")
    return dispatcher


def inner(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function that only compiled functions call: into each of them, and not by itself.

    From Python it cannot be called, unless Numba's DISABLE_JIT is set. Parameters and result are those of
    `jit`, which most of the time and of the size of what is compiled would be spent on otherwise.
    """
    if function is None:
        return functools.partial(inner, **options)
    return numba.njit(**(SETTINGS | INNER | options))(function)
