"""Numba's private parts: the one module that imports them, or looks at undocumented attributes.

Everything else in this package takes them from here (the GPU's have a door of their own,
`kernels.cuda.runtime`). Public, and imported anywhere, are `numba`, `numba.types`, `numba.extending`,
`llvmlite.ir` and `llvmlite.binding`. What is relied on of each part stands in `runtime.self_test`, which
says what a new version has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba
from numba import types

from fastsoftmax.runtime import self_test

# Before the parts are imported: a warning says more than the ImportError that may follow.
self_test.warn_if_newer("numba", numba.__version__)

from numba.core import cgutils as cgutils  # noqa: E402
from numba.core.caching import FunctionCache as FunctionCache  # noqa: E402
from numba.core.caching import NullCache  # noqa: E402
from numba.core.codegen import JITCodeLibrary as JITCodeLibrary  # noqa: E402
from numba.core.compiler import Compiler as Compiler  # noqa: E402
from numba.core.compiler_lock import global_compiler_lock as compiler_lock  # noqa: E402
from numba.core.serialize import dumps as dumps  # noqa: E402

if TYPE_CHECKING:
    from llvmlite import ir


def set_cache(dispatcher: Any, cache: FunctionCache) -> None:
    """Let a jitted function keep what it compiles in a cache: what njit(cache=True) does with Numba's own."""
    dispatcher._cache = cache


def keep_nothing(dispatcher: Any) -> None:
    """Let a jitted function neither keep on disk what it compiles nor load it from there."""
    dispatcher._cache = NullCache()


class CompiledModule(NamedTuple):
    """A compiled function for LLVM: its optimised module with all that it calls, its name and its type."""

    module: Any
    name: str
    prototype: Any


def compiled_module(dispatcher: Any, signature: Any) -> CompiledModule:
    """Return a jitted function, which returns nothing, compiled for a signature."""
    result = dispatcher.get_compile_result(signature)
    with compiler_lock:
        result.library._ensure_finalized()
    prototype = result.target_context.call_conv.get_function_type(types.none, signature.args)
    return CompiledModule(result.library._final_module, result.fndesc.llvm_func_name, prototype)


def tuple_type(kinds: list[Any], cls: type) -> Any:
    """Return the Numba type of a named tuple of a class."""
    if len(set(kinds)) == 1:
        return types.NamedUniTuple(kinds[0], len(kinds), cls)
    return types.NamedTuple(kinds, cls)


def address_of(dispatcher: Any, signature: Any) -> int:
    """Return the address of a jitted function, compiled for a signature."""
    result = dispatcher.get_compile_result(signature)
    return int(result.library.get_pointer_to_function(result.fndesc.llvm_func_name))


def emit_call(
    context: Any, builder: ir.IRBuilder, address: ir.Value, kinds: tuple[Any, ...], arguments: ir.Value
) -> None:
    """Emit a call of a compiled function that returns nothing; what it raises is raised by the caller.

    Parameters
    ----------
    context, builder
        Those of an intrinsic's code generator.
    address : value, int64
    kinds : tuple of Numba types
        Those that the function was compiled for.
    arguments : value
        The arguments, packed as a tuple of these types.
    """
    convention = context.call_conv
    prototype = convention.get_function_type(types.none, kinds)
    function = builder.inttoptr(address, prototype.as_pointer())
    unpacked = cgutils.unpack_tuple(builder, arguments, len(kinds))
    status, _ = convention.call_function(builder, function, types.none, kinds, unpacked)
    with cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)


def named_tuple_class(kind: Any) -> type | None:
    """Return the class of a Numba type that stands for a named tuple, or None for any other type."""
    return getattr(kind, "instance_class", None)  # NamedTuple, and NamedUniTuple where all fields are alike
