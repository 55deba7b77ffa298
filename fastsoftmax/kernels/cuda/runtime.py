"""The one place that imports `numba.cuda` and CuPy, and says why a GPU cannot be used where it cannot.

NVIDIA's package numba-cuda takes the place of the target that is built into Numba, which is deprecated. It is
asked for by its own name, so that the built-in one is never taken by mistake.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import DeviceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

INSTALL = "pip install 'fastsoftmax[cuda]'"


def _import_cuda() -> Any:
    if importlib.util.find_spec("numba_cuda") is None:
        raise DeviceUnavailable(
            f"device 'cuda': the package numba-cuda is not installed ({INSTALL}); device='cpu' works"
        )
    try:
        from numba import cuda
    except Exception as error:
        # Whatever breaks inside of somebody else's package, the caller is to learn that it is the install.
        raise DeviceUnavailable(
            f"device 'cuda': numba-cuda is installed but cannot be imported ({INSTALL} mends it); "
            f"device='cpu' works: {error}"
        ) from error
    return cuda


cuda = _import_cuda()
DOUBLE_RATIO = 87  # cudaDevAttrSingleToDoublePrecisionPerfRatio
WARP = 32  # threads that run in step
SIMULATED = hasattr(cuda, "simulator") and cuda.is_available.__module__.endswith("simulator_init")


# Of a block. The simulator starts a thread of the system's for each, and knows no warps.
LEAST_THREADS = 4 if SIMULATED else WARP


PerformanceWarning = importlib.import_module("numba.cuda.core.errors").NumbaPerformanceWarning
# Instructions in LLVM's words: the simulator has none.
intrinsic: Any = None if SIMULATED else importlib.import_module("numba.cuda.extending").intrinsic


def reason_against(initialize: Callable[[], Any]) -> str | None:
    """Return why the driver does not start, or None if it does.

    Parameters
    ----------
    initialize : callable
        What makes the driver start, as `cuda.bindings.driver.cuInit(0)`: returns its status first, or raises
        where there is no library to load.
    """
    try:
        status = initialize()[0]
    except Exception as error:  # the loader's own class, which has moved from version to version
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return f"the NVIDIA driver is not installed or cannot be loaded: {first}"
    name = getattr(status, "name", str(status))
    if int(status) == 0:
        return None
    if name == "CUDA_ERROR_NO_DEVICE":
        return "there is no NVIDIA GPU that this process may use (CUDA_VISIBLE_DEVICES may hide it)"
    return f"the NVIDIA driver does not start: {name}"


@functools.cache
def require() -> None:
    """Raise DeviceUnavailable unless kernels can be run: no GPU, no driver, or a broken install.

    In Numba's simulator they always can.
    """
    if SIMULATED:
        return
    try:
        from cuda.bindings import driver
    except Exception as error:
        raise DeviceUnavailable(
            f"device 'cuda': CUDA's bindings are missing or cannot be imported ({INSTALL} mends it); "
            f"device='cpu' works: {error}"
        ) from error
    reason = reason_against(lambda: driver.cuInit(0))
    if reason is not None:
        raise DeviceUnavailable(f"device 'cuda': {reason}; device='cpu' works")
    check_arrays(arrays())


def check_arrays(xp: Any) -> None:
    """Raise DeviceUnavailable unless the array functions compute: NVIDIA's libraries are loaded on first use.

    One product and one sum, of four numbers: cuBLAS, the compiler of CuPy's kernels, and the driver's age.
    """
    try:
        ones = xp.ones((2, 2), np.float32)
        result = float((ones @ ones).sum())
    except Exception as error:  # of several libraries, each with classes of its own
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DeviceUnavailable(
            f"device 'cuda': CuPy is installed but cannot compute ({INSTALL} mends it, or a newer driver); "
            f"device='cpu' works: {first}"
        ) from error
    if result != 8.0:
        raise DeviceUnavailable(f"device 'cuda': CuPy computes wrongly, 8 as {result}; device='cpu' works")


@functools.cache
def arrays() -> Any:
    """Return the module of array functions on the device: CuPy, or NumPy in its stead in the simulator.

    Raises
    ------
    DeviceUnavailable
        If CuPy is missing or cannot be imported.
    """
    if SIMULATED:
        return np
    try:
        import cupy
    except Exception as error:
        raise DeviceUnavailable(
            f"device 'cuda': CuPy is missing or cannot be imported ({INSTALL}); device='cpu' works: {error}"
        ) from error
    return cupy


def float64_share() -> float:
    """Return the speed of products in float64 against those in float32: 1/2 to 1/64, as the GPU has it."""
    if SIMULATED:
        return 0.5
    runtime = arrays().cuda.runtime
    ratio = runtime.deviceGetAttribute(DOUBLE_RATIO, arrays().cuda.Device().id)
    return 1.0 / max(2, int(ratio))


def external_stream(handle: int) -> Any:
    """Return a context in which work goes to a stream of another library's. The simulator has no streams."""
    return contextlib.nullcontext() if SIMULATED else arrays().cuda.ExternalStream(handle)


class Transfers:
    """Streams, events and memory for copies beside other work, of CuPy."""

    def current(self) -> Any:
        """Return the stream that work goes to."""
        return arrays().cuda.get_current_stream()

    def stream(self) -> Any:
        """Return a new stream, which waits for no other one by itself."""
        return arrays().cuda.Stream(non_blocking=True)

    def event(self) -> Any:
        """Return a new event; until it is recorded, nobody waits for it."""
        return arrays().cuda.Event(disable_timing=True)

    def pinned(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return memory of the host that the device reads by itself."""
        memory = arrays().cuda.alloc_pinned_memory(n_bytes)
        return np.frombuffer(memory, np.uint8, n_bytes)

    def room(self, n_bytes: int) -> Any:
        """Return memory of the device, as bytes."""
        return arrays().empty(n_bytes, np.uint8)

    def copy(self, pinned: NDArray[np.uint8], room: Any, n_bytes: int, stream: Any) -> None:
        """Copy the first bytes to the device, in a stream; the host does not wait."""
        room.data.copy_from_host_async(pinned.ctypes.data, n_bytes, stream)


class SimulatedTransfers(Transfers):
    """The same in the simulator, where everything is done when it is asked for."""

    def current(self) -> Any:
        """Return the one stream there is."""
        return self

    stream = event = current

    def record(self, stream: Any) -> None:
        """Do nothing: what came before has been done."""

    def wait_event(self, event: Any) -> None:
        """Do nothing: the event lies in the past."""

    def synchronize(self) -> None:
        """Do nothing: all has been done."""

    def pinned(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return memory."""
        return np.empty(n_bytes, np.uint8)

    def copy(self, pinned: NDArray[np.uint8], room: Any, n_bytes: int, stream: Any) -> None:
        """Copy the first bytes."""
        room[:n_bytes] = pinned[:n_bytes]


def transfers() -> Transfers:
    """Return what copies are made with."""
    return SimulatedTransfers() if SIMULATED else Transfers()


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call; its body is put where it is called.

    What is in a local array stays in registers only if no call passes its address on.
    """
    return cuda.jit(function, device=True) if SIMULATED else cuda.jit(device=True, forceinline=True)(function)


def kernel(function: Callable[..., Any], most_threads: int) -> Any:
    """Compile a kernel whose blocks have so many threads at the most."""
    return cuda.jit(function) if SIMULATED else cuda.jit(launch_bounds=most_threads)(function)
