"""Calls of compiled functions by address.

Numba compiles a function together with all that it calls, again for every caller: a register tile that is
part of ten kernels, each under a `prange` and without, would be compiled twenty times, for seconds each. By
its address it is compiled once, and kept on disk once. Addresses differ from process to process, so they are
arguments, never constants.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload


def address_of(function: Any, *kinds: Any) -> Any:
    """Return where a jitted function lies, compiled for arguments of these Numba types."""
    if numba.config.DISABLE_JIT:
        return function
    result = function.get_compile_result(types.void(*kinds))
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


def call(address: Any, arguments: tuple[Any, ...]) -> None:
    """Call what lies at an address with these arguments; their types are those that it was compiled for.

    It returns nothing.
    """
    address(*arguments)


@intrinsic
def _call(typingctx, address, arguments):
    def codegen(context, builder, signature, values):
        kinds = tuple(arguments)
        convention = context.call_conv
        prototype = convention.get_function_type(types.none, kinds)
        function = builder.inttoptr(
            context.cast(builder, values[0], signature.args[0], types.int64), prototype.as_pointer()
        )
        unpacked = cgutils.unpack_tuple(builder, values[1], len(kinds))
        status, _ = convention.call_function(builder, function, types.none, kinds, unpacked)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        return ir.Constant(context.get_value_type(types.none), None)

    return types.none(address, arguments), codegen


@overload(call)
def _overload_call(address, arguments):
    if isinstance(address, types.Integer) and isinstance(arguments, types.BaseTuple):
        return lambda address, arguments: _call(address, arguments)
    return None
