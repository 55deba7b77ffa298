"""Arrays of other libraries that are on a device already: their detection, and results of their kind.

This is the only module that tells such rows from those of the host.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import DeviceArray, Resident
from fastsoftmax.contracts.storages import storage_of
from fastsoftmax.devices.guests import hosted
from fastsoftmax.devices.registry import accelerator

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, DType, HostRows, Rows
    from fastsoftmax.contracts.device import Accelerator

CUDA_KINDS = (2, 13)  # DLPack's device types kDLCUDA and kDLCUDAManaged


def elsewhere(x: Any) -> Accelerator | None:
    """Return the device module for an array of another library on a GPU; None for host arrays and others.

    Raises
    ------
    DeviceUnavailable
        If x is on a GPU that cannot be used.
    """
    if isinstance(x, np.ndarray):
        return None
    dlpack_device = getattr(x, "__dlpack_device__", None)
    # DLPack first: PyTorch's CUDA tensors that require a gradient refuse `__cuda_array_interface__`, and its
    # CPU tensors have both attributes.
    if dlpack_device is not None:
        try:
            on_gpu = int(dlpack_device()[0]) in CUDA_KINDS
        except (BufferError, RuntimeError, ValueError):
            return None  # a place that DLPack has no number for ("meta"): `guest` says that it cannot be read
    else:
        on_gpu = hasattr(x, "__cuda_array_interface__")
    return accelerator() if on_gpu else None


def refuse_on_the_host(device: str, argument: str) -> None:
    """Raise TypeError, with the remedy, if `device` is "cpu": the argument is an array on a GPU."""
    if device == "cpu":
        raise TypeError(
            f"{argument} is an array on a GPU, and device='cpu' computes on the host: give device='cuda' or "
            f"'auto', or bring {argument} to the host first (.get() in CuPy, .cpu() in PyTorch)"
        )


def fetched(argument: str, a: Any, device: str, rows: Any = None) -> tuple[Any, Any]:
    """Return a host copy of labels or weights `a`, for validation, and the rows that they belong to.

    An argument that is not on a GPU is returned itself, or as NumPy's array in the same memory. Rows that are
    a `DeviceArray` get the caller's array as a companion, so that the device reads it without an upload.

    Raises
    ------
    TypeError
        If `a` is on a GPU and `device` is "cpu".
    """
    owner = elsewhere(a)
    if owner is None:
        return hosted(argument, a), rows
    refuse_on_the_host(device, argument)
    device_array = owner.taken(a)
    host_array = owner.fetched(device_array)
    if isinstance(rows, DeviceArray):
        rows = rows._replace(companions=(*rows.companions, (host_array, device_array.array)))
    return host_array, rows


def work(rows: Rows | Resident) -> AbstractContextManager[Any]:
    """Return a context in which GPU work on rows goes to their library's stream; else a null context."""
    source = rows.host if isinstance(rows, Resident) else rows
    return source.stream() if isinstance(source, DeviceArray) else contextlib.nullcontext()


def empty(rows: Rows, shape: tuple[int, ...], dtype: DType | type) -> Any:
    """Return an uninitialised array on the device of the rows."""
    return accelerator().empty(shape, dtype) if isinstance(rows, DeviceArray) else np.empty(shape, dtype)


def given_back(rows: Rows, result: Any) -> Any:
    """Return results as an array of the rows' library; arrays of text stay NumPy's."""
    return (
        rows.given_back(result) if isinstance(rows, DeviceArray) and result.dtype.kind in "biuf" else result
    )


def labels_for(rows: Rows, classes: Array, shape: tuple[int, ...]) -> tuple[Array, Callable[[Array], Array]]:
    """Return an uninitialised array for labels of rows, and the function from class indices to labels.

    The array is on the rows' device; labels of text, which a GPU cannot hold, are on the host.
    """
    if not isinstance(rows, DeviceArray):
        return np.empty(shape, classes.dtype), lambda codes: classes[codes]
    device = accelerator()
    if classes.dtype.kind not in "biuf":
        return np.empty(shape, classes.dtype), lambda codes: classes[device.here(codes)]
    table = device.there(classes)
    return device.empty(shape, table.dtype), lambda codes: table[codes]


def take_rows(rows: Rows | Resident, places: NDArray[np.int64]) -> Rows:
    """Return a copy of the rows with these indices, in the same storage."""
    source = rows.host if isinstance(rows, Resident) else rows
    if isinstance(source, DeviceArray):
        return accelerator().some_rows(source, places)
    taken: Rows = storage_of(source).take(source, places)
    return taken


def taken_to_host(rows: Rows, places: NDArray[np.int64]) -> HostRows:
    """Return a copy of the rows with these indices on the host."""
    taken: Any = take_rows(rows, places)
    return accelerator().fetched(taken) if isinstance(taken, DeviceArray) else taken


def with_constant(rows: DeviceArray, value: float) -> DeviceArray:
    """Return a float64 copy of rows on a device with one more feature, constant at `value`."""
    return accelerator().with_constant(rows, value)
