"""Arrays of other libraries on the device, used without a copy and on their library's stream.

CuPy arrays, PyTorch's CUDA tensors, Numba's device arrays, and any others with `__cuda_array_interface__` or
`__dlpack__`. A result is of the caller's library, or a CuPy array where that library cannot take one over.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import NATIVE_DTYPES, DeviceArray
from fastsoftmax.kernels.cuda.blocks import CHUNK_BYTES, here, there
from fastsoftmax.kernels.cuda.packs import bf16_values
from fastsoftmax.kernels.cuda.runtime import arrays, cuda, external_stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers

BF16_EXPONENT = 0x7F80  # bits of bf16; all set in an infinity or NaN


def taken(x: Any) -> DeviceArray:
    """Return an array on the device, of any library, as a `DeviceArray`, without a copy."""
    xp = arrays()
    if isinstance(x, xp.ndarray):
        return _from_cupy(x)
    library = type(x).__module__.partition(".")[0]
    if library == "torch":
        return _from_torch(x)
    if library in ("numba", "numba_cuda"):
        return DeviceArray(xp.asarray(x), cuda.as_cuda_array, contextlib.nullcontext)
    shared = xp.asarray(x) if hasattr(x, "__cuda_array_interface__") else xp.from_dlpack(x)
    return DeviceArray(shared, lambda result: result, contextlib.nullcontext)


def _from_cupy(x: Any) -> DeviceArray:
    bf16 = x.dtype.name == "bfloat16"
    array = x.view(np.uint16) if bf16 else x

    def to_cupy(result: DeviceNumbers) -> Any:
        return result.view(x.dtype) if bf16 and result.dtype == np.uint16 else result

    return DeviceArray(array, to_cupy, contextlib.nullcontext, bf16)


def _from_torch(x: Any) -> DeviceArray:
    import torch

    xp = arrays()
    bf16 = x.dtype == torch.bfloat16
    detached = x.detach()
    array = xp.from_dlpack(detached.view(torch.int16)).view(np.uint16) if bf16 else xp.from_dlpack(detached)

    def to_torch(result: DeviceNumbers) -> Any:
        if bf16 and result.dtype == np.uint16:
            return torch.from_dlpack(result.view(np.int16)).view(torch.bfloat16)
        return torch.from_dlpack(result)

    def stream() -> Any:
        return external_stream(torch.cuda.current_stream(x.device).cuda_stream)

    return DeviceArray(array, to_torch, stream, bf16)


def fetched(device_array: DeviceArray) -> Array:
    """Return an array's values as a NumPy array, bf16 as float32. The host waits."""
    with device_array.stream():
        return np.asarray(here(bf16_values(device_array.array) if device_array.bf16 else device_array.array))


def checked_rows(x: Any, name: str = "X", min_rows: int = 1) -> DeviceArray:
    """Return rows (n, d) on the device after checking that they are finite real numbers.

    As `data.validation.design_matrix` does: dtypes that no kernel reads are copied to float64. The check
    reads the rows once, and the host waits for its result.

    Raises
    ------
    ValueError
        If x is not 2-D, has fewer than `min_rows` rows or no columns, or holds NaN or an infinity.
    TypeError
        If its numbers are not real.
    """
    device_array = taken(x)
    a = device_array.array
    if a.ndim != 2:
        raise ValueError(f"{name} must be a matrix (n, d); got shape {a.shape}")
    if a.shape[0] < min_rows or a.shape[1] < 1:
        raise ValueError(
            f"{name} must have at least {min_rows} row(s) and one feature (minimum of {min_rows} is "
            f"required); got shape {a.shape}: found array with {a.shape[0]} sample(s)"
        )
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be real numbers; got {a.dtype}")
    with device_array.stream():
        if not device_array.bf16 and a.dtype not in (*NATIVE_DTYPES, np.float16):
            a = a.astype(np.float64)
        if (device_array.bf16 or a.dtype.kind == "f") and not _all_finite(a, device_array.bf16):
            raise ValueError(f"{name} contains NaN or infinity")
    return device_array._replace(array=a)


def _all_finite(a: DeviceNumbers, bf16: bool) -> bool:
    xp = arrays()
    step = max(1, CHUNK_BYTES // (a.itemsize * a.shape[1]))
    good = xp.ones((), bool)
    for first in range(0, len(a), step):
        part = a[first : first + step]
        good &= (((part & BF16_EXPONENT) != BF16_EXPONENT) if bf16 else xp.isfinite(part)).all()
    return bool(good)


def some_rows(rows: DeviceArray, chosen: NDArray[np.int64]) -> DeviceArray:
    """Return a copy of the rows with these indices, (m,)."""
    with rows.stream():
        return rows._replace(array=rows.array[there(chosen)])


def with_constant(rows: DeviceArray, value: float) -> DeviceArray:
    """Return a float64 copy of the rows with one more feature, (n, d + 1), which is `value` in every row."""
    xp = arrays()
    with rows.stream():
        dense = bf16_values(rows.array) if rows.bf16 else rows.array
        column = xp.full((len(dense), 1), value)
        return rows._replace(array=xp.concatenate((dense.astype(np.float64), column), axis=1), bf16=False)
