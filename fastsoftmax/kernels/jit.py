"""Numba's compiler with this package's settings, and without a cache where none can be written."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import numba
from numba.core.compiler_lock import global_compiler_lock

from fastsoftmax.kernels.cache import KernelCache, warn_uncached
from fastsoftmax.kernels.library import PrivateCompiler

if TYPE_CHECKING:
    from collections.abc import Callable

# numpy error model: a division may give inf or NaN as NumPy does; checking each for zero costs four times
# its price and keeps loops from vectorising.
SETTINGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "pipeline_class": PrivateCompiler}

# A child forked while another thread compiles would wait for ever to compile anything itself.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function, keeping the machine code on disk.

    Parameters
    ----------
    function : callable
        Plain Python that Numba can compile.
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
        return functools.partial(jit, **options)
    dispatcher = numba.njit(**(SETTINGS | options))(function)
    if numba.config.DISABLE_JIT:
        return dispatcher
    try:
        dispatcher._cache = KernelCache(function)  # what njit(cache=True) does with Numba's own cache
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        warn_uncached("no folder for the kernel cache can be written to; NUMBA_CACHE_DIR names one")
    return dispatcher


def named_tuple_class(kind: Any) -> type | None:
    """Return the class of a Numba type that stands for a named tuple, or None for any other type."""
    return getattr(kind, "instance_class", None)  # NamedTuple, and NamedUniTuple where all fields are alike
