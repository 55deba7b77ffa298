"""Calls of compiled functions by address.

Numba compiles a function together with all that it calls, again for every caller: a register tile that is
part of ten kernels, each under a `prange` and without, would be compiled twenty times, for seconds each. By
its address it is compiled once, and kept on disk once. Addresses differ from process to process, so they are
arguments, never constants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from fastsoftmax.runtime import numba_internals, signatures
from fastsoftmax.runtime.jit import INNER

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = {"q": types.int64, "d": types.float64, "?": types.boolean}


def address_of(function: Any, *kinds: Any) -> Any:
    """Return the address of a jitted function, compiled for arguments of these Numba types."""
    if numba.config.DISABLE_JIT:
        return function
    return numba_internals.address_of(function, types.void(*kinds))


def address_for(function: Any, *arguments: Any) -> Any:
    """Return the address of a jitted function, compiled for such arguments."""
    return address_of(function, *map(numba.typeof, arguments))


def kinds(signature: str) -> Iterator[Any]:
    """Yield the Numba types of a signature (`runtime.signatures`): arrays that may be written to."""
    for part in signatures.parts(signature):
        if part in NUMBERS:
            yield NUMBERS[part]
        elif ":" in part and "(" not in part:
            dtype, _, shape = part.partition(":")
            yield types.Array(numba.from_dtype(np.dtype(dtype)), int(shape[:-1]), shape[-1])
        else:
            name, _, inside = part[:-1].partition("(")
            yield _tuple(name, list(kinds(inside)))


def _tuple(name: str, inside: list[Any]) -> Any:
    if not name:
        return types.Tuple(inside)
    cls = next(cls for cls, known in signatures.NAMES.items() if known == name)
    return numba_internals.tuple_type(inside, cls)


def call(address: Any, arguments: tuple[Any, ...]) -> None:
    """Call the function at an address with arguments of its compiled types; it returns None."""
    address(*arguments)


@intrinsic
def _call(typingctx, address, arguments):
    def codegen(context, builder, signature, values):
        place = context.cast(builder, values[0], signature.args[0], types.int64)
        numba_internals.emit_call(context, builder, place, tuple(arguments), values[1])
        return ir.Constant(context.get_value_type(types.none), None)

    return types.none(address, arguments), codegen


@overload(call, jit_options=INNER)
def _overload_call(address, arguments):
    if isinstance(address, types.Integer) and isinstance(arguments, types.BaseTuple):
        return lambda address, arguments: _call(address, arguments)
    return None
