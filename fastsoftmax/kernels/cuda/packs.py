"""Packs: 16 bytes at a time between memory and registers, in each of the number formats.

A pack is what one 128-bit instruction moves: two float64, four float32, eight float16 or bf16. 16-bit numbers
are float32 in registers. Arrays of bf16 are uint16 (its bits), so that the element type tells formats apart.

Notes
-----
Compilers do not combine four loads into one unless they can prove that the address is a multiple of 16. Here
the caller guarantees it, and an `@intrinsic` states it. In Numba's simulator, which has no intrinsics, plain
loops take their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.cuda.runtime import SIMULATED, inlined

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers

PACK_BYTES = 16


class Format(NamedTuple):
    """A number format: its type in memory (`stored`) and in registers (`real`), and the numbers of a pack."""

    stored: type
    real: Any  # np.float32 or np.float64, which is called
    per_pack: int


FORMATS = {
    "float32": Format(np.float32, np.float32, 4),
    "float64": Format(np.float64, np.float64, 2),
    "float16": Format(np.float16, np.float32, 8),
    "bfloat16": Format(np.uint16, np.float32, 8),
}


def rounded_bf16(value: Any) -> Any:
    """Return the bits of a float32 rounded to bf16: to nearest, ties to even."""
    if np.isnan(value):
        return np.uint16(0x7FFF)
    bits = int(np.float32(value).view(np.uint32))
    return np.uint16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)


def bf16_values(bits: DeviceNumbers) -> DeviceNumbers:
    """Return the float32 values of an array of bf16 bits."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _read(x: Any, i: Any) -> Any:
    value = x[i]
    if isinstance(value, np.uint16):
        return (np.uint32(value) << np.uint32(16)).view(np.float32)
    return np.float32(value) if isinstance(value, np.float16) else value


def _write(x: Any, i: Any, value: Any) -> None:
    x[i] = rounded_bf16(value) if x.dtype == np.uint16 else value


def _read_pack(x: Any, i: Any, workspace: Any, at: Any) -> None:
    for j in range(PACK_BYTES // x.dtype.itemsize):
        workspace[at + j] = _read(x, i + j)


def _write_pack(x: Any, i: Any, workspace: Any, at: Any) -> None:
    for j in range(PACK_BYTES // x.dtype.itemsize):
        _write(x, i + j, workspace[at + j])


if SIMULATED:
    read, write, read_pack, write_pack = _read, _write, _read_pack, _write_pack
else:
    from fastsoftmax.kernels.cuda.intrinsics import read, read_pack, write, write_pack


@inlined
def read_part(x, start, first, stop, skewed, fill, workspace, at, count):
    """Read elements first to first + count of a row into workspace; `fill` for those outside [0, stop).

    Parameters
    ----------
    x : array
    start : int
        The index in x of the row's first element.
    first, stop : int
        The first element to read, and the length of the row.
    skewed : bool
        Whether the pack at start + first may straddle a 16-byte boundary; it is then read element by element.
    fill : real
    workspace : local array
        Receives the elements, from index `at` on.
    at : int
    count : int
        The elements of a pack.
    """
    if first >= 0 and first + count <= stop and not skewed:
        read_pack(x, start + first, workspace, at)
    else:
        for j in range(count):
            k = first + j
            workspace[at + j] = read(x, start + k) if k >= 0 and k < stop else fill


@inlined
def write_part(x, start, first, stop, skewed, workspace, at, count):
    """Write elements first to first + count of a row that lie in [0, stop); arguments as for `read_part`."""
    if first >= 0 and first + count <= stop and not skewed:
        write_pack(x, start + first, workspace, at)
    else:
        for j in range(count):
            k = first + j
            if k >= 0 and k < stop:
                write(x, start + k, workspace[at + j])
