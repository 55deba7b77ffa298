"""The shapes of register tiles, which depend on the machine that kernels are compiled for.

They are those of the library of compiled kernels where one is in use, and otherwise those of the machine
that Numba compiles for.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from fastsoftmax.runtime import cpu_level, lazy_imports


class Width(NamedTuple):
    """Shapes of the register tiles of skinny products, in vectors of 64 bytes, and where they are used.

    Forward, the dot products of `rows` rows with `classes` classes are summed in registers; back, `classes`
    classes over `registers` registers of features. From more than `max_classes` classes on BLAS is taken.
    """

    rows: int
    classes: int
    registers: int
    max_classes: int


# AVX-512 has 32 registers, of which 20 sums (4 · 5) leave enough for the operands; elsewhere a vector takes
# two or four registers of the machine's 16 or 32. More sums would spill, fewer would load each operand more
# often. Of more than 256 classes BLAS is as fast with AVX-512; 32 has not been measured (docs/decisions.md).
# Without fused multiply-adds BLAS, which knows such processors, does every product.
WIDE = Width(4, 5, 4, 256)
NARROW = Width(2, 3, 2, 32)


@functools.cache
def width() -> Width:
    """Return the shapes for this process."""
    # Not by an import statement, which seals follow: what loads a library has no part in its kernels.
    library: Any = lazy_imports.module("fastsoftmax.runtime.library")
    of_library = library.width()
    if of_library is not None:
        return Width(*of_library)
    found = WIDE if cpu_level.has_wide_registers() else NARROW
    return found if cpu_level.has_fma() else found._replace(max_classes=0)
