"""Kernels by name: what calls them imports neither them nor Numba.

A kernel's function stands in a module of a folder `jitted`, with what it calls. The module that calls it
refers to it by a `Kernel`, which takes its machine code from the library that came with the package
(`runtime.library`), and imports the module and compiles the function where that has none for the arguments.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from fastsoftmax.runtime import lazy_imports, library
from fastsoftmax.runtime.lazy_attributes import lazy
from fastsoftmax.runtime.library import is_interpreted as is_interpreted
from fastsoftmax.runtime.signatures import NAMES, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable


def _function(module: str, name: str) -> Any:
    """Return a function of a module that imports Numba. KernelsMissingError where that is not installed."""
    try:
        return getattr(lazy_imports.module(module), name)
    except ModuleNotFoundError as error:
        if error.name not in ("numba", "llvmlite"):
            raise
        raise library.KernelsMissingError(
            f"{module}.{name} has to be compiled, and {error.name} is not installed"
        ) from error


class _BoundFunction:
    """A function that Numba compiles, with its arguments."""

    def __init__(self, serial: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._serial = serial
        self._arguments = arguments

    def call(self, start: int, stop: int, part: int) -> None:
        """Run the function for rows start to stop."""
        self._serial(start, stop, part, *self._arguments)


class Kernel:
    """A function ``kernel(start, stop, part, *arguments)`` by its module and name.

    Parameters
    ----------
    module, name : str
        Of the function, which the decorator `runtime.jitted.kernel` has turned into machine code, or will.
    divisible : bool
        Whether the result does not depend on the parts, so that one call for all rows does the same. The
        function's third argument is then called `_`.

    Attributes
    ----------
    serial : callable
        Runs the kernel for (start, stop, part, *arguments). Raises MemoryError if it finds no memory.
    """

    def __init__(self, module: str, name: str, *, divisible: bool = False) -> None:
        self.module = module
        self.name = name
        self.divisible = divisible
        self.serial: Callable[..., object] = self._first
        self._entry_now: Any = None
        self._entry_of = -1

    @classmethod
    def of(cls, jitted: Any, *, divisible: bool = False) -> Kernel:
        """Return the kernel of a `runtime.jitted.Jitted` itself, which the library does not know."""
        found = cls("", "", divisible=divisible)
        found.jitted = jitted
        return found

    @lazy
    def jitted(self) -> Any:
        """The function as Numba compiles it, alone and under a `prange` (`runtime.jitted.Jitted`)."""
        return _function(self.module, self.name)

    def _entry(self) -> Any:
        """Return what calls the library's kernels of this name, or None: made anew for each new class."""
        n_names = len(NAMES)
        if self._entry_of != n_names:  # of no class that is registered later a signature could be written
            self._entry_now = library.entry(self.module, self.name) if self.module else None
            self._entry_of = n_names
        return self._entry_now

    def _first(self, start: int, stop: int, part: int, *arguments: Any) -> None:
        entry = self._entry()
        self.serial = self.jitted.serial if entry is None else self._by_entry(entry.call)
        self.serial(start, stop, part, *arguments)

    def _by_entry(self, call: Callable[..., bool]) -> Callable[..., object]:
        def serial(start: int, stop: int, part: int, *arguments: Any) -> None:
            if not call(start, stop, part, *arguments):
                self.bound(arguments).call(start, stop, part)

        return serial

    def bound(self, arguments: tuple[Any, ...]) -> Any:
        """Return the kernel with its arguments: its `call(start, stop, part)` may be made in any thread.

        Where it comes from the library it has another method, `parts` (`Bound` of `aot/entries.c`).
        """
        entry = self._entry()
        if entry is not None:
            bound = entry.bind(*arguments)
            if bound is not None:
                return bound
            library.missed(self.module, self.name, signature_of(*arguments))
        return _BoundFunction(self.jitted.serial, arguments)


@functools.cache
def address(module: str, name: str, signature: str) -> Any:
    """Return the address of a compiled function, for `native.call` in another one.

    Parameters
    ----------
    module, name : str
        Of a function under `runtime.jit.jit`.
    signature : str
        Of its arguments (`runtime.signatures`).

    Notes
    -----
    An address is a constant of a process, and holds in its forked children. Where kernels are interpreted it
    is the function itself.
    """
    found = library.address(module, name, signature)
    if found is not None:
        return found
    function = _function(module, name)
    native: Any = lazy_imports.module("fastsoftmax.runtime.native")
    return native.address_of(function, *native.kinds(signature))
