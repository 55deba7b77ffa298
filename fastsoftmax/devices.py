"""From a device's name to the module that computes there, and tasks run on it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

from fastsoftmax import loading
from fastsoftmax.contracts import DeviceUnavailable

if TYPE_CHECKING:
    from fastsoftmax.contracts import RowBlock, Sums, Task
    from fastsoftmax.protocols import Device

DEVICES = {"cpu": "fastsoftmax.kernels.cpu"}


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
    if name == "cuda":
        raise DeviceUnavailable("device 'cuda' is not part of this version of fastsoftmax; use device='cpu'")
    if name not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(map(repr, DEVICES))}; got {name!r}")
    return cast("Device", loading.module(DEVICES[name]))


def run(task: Task, device: str, block: RowBlock, n_threads: int | None) -> Sums:
    """Run a task on a block of rows; everything it takes can be pickled, for a worker elsewhere."""
    verb = getattr(get(device), task.verb)
    sums: Sums = verb(task.loss, task.params, *task.extra, block, n_threads, dtype=task.dtype)
    return sums
