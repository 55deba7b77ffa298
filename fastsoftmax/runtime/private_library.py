"""Compiled functions that keep what they call to themselves, and functions that are only parts of others.

Numba compiles what a function calls into the function's own library as well, under the name that it has
everywhere, and the loader takes the first of that name for all [1]_. They are not the same code: each was
optimised among other neighbours, and sums are reassociated and contracted in other ways. Which one runs, and
so the last bits of a result, would depend on what else the process has compiled or loaded before.

A function that only compiled functions call needs no machine code of its own, nor wrappers for Python and C:
Numba would optimise and emit all of that, and then the function once more in each of its callers. It is
optimised by itself all the same: left to its callers, loops over a row of logits were not vectorised, and
passes with the losses' row functions took two to three times as long.

References
----------
.. [1] LLVM Language Reference, "Linkage types", linkonce_odr.
"""

from __future__ import annotations

import ctypes
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


class _WithoutEnvironments:
    """A code generator that sets no environment: a function without machine code has no place for it.

    Environments serve objects and the texts of errors, which kernels do not use.
    """

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, *where_and_what: Any) -> None:
        """Do nothing."""


class _InnerLibrary(_PrivateLibrary):
    """The library of a function that is only part of others: intermediate code without machine code."""

    @property
    def codegen(self) -> Any:
        """The code generator, which sets no environment."""
        return _WithoutEnvironments(self._codegen)

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return the address of a function that raises: called from Python by mistake, it ends no process."""
        address = ctypes.cast(ctypes.pythonapi.PyErr_NoMemory, ctypes.c_void_p).value
        assert address is not None
        return address


class PrivateCompiler(Compiler):
    """Numba's compiler, into libraries of which only the function itself can be seen."""

    library_class: type[JITCodeLibrary] = _PrivateLibrary

    def compile_extra(self, func: Callable[..., Any]) -> Any:
        """Compile a function."""
        if self.state.library is None:
            library = self.library_class(self.state.targetctx.codegen(), func.__qualname__)
            library.enable_object_caching()  # as Numba does where it makes the library
            self.state.library = library
        with compiling.announced(func.__name__):
            return super().compile_extra(func)


class InnerCompiler(PrivateCompiler):
    """The same for functions that only compiled functions call."""

    library_class = _InnerLibrary
