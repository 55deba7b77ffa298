"""From a device's name to the module that computes there, and tasks run on it.

"auto" is settled here, by the size of the problem alone: the same problem goes to the same device whatever
else the process has done, and however many threads are asked for.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastsoftmax import loading
from fastsoftmax.contracts import Csr, DeviceUnavailable, Guest, Resident

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from fastsoftmax.contracts import RowBlock, Sums, Task
    from fastsoftmax.protocols import Device

DEVICES = {"cpu": "fastsoftmax.kernels.cpu", "cuda": "fastsoftmax.kernels.cuda"}
AUTO = "auto"
CHOICES = (*DEVICES, AUTO)

# What "auto" reckons with. A GPU is taken for a slow one, so that the choice of one is right on any: products
# as a small card has them, and the copies of a PCIe 3 slot from memory that is not pinned.
START_SECONDS = 2.0  # until the driver, cuBLAS and the kernels are there: once a process
COPY_BYTES = 6e9  # a second, from the host to the GPU
LAUNCH_SECONDS = 4e-4  # of a pass: some twenty launches of 4 µs and 1.7 µs an array, and the host's wait
GPU_FLOPS = 4e12  # a second, in float32; of float64 a GPU says itself how much slower it is, at least twice
CPU_FLOPS = {4: 4e10, 8: 2e10}  # of a core
CPU_BYTES = 1e10  # a second, that are read from the host's memory at best
SPARSE = 8  # times as dear is the multiplication of an entry that is gathered
FIT_PASSES = 60


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
        raise ValueError(f"device must be one of {', '.join(map(repr, CHOICES))}; got {name!r}")
    device = cast("Device", loading.module(DEVICES[name]))
    device.require()
    return device


def settled(name: str, X: Any, n_outputs: int, passes: float = FIT_PASSES) -> str:
    """Return the name of the device that computes on rows: the one asked for, or what "auto" comes to.

    Parameters
    ----------
    name : {"cpu", "cuda", "auto"}
    X : ndarray, Halves, Csr or Guest, (n, d)
    n_outputs : int
        The number of logits of a row.
    passes : float
        How many times the rows will be read; half a pass makes logits and no sums.

    Raises
    ------
    ValueError
        If no device has that name.
    TypeError
        If X is on a GPU already and the CPU is asked for. "auto" leaves it where it is.
    DeviceUnavailable
        If the device asked for cannot be used here. "auto" is then "cpu", and says nothing.

    Notes
    -----
    "auto" is "cuda" where

        START + bytes of X / COPY + passes · (LAUNCH + bytes of two gradients / COPY + flops / GPU)

    is less than `passes` times what the CPU takes for the flops or for reading X, whichever is longer; flops
    are 4 n d K, or 32 K for each entry of sparse rows. Rows for which the GPU has no room are copied once a
    pass. A GPU is looked for only where a good one would be chosen.
    """
    if name != AUTO:
        get(name)
        if isinstance(X, Guest):
            refuse_on_the_host(name, "X")
        return name
    if isinstance(X, Guest):
        return "cuda"
    _, on_cpu, on_gpu = _estimate(X, n_outputs, passes, 0.5)
    if on_gpu >= on_cpu:
        return "cpu"
    try:
        device = get("cuda")
    except DeviceUnavailable:
        return "cpu"
    n_bytes, on_cpu, on_gpu = _estimate(X, n_outputs, passes, device.float64_share())
    if not device.has_room(n_bytes):
        on_gpu += (passes - 1) * n_bytes / COPY_BYTES
    return "cuda" if on_gpu < on_cpu else "cpu"


def _estimate(X: Any, n_outputs: int, passes: float, share: float) -> tuple[int, float, float]:
    """Return the bytes of rows, and the seconds of so many passes on the CPU and on a GPU with room.

    `share` is the GPU's speed in float64 against that in float32.
    """
    sparse = isinstance(X, Csr)
    dtype = X.data.dtype if sparse else X.dtype
    entries = X.data.size if sparse else math.prod(X.shape)
    n_bytes = dtype.itemsize * entries + (X.indices.nbytes + X.indptr.nbytes if sparse else 0)
    flops = 4.0 * entries * n_outputs * (SPARSE if sparse else 1)
    size = 4 if dtype.itemsize <= 2 or dtype == "float32" else 8  # of the numbers in products
    vectors = 2 * 8 * n_outputs * (X.shape[1] + 1)
    on_cpu = passes * max(flops / (_n_cores() * CPU_FLOPS[size]), n_bytes / CPU_BYTES)
    each = LAUNCH_SECONDS + vectors / COPY_BYTES + flops / (GPU_FLOPS * (1.0 if size == 4 else share))
    return n_bytes, on_cpu, START_SECONDS + n_bytes / COPY_BYTES + passes * each


def _n_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity call
        return os.cpu_count() or 1


CUDA_KINDS = (2, 13)  # DLPack's numbers for memory of an NVIDIA GPU, and for managed memory


def elsewhere(x: Any) -> Any:
    """Return the module that computes where an array of another library lies; None for one of the host.

    Raises
    ------
    DeviceUnavailable
        If nothing can be computed there.
    """
    if isinstance(x, np.ndarray):
        return None
    kind = getattr(x, "__dlpack_device__", None)
    # PyTorch's CUDA tensors that have a gradient refuse the other protocol, and its CPU tensors know both.
    there = int(kind()[0]) in CUDA_KINDS if kind is not None else hasattr(x, "__cuda_array_interface__")
    return get("cuda") if there else None


def refuse_on_the_host(device: str, argument: str) -> None:
    """Raise TypeError, with what to do, if the device is the CPU: the argument is on a GPU."""
    if device == "cpu":
        raise TypeError(
            f"{argument} is an array on a GPU, and device='cpu' computes on the host: give device='cuda' or "
            f"'auto', or bring {argument} to the host first (.get() in CuPy, .cpu() in PyTorch)"
        )


def fetched(argument: str, a: Any, device: str, rows: Any = None) -> tuple[Any, Any]:
    """Return labels or weights on the host, where they are checked, and the rows that they belong to.

    What is on the host, and is no array at all, comes back as it is. The rows, where they are a `Guest`,
    remember the caller's array: the device reads that.

    Raises
    ------
    TypeError
        If they are on a GPU, and `device` is "cpu".
    """
    there = elsewhere(a)
    if there is None:
        return a, rows
    refuse_on_the_host(device, argument)
    guest = there.taken(a)
    here = there.fetched(guest)
    if isinstance(rows, Guest):
        rows = rows._replace(companions=(*rows.companions, (here, guest.array)))
    return here, rows


def work(rows: Any) -> AbstractContextManager[Any]:
    """Return a context in which work on rows goes to their owner's stream."""
    owned = rows.host if isinstance(rows, Resident) else rows
    return owned.stream() if isinstance(owned, Guest) else contextlib.nullcontext()


def room(rows: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an array of whatever stood there, for results of rows, where these are."""
    on_the_gpu: Any = get("cuda") if isinstance(rows, Guest) else np
    return on_the_gpu.empty(shape, dtype)


def given_back(rows: Any, result: Any) -> Any:
    """Return results as an array of the kind that the rows were; of words there is none on a GPU."""
    return rows.given_back(result) if isinstance(rows, Guest) and result.dtype.kind in "biuf" else result


def run(task: Task, device: str, block: RowBlock, n_threads: int | None) -> Sums:
    """Run a task on a block of rows; everything it takes can be pickled, for a worker elsewhere."""
    verb = getattr(get(device), task.verb)
    sums: Sums = verb(task.loss, task.params, *task.extra, block, n_threads, dtype=task.dtype)
    return sums
