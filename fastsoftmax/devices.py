"""From a device's name to the module that computes there, and tasks run on it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, cast

from fastsoftmax import loading

if TYPE_CHECKING:
    from fastsoftmax.contracts import RowBlock, Sums, Task
    from fastsoftmax.protocols import Device

DEVICES = {"cpu": "fastsoftmax.kernels.cpu", "cuda": "fastsoftmax.kernels.cuda"}


@functools.cache
def get(name: str) -> Device:
    """Return the module that computes on a device.

    Raises
    ------
    ValueError
        If no device has that name.
    DeviceUnavailable
        If the device is known but cannot be used here.
    """
    if name not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(map(repr, DEVICES))}; got {name!r}")
    device = cast("Device", loading.module(DEVICES[name]))
    device.require()
    return device


CUDA_KINDS = (2, 13)  # DLPack's numbers for memory of an NVIDIA GPU, and for managed memory


def elsewhere(x: Any) -> Any:
    """Return the module that computes where an array of another library lies; None for one of the host.

    Raises
    ------
    DeviceUnavailable
        If nothing can be computed there.
    """
    kind = getattr(x, "__dlpack_device__", None)
    # PyTorch's CUDA tensors that have a gradient refuse the other protocol, and its CPU tensors know both.
    there = int(kind()[0]) in CUDA_KINDS if kind is not None else hasattr(x, "__cuda_array_interface__")
    return get("cuda") if there else None


def run(task: Task, device: str, block: RowBlock, n_threads: int | None) -> Sums:
    """Run a task on a block of rows; everything it takes can be pickled, for a worker elsewhere."""
    verb = getattr(get(device), task.verb)
    sums: Sums = verb(task.loss, task.params, *task.extra, block, n_threads, dtype=task.dtype)
    return sums
