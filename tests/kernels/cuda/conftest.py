"""These tests run on a GPU if there is one, or in Numba's simulator (NUMBA_ENABLE_CUDASIM=1), on tiny inputs.

`tests/kernels/test_cuda.py` runs them in the simulator, in a process of its own.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from fastsoftmax import DeviceUnavailable


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/kernels/cuda/" in item.path.as_posix():
            item.add_marker("gpu")


@pytest.fixture(scope="session", autouse=True)
def _device():
    try:
        from fastsoftmax.kernels.cuda import runtime

        runtime.require()
    except DeviceUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def _as_quiet_as_a_gpu():
    """On a GPU, infinities and NaN come without a warning; the simulator's threads are NumPy's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.fixture(scope="session")
def xp(_device):
    """The module of array functions on the device."""
    from fastsoftmax.kernels.cuda import runtime

    return runtime.arrays()


@pytest.fixture(scope="session")
def fetched(xp):
    """What brings an array of the device to the host."""
    return (lambda a: np.array(a)) if xp is np else xp.asnumpy


@pytest.fixture(params=["float32", "float64", "float16", "bfloat16"])
def form(request):
    """A format of numbers in memory."""
    return request.param


@pytest.fixture
def simulated(xp):
    """Whether kernels run in the simulator; what needs blocks too small for a GPU is skipped on one."""
    if xp is not np:
        pytest.skip("blocks of two threads are the simulator's alone")
