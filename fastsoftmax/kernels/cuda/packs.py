"""Sixteen bytes at a time between memory and registers, whatever the numbers are stored as.

A pack is what one 128-bit instruction moves: two float64, four float32, eight float16 or bfloat16. Numbers of
16 bits are float32 in registers. Arrays of float16 are NumPy's, those of bfloat16 are the uint16 of its bits:
the element type tells a compiled function what the bits mean.

Notes
-----
Compilers do not join four loads into one where they cannot prove that the address is a multiple of 16. Here
the caller proves it, and an `@intrinsic` says so. In Numba's simulator, where intrinsics do not exist, plain
loops take their place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.cuda.runtime import SIMULATED, inlined

PACK_BYTES = 16


class Format(NamedTuple):
    """How numbers are stored.

    `stored` and `real` are the types in memory and in registers, `per_pack` the numbers of a pack.
    """

    stored: Any
    real: Any
    per_pack: int


FORMATS = {
    "float32": Format(np.float32, np.float32, 4),
    "float64": Format(np.float64, np.float64, 2),
    "float16": Format(np.float16, np.float32, 8),
    "bfloat16": Format(np.uint16, np.float32, 8),
}


def rounded_brain(value: Any) -> Any:
    """Return the bits of a float32 rounded to the nearest bfloat16, of two equally near ones the even."""
    if np.isnan(value):
        return np.uint16(0x7FFF)
    bits = int(np.float32(value).view(np.uint32))
    return np.uint16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


def brain_values(bits: Any) -> Any:
    """Return an array of the float32 that bits of bfloat16 stand for."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _read(x: Any, i: Any) -> Any:
    value = x[i]
    if isinstance(value, np.uint16):
        return (np.uint32(value) << np.uint32(16)).view(np.float32)
    return np.float32(value) if isinstance(value, np.float16) else value


def _write(x: Any, i: Any, value: Any) -> None:
    x[i] = rounded_brain(value) if x.dtype == np.uint16 else value


def _read_pack(x: Any, i: Any, room: Any, at: Any) -> None:
    for j in range(PACK_BYTES // x.dtype.itemsize):
        room[at + j] = _read(x, i + j)


def _write_pack(x: Any, i: Any, room: Any, at: Any) -> None:
    for j in range(PACK_BYTES // x.dtype.itemsize):
        _write(x, i + j, room[at + j])


if SIMULATED:
    read, write, read_pack, write_pack = _read, _write, _read_pack, _write_pack
else:
    from fastsoftmax.kernels.cuda.intrinsics import read, read_pack, write, write_pack


@inlined
def read_part(x, start, first, stop, skewed, fill, room, at, count):
    """Put elements first to first + count of a row into room; in place of those not in [0, stop), `fill`.

    Parameters
    ----------
    x : array
    start : int
        Where the row begins in x.
    first, stop : int
        The first element wanted, and the length of the row.
    skewed : bool
        Whether start + first need not be a multiple of `count` elements from an address that is a multiple
        of 16 bytes.
    fill : real
    room : local array
        Receives the elements from place `at` on.
    count : int
        The elements of a pack.
    """
    if first >= 0 and first + count <= stop and not skewed:
        read_pack(x, start + first, room, at)
    else:
        for j in range(count):
            k = first + j
            room[at + j] = read(x, start + k) if k >= 0 and k < stop else fill


@inlined
def write_part(x, start, first, stop, skewed, room, at, count):
    """Write what `read_part` has read: elements first to first + count that lie in [0, stop)."""
    if first >= 0 and first + count <= stop and not skewed:
        write_pack(x, start + first, room, at)
    else:
        for j in range(count):
            k = first + j
            if k >= 0 and k < stop:
                write(x, start + k, room[at + j])
