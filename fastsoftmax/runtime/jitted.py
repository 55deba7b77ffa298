"""Kernels as Numba compiles them: a function over a range of rows, alone and under a `prange`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numba

from fastsoftmax.runtime import native
from fastsoftmax.runtime.jit import declare, jit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Jitted(NamedTuple):
    """A serial kernel and the same kernel under a `prange`, as dispatchers."""

    serial: Any
    parallel: Any


def kernel(
    function: Callable[..., None] | None = None, *, signatures: Iterable[str] = (), **options: Any
) -> Any:
    """Return a `Jitted`: ``function(start, stop, part, *arguments)`` as it is and under a `prange`.

    Parameters
    ----------
    function : callable
        A kernel that writes to its own rows only, and has no slot, calls its third argument `_`.
    signatures : iterable of str
        Of the arguments (after the first three) for which the library of compiled kernels shall hold it.
    **options
        Those of `jit`.

    Notes
    -----
    Numba cannot keep on disk a loop that takes the kernel as an argument, nor a closure over it; and a kernel
    that it can see it compiles once more into the loop. So the few lines of the loop are made for each kernel
    from one text, and call it by its address. The cache files them under the kernel's own source file.
    """
    if function is None:
        return functools.partial(kernel, signatures=signatures, **options)
    code = function.__code__
    names = code.co_varnames[3 : code.co_argcount]
    text = (
        f"def {function.__name__}_prange(pieces, serial, {', '.join(names)}):\n"
        f"    for i in prange(pieces.shape[0]):\n"
        f"        call(serial, (pieces[i, 0], pieces[i, 1], pieces[i, 2], {', '.join(names)}))\n"
        f"        pieces[i, 3] = 1\n"
    )
    serial = jit(function, **options)
    declare(function, serial, signatures, is_kernel=True)
    scope: dict[str, Any] = {
        "prange": numba.prange, "call": native.call, "__name__": function.__module__
    }  # fmt: skip
    exec(compile(text, code.co_filename, "exec"), scope)
    loop = scope[f"{function.__name__}_prange"]
    return Jitted(serial, jit(loop, parallel=True))
