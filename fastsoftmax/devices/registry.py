"""The device modules by name, and the answer of a device to a query."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar, cast

from fastsoftmax.contracts import DeviceUnavailable
from fastsoftmax.contracts.wording import shown
from fastsoftmax.runtime import lazy_imports

if TYPE_CHECKING:
    from fastsoftmax.contracts import RowBlock
    from fastsoftmax.contracts.device import Accelerator, Device, Host, Loss
    from fastsoftmax.contracts.protocols import Addable, Query

    Answer = TypeVar("Answer", bound=Addable)

DEVICES = {"cpu": "fastsoftmax.kernels.cpu", "cuda": "fastsoftmax.kernels.cuda"}
AUTO = "auto"
CHOICES = (*DEVICES, AUTO)


@functools.cache
def get(name: str) -> Device:
    """Return the module of a device, ready for use.

    Raises
    ------
    ValueError
        If no device has that name.
    DeviceUnavailable
        If the device cannot be used here; the message says why.
    """
    if name not in DEVICES:
        raise ValueError(f"device must be one of {', '.join(map(repr, CHOICES))}; got {shown(name)}")
    try:
        device = cast("Device", lazy_imports.module(DEVICES[name]))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fastsoftmax"):
            raise
        raise DeviceUnavailable(f"device {name!r} needs {error.name}, which is not installed") from error
    device.require()
    return device


@functools.cache
def host() -> Host:
    """Return the module of the CPU, which computes on NumPy arrays."""
    return cast("Host", get("cpu"))


def accelerator() -> Accelerator:
    """Return the module of the GPU. Raises DeviceUnavailable if it cannot be used here."""
    return cast("Accelerator", get("cuda"))


def answer(query: Query[Answer], loss: Loss, device: str, block: RowBlock, n_threads: int | None) -> Answer:
    """Return a device's answer to a query about a block of rows.

    Every argument can be pickled, so that a worker process computes the same answer.
    """
    return query.on(get(device), loss, block, n_threads)
