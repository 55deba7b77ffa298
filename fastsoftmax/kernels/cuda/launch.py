"""Launches of kernels on device arrays: number formats, alignment, streams."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.kernels.cuda.packs import FORMATS, PACK_BYTES, Format
from fastsoftmax.kernels.cuda.runtime import MIN_THREADS, SIMULATED, PerformanceWarning, arrays, cuda

if TYPE_CHECKING:
    from fastsoftmax.contracts import DType
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers, Kernel
    from fastsoftmax.kernels.cuda.shapes import Shape


def form_of(dtype: DType) -> str:
    """Return the key of a dtype in `FORMATS`; uint16 holds the bits of bf16."""
    return "bfloat16" if dtype == np.uint16 else np.dtype(dtype).name


def address(a: DeviceNumbers) -> int:
    """Return the address of an array's first element."""
    if isinstance(a, np.ndarray):
        return int(a.__array_interface__["data"][0])
    return int(a.data.ptr)


def lead_of(a: DeviceNumbers, form: Format) -> int:
    """Return the number of elements between the last 16-byte boundary and the array's first element."""
    return address(a) // a.dtype.itemsize % form.per_pack


def empty(shape: int | tuple[int, ...], dtype: DType | type) -> DeviceNumbers:
    """Return an uninitialised array on the device."""
    return arrays().empty(shape, dtype)


@functools.cache
def _stream(handle: int) -> Any:
    """Return a CuPy stream's handle as a Numba stream; the default stream is 0 in both."""
    return cuda.external_stream(handle) if handle else 0


def launch(kernel: Kernel, blocks: int, threads: int, *arguments: Any) -> None:
    """Launch a kernel on the current stream; the host does not wait.

    Arrays are passed without their stream: Numba would make the host wait for it, although it is the stream
    that the kernel is launched on.
    """
    if blocks == 0:
        return
    if SIMULATED:
        # As on a device, arrays may share memory: NumPy arrays would each be copied and copied back.
        one = cuda.cudadrv.devicearray.FakeCUDAArray
        kernel[blocks, threads](*(one(a) if isinstance(a, np.ndarray) else a for a in arguments))
        return
    stream = _stream(arrays().cuda.get_current_stream().ptr)
    ours = arrays().ndarray
    passed = [cuda.as_cuda_array(a, sync=False) if isinstance(a, ours) else a for a in arguments]
    with warnings.catch_warnings():
        # Numba warns of small grids; these are as large as the work.
        warnings.simplefilter("ignore", PerformanceWarning)
        configured = kernel[blocks, threads, stream]
    configured(*passed)


def pieces_of(shape: Shape, n_rows: int) -> list[tuple[int, int]]:
    """Return the ranges of rows, (first, one after the last), of the launches."""
    return [(first, min(first + shape.rows, n_rows)) for first in range(0, n_rows, max(1, shape.rows))]


def total(values: DeviceNumbers) -> DeviceNumbers:
    """Return the sum of a float64 array as an array () on the device, always added in the same order."""
    from fastsoftmax.kernels.cuda.products import SUM_THREADS, sum_kernel

    threads = MIN_THREADS if SIMULATED else SUM_THREADS
    while True:
        blocks = min(256, max(1, -(-values.size // threads)))
        out = empty(blocks, np.float64)
        launch(sum_kernel(), blocks, threads, values, values.size, out)
        if blocks == 1:
            return out[0] if SIMULATED else out.reshape(())
        values = out


__all__ = ["FORMATS", "PACK_BYTES", "address", "empty", "form_of", "launch", "lead_of", "pieces_of", "total"]
