"""The only module that imports `numba.cuda` and CuPy; it reports why a GPU cannot be used.

NVIDIA's package numba-cuda replaces the target that is built into Numba, which is deprecated. It is looked up
by its own name, so that the built-in one is never used by mistake.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import DeviceUnavailable
from fastsoftmax.runtime import compiling
from fastsoftmax.runtime.numba_internals import compiler_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from numpy.typing import NDArray

    DeviceNumbers: TypeAlias = Any
    """An array of the device: CuPy's, or NumPy's in the simulator. They share no type."""
    Kernel: TypeAlias = Any
    """A function that Numba has compiled for the device, for which it has no type."""

INSTALL = "pip install 'fastsoftmax[cuda]'"


def _import_cuda() -> Any:
    if importlib.util.find_spec("numba_cuda") is None:
        raise DeviceUnavailable(
            f"device 'cuda': the package numba-cuda is not installed ({INSTALL}); device='cpu' works"
        )
    try:
        from numba import cuda
    except Exception as error:
        # Any error inside another package means the same to the caller: the installation is broken.
        raise DeviceUnavailable(
            f"device 'cuda': numba-cuda is installed but cannot be imported ({INSTALL} mends it); "
            f"device='cpu' works: {error}"
        ) from error
    return cuda


cuda = _import_cuda()
DOUBLE_RATIO = 87  # cudaDevAttrSingleToDoublePrecisionPerfRatio
WARP = 32  # threads that run in lockstep
SIMULATED = hasattr(cuda, "simulator") and cuda.is_available.__module__.endswith("simulator_init")


# Of a block. The simulator starts a system thread for each, and has no warps.
MIN_THREADS = 4 if SIMULATED else WARP


PerformanceWarning = importlib.import_module("numba.cuda.core.errors").NumbaPerformanceWarning
# LLVM intrinsics; the simulator has none.
intrinsic: Any = None if SIMULATED else importlib.import_module("numba.cuda.extending").intrinsic


def reason_against(initialize: Callable[[], Any]) -> str | None:
    """Return the reason why the driver does not start, or None if it does.

    Parameters
    ----------
    initialize : callable
        Starts the driver, as `cuda.bindings.driver.cuInit(0)` does: returns a tuple with its status first, or
        raises if there is no library to load.
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
    """Raise DeviceUnavailable if there is no GPU, no driver, or a broken installation.

    Numba's simulator is always available.
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
    """Raise DeviceUnavailable unless a product and a sum of four numbers work.

    NVIDIA's libraries are loaded on first use: this tries cuBLAS, CuPy's compiler, and the driver's version.
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
    """Return the module of array functions on the device: CuPy, or NumPy in the simulator.

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


def float64_speed() -> float:
    """Return the GPU's speed of float64 products against float32, 1/2 to 1/64, by the driver's attribute."""
    if SIMULATED:
        return 0.5
    runtime = arrays().cuda.runtime
    ratio = runtime.deviceGetAttribute(DOUBLE_RATIO, arrays().cuda.Device().id)
    return 1.0 / max(2, int(ratio))


def external_stream(handle: int) -> Any:
    """Return a context in which work is queued on another library's stream (nothing in the simulator)."""
    return contextlib.nullcontext() if SIMULATED else arrays().cuda.ExternalStream(handle)


class Transfers:
    """CuPy's streams, events and memory for copies that overlap other work."""

    def current(self) -> Any:
        """Return the current stream."""
        return arrays().cuda.get_current_stream()

    def stream(self) -> Any:
        """Return a new stream that does not synchronise with the default stream."""
        return arrays().cuda.Stream(non_blocking=True)

    def event(self) -> Any:
        """Return a new event; waiting for it returns at once until it is recorded."""
        return arrays().cuda.Event(disable_timing=True)

    def pinned(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return page-locked host memory, which the device can read directly."""
        memory = arrays().cuda.alloc_pinned_memory(n_bytes)
        return np.frombuffer(memory, np.uint8, n_bytes)

    def device_buffer(self, n_bytes: int) -> DeviceNumbers:
        """Return uninitialised device memory, as bytes."""
        return arrays().empty(n_bytes, np.uint8)

    def copy(self, pinned: NDArray[np.uint8], buffer: DeviceNumbers, n_bytes: int, stream: Any) -> None:
        """Queue a copy of the first n_bytes to the device on a stream; the host does not wait."""
        buffer.data.copy_from_host_async(pinned.ctypes.data, n_bytes, stream)


class SimulatedTransfers(Transfers):
    """The same in the simulator, where everything is done immediately."""

    def current(self) -> Any:
        """Return the only stream."""
        return self

    stream = event = current

    def record(self, stream: Any) -> None:
        """Do nothing: all earlier work has been done."""

    def wait_event(self, event: Any) -> None:
        """Do nothing: the event has happened."""

    def synchronize(self) -> None:
        """Do nothing: all work has been done."""

    def pinned(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return host memory."""
        return np.empty(n_bytes, np.uint8)

    def copy(self, pinned: NDArray[np.uint8], buffer: DeviceNumbers, n_bytes: int, stream: Any) -> None:
        """Copy the first n_bytes."""
        buffer[:n_bytes] = pinned[:n_bytes]


def transfers() -> Transfers:
    """Return the streams, events and memory for copies."""
    return SimulatedTransfers() if SIMULATED else Transfers()


def inlined(function: Callable[..., Any]) -> Kernel:
    """Compile a device function that is inlined into the kernels that call it.

    A local array stays in registers only if its address is not passed to a call.
    """
    return cuda.jit(function, device=True) if SIMULATED else cuda.jit(device=True, forceinline=True)(function)


def kernel(function: Callable[..., Any], max_threads: int) -> Kernel:
    """Return a kernel whose blocks have at most `max_threads` threads; that it is compiled is reported."""
    if SIMULATED:
        return cuda.jit(function)
    compiled = cuda.jit(launch_bounds=max_threads)(function)
    compile_signature = compiled.compile

    def announced(signature: Any) -> Any:
        with compiler_lock, compiling.announced(function.__name__, kept=False):
            return compile_signature(signature)

    compiled.compile = announced  # the launch calls it where there is no code for its arguments yet
    return compiled
