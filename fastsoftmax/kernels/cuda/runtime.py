"""The one place that imports `numba.cuda` and CuPy, and says why a GPU cannot be used where it cannot.

NVIDIA's package numba-cuda takes the place of the target that is built into Numba, which is deprecated. It is
asked for by its own name, so that the built-in one is never taken by mistake.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from fastsoftmax.contracts import DeviceUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

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
WARP = 32  # threads that run in step
SIMULATED = hasattr(cuda, "simulator") and cuda.is_available.__module__.endswith("simulator_init")


# Of a block. The simulator starts a thread of the system's for each, and knows no warps.
LEAST_THREADS = 4 if SIMULATED else WARP


PerformanceWarning = importlib.import_module("numba.cuda.core.errors").NumbaPerformanceWarning


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
    from cuda.bindings import driver

    reason = reason_against(lambda: driver.cuInit(0))
    if reason is not None:
        raise DeviceUnavailable(f"device 'cuda': {reason}; device='cpu' works")
    arrays()


@functools.cache
def arrays() -> Any:
    """Return the module of array functions on the device: CuPy, or NumPy in its stead in the simulator.

    Raises
    ------
    DeviceUnavailable
        If CuPy is missing or cannot be imported.
    """
    if SIMULATED:
        import numpy

        return numpy
    try:
        import cupy
    except Exception as error:
        raise DeviceUnavailable(
            f"device 'cuda': CuPy is missing or cannot be imported ({INSTALL}); device='cpu' works: {error}"
        ) from error
    return cupy


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call; its body is put where it is called.

    What is in a local array stays in registers only if no call passes its address on.
    """
    return cuda.jit(function, device=True) if SIMULATED else cuda.jit(device=True, forceinline=True)(function)


def kernel(function: Callable[..., Any], most_threads: int) -> Any:
    """Compile a kernel whose blocks have so many threads at the most."""
    return cuda.jit(function) if SIMULATED else cuda.jit(launch_bounds=most_threads)(function)
