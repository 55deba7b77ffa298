"""The placement of device="auto": a device chosen by the size of the problem and the machine alone.

The same problem goes to the same device, independently of what else the process has done and of `n_threads`.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from fastsoftmax.contracts import Csr, DeviceArray, DeviceUnavailable, compute_dtype
from fastsoftmax.devices.external import refuse_on_the_host
from fastsoftmax.devices.registry import AUTO, accelerator, get

if TYPE_CHECKING:
    from fastsoftmax.contracts import Rows

# The constants of the estimate are assumed, not measured on a GPU (docs/gpu.md). They describe a slow
# GPU, so that choosing it is right on any: the products of a small card, and copies through a PCIe 3 slot
# from memory that is not pinned.
START_SECONDS = 2.0  # to load the driver, cuBLAS and the kernels, once a process
COPY_BYTES = 6e9  # a second, from the host to the GPU
LAUNCH_SECONDS = 4e-4  # a pass: some twenty launches of 4 µs and 1.7 µs an array, and the host's wait
GPU_FLOPS = 4e12  # a second in float32; `float64_speed` of the device says how much slower float64 is
CPU_FLOPS = {4: 4e10, 8: 2e10}  # a second and core, by the itemsize of the products
CPU_BYTES = 1e10  # a second, read from the host's memory by all cores
SPARSE = 8  # the cost of a multiplication with a gathered entry, in dense multiplications
FIT_PASSES = 60  # of a typical fit: the estimate cannot know how many one takes (docs/solver.md: 4 to 400)


def settled(name: str, X: Rows, n_outputs: int, passes: float = FIT_PASSES) -> str:
    """Return the name of the device that computes on rows: `name` itself, or the choice of "auto".

    Parameters
    ----------
    name : {"cpu", "cuda", "auto"}
    X : ndarray, Halves, Csr or DeviceArray, (n, d)
    n_outputs : int
        The number of logits of a row.
    passes : float
        The expected number of passes over the rows; logits without sums are half a pass.

    Raises
    ------
    ValueError
        If no device has that name.
    TypeError
        If X is on a GPU already and `name` is "cpu". "auto" is then "cuda".
    DeviceUnavailable
        If the device of that name cannot be used here. "auto" is then "cpu", without a warning.

    Notes
    -----
    "auto" is "cuda" where

        START + bytes of X / COPY + passes · (LAUNCH + bytes of two gradients / COPY + flops / GPU)

    seconds is less than `passes` times the CPU's time for the flops or for reading X, the longer of both;
    flops are 4 n d K, or 32 K for each entry of sparse rows. Rows that do not fit the GPU's memory are copied
    once a pass. A GPU is initialised only if one that computes float64 at half the speed would be chosen.
    """
    if name != AUTO:
        get(name)
        if isinstance(X, DeviceArray):
            refuse_on_the_host(name, "X")
        return name
    if isinstance(X, DeviceArray):
        return "cuda"
    _, on_cpu, on_gpu = _estimate(X, n_outputs, passes, 0.5)
    if on_gpu >= on_cpu:
        return "cpu"
    try:
        device = accelerator()
    except DeviceUnavailable:
        return "cpu"
    n_bytes, on_cpu, on_gpu = _estimate(X, n_outputs, passes, device.float64_speed())
    if not device.has_memory(n_bytes):
        on_gpu += (passes - 1) * n_bytes / COPY_BYTES
    return "cuda" if on_gpu < on_cpu else "cpu"


def _estimate(X: Rows, n_outputs: int, passes: float, float64_speed: float) -> tuple[int, float, float]:
    """Return the bytes of rows, and the seconds of the passes on the CPU and on a GPU whose memory holds X.

    `float64_speed` is the GPU's speed of float64 products as a fraction of that of float32 products.
    """
    entries, index_bytes, relative_cost = math.prod(X.shape), 0, 1
    if isinstance(X, Csr):
        entries, index_bytes, relative_cost = X.data.size, X.indices.nbytes + X.indptr.nbytes, SPARSE
    n_bytes = X.dtype.itemsize * entries + index_bytes
    flops = 4.0 * entries * n_outputs * relative_cost
    size = compute_dtype(X).itemsize
    gradient_bytes = 2 * 8 * n_outputs * (X.shape[1] + 1)  # parameters there, gradient back
    on_cpu = passes * max(flops / (_n_cores() * CPU_FLOPS[size]), n_bytes / CPU_BYTES)
    gpu_flops = GPU_FLOPS * (1.0 if size == 4 else float64_speed)
    gpu_pass = LAUNCH_SECONDS + gradient_bytes / COPY_BYTES + flops / gpu_flops
    return n_bytes, on_cpu, START_SECONDS + n_bytes / COPY_BYTES + passes * gpu_pass


def _n_cores() -> int:
    """Return the number of processors that the process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity call
        return os.cpu_count() or 1
