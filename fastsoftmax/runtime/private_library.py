"""Compiled functions that keep what they call to themselves.

Numba compiles what a function calls into the function's own library as well, under the name that it has
everywhere, and the loader takes the first of that name for all [1]_. They are not the same code: each was
optimised among other neighbours, and sums are reassociated and contracted in other ways. Which one runs, and
so the last bits of a result, would depend on what else the process has compiled or loaded before.

References
----------
.. [1] LLVM Language Reference, "Linkage types", linkonce_odr.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import binding as llvm

from fastsoftmax.runtime import compiling
from fastsoftmax.runtime.numba_internals import Compiler, JITCodeLibrary

if TYPE_CHECKING:
    from collections.abc import Callable


class _PrivateLibrary(JITCodeLibrary):
    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if function.linkage == llvm.Linkage.linkonce_odr and not function.is_declaration:
                function.linkage = llvm.Linkage.internal
        super()._optimize_final_module()


class PrivateCompiler(Compiler):
    """Numba's compiler, into libraries of which only the function itself can be seen."""

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        """Compile a function."""
        if self.state.library is None:
            library = _PrivateLibrary(self.state.targetctx.codegen(), func.__qualname__)
            library.enable_object_caching()  # as Numba does where it makes the library
            self.state.library = library
        with compiling.announced(func.__name__):
            return super().compile_extra(func)
