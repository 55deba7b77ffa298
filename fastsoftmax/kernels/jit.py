"""Numba's compiler with this package's settings, and without a cache where none can be written."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

# numpy error model: a division may give inf or NaN as NumPy does; checking each for zero costs four times
# its price and keeps loops from vectorising.
SETTINGS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


@functools.cache
def _warn_uncached(reason: str) -> None:
    logger.warning("fastsoftmax: kernels are compiled anew in every process (%s)", reason)


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
    Numba raises at decoration, so at import, where neither the package's folder nor HOME can be written
    to. Then the function is compiled without a cache, and the log says so once.
    """
    if function is None:
        return functools.partial(jit, **options)
    settings = SETTINGS | options
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        _warn_uncached("no folder for the kernel cache can be written to; NUMBA_CACHE_DIR names one")
        return numba.njit(**settings)(function)


def named_tuple_class(kind: Any) -> type | None:
    """Return the class of a Numba type that stands for a named tuple, or None for any other type."""
    return getattr(kind, "instance_class", None)  # NamedTuple, and NamedUniTuple where all fields are alike
