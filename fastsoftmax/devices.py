"""From a device's name to the module that computes there, and tasks run on it."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, cast

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
    device = cast("Device", importlib.import_module(DEVICES[name]))
    device.require()
    return device


def run(task: Task, device: str, block: RowBlock, n_threads: int | None) -> Sums:
    """Run a task on a block of rows; everything it takes can be pickled, for a worker elsewhere."""
    verb = getattr(get(device), task.verb)
    sums: Sums = verb(task.loss, task.params, *task.extra, block, n_threads, dtype=task.dtype)
    return sums
