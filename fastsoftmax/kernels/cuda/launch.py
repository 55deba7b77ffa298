"""From arrays on the device to launches: formats, alignment, streams."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cuda.packs import FORMATS, PACK_BYTES, Format
from fastsoftmax.kernels.cuda.runtime import LEAST_THREADS, SIMULATED, PerformanceWarning, arrays, cuda

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.shapes import Shape


def form_of(dtype: Any) -> str:
    """Return the name of the format that a dtype is; that of uint16 is bfloat16, whose bits it holds."""
    return "bfloat16" if dtype == np.uint16 else np.dtype(dtype).name


def address(a: Any) -> int:
    """Return where an array begins."""
    if isinstance(a, np.ndarray):
        return int(a.__array_interface__["data"][0])
    return int(a.data.ptr)


def lead_of(a: Any, form: Format) -> int:
    """Return how many elements past a multiple of 16 bytes an array begins."""
    return address(a) // a.dtype.itemsize % form.per_pack


def empty(shape: Any, dtype: Any) -> Any:
    """Return an array on the device, of whatever stood there."""
    return arrays().empty(shape, dtype)


@functools.cache
def _stream(handle: int) -> Any:
    """Return a stream of the caller's as Numba names it; the default one is 0 to everybody."""
    return cuda.external_stream(handle) if handle else 0


def launch(kernel: Any, blocks: int, threads: int, *arguments: Any) -> None:
    """Run a kernel on the caller's stream. No host waits for it.

    Arrays are passed by their address alone: of an array that names a stream, Numba would wait for that
    stream on the host, and here it is the one that the kernel goes to.
    """
    if blocks == 0:
        return
    if SIMULATED:
        # As on a device, arrays of one memory are one: NumPy's would be copied there and back, each by
        # itself.
        one = cuda.cudadrv.devicearray.FakeCUDAArray
        kernel[blocks, threads](*(one(a) if isinstance(a, np.ndarray) else a for a in arguments))
        return
    stream = _stream(arrays().cuda.get_current_stream().ptr)
    ours = arrays().ndarray
    passed = [cuda.as_cuda_array(a, sync=False) if isinstance(a, ours) else a for a in arguments]
    with warnings.catch_warnings():
        # Numba advises larger grids; these are as large as the work.
        warnings.simplefilter("ignore", PerformanceWarning)
        configured = kernel[blocks, threads, stream]
    configured(*passed)


def pieces_of(shape: Shape, n_rows: int) -> list[tuple[int, int]]:
    """Return the rows of each launch: first and last."""
    return [(first, min(first + shape.rows, n_rows)) for first in range(0, n_rows, max(1, shape.rows))]


def total(values: Any) -> Any:
    """Return the sum of float64 numbers as an array () on the device, added in one order."""
    from fastsoftmax.kernels.cuda.products import SUM_THREADS, sum_kernel

    threads = LEAST_THREADS if SIMULATED else SUM_THREADS
    while True:
        blocks = min(256, max(1, -(-values.size // threads)))
        out = empty(blocks, np.float64)
        launch(sum_kernel(), blocks, threads, values, values.size, out)
        if blocks == 1:
            return out[0] if SIMULATED else out.reshape(())
        values = out


__all__ = ["FORMATS", "PACK_BYTES", "address", "empty", "form_of", "launch", "lead_of", "pieces_of", "total"]
