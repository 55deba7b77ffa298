"""Law: where memory, threads or Numba's layers are missing, a call still gives its bits or a MemoryError."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.runtime.kernels import Kernel
from tests.interpreter import LAYERS, layered, run_python
from tests.runtime.test_concurrency import EXECUTORS, PROBLEM

# One call takes scratch memory in a kernel (a tile of long rows) besides what Python asks for. None has
# products for BLAS, of which OpenBLAS ends the process, or waits, where it gets no buffer.
REFUSED = """
    import resource
    from fastsoftmax import SoftmaxObjective

    def held(what):
        with open("/proc/self/status") as lines:
            return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])

    def with_room(n_bytes, call):
        '''What a call gives where so much more memory is to be had: bytes, or the text of a MemoryError.'''
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (held("VmSize") + n_bytes, hard))
        try:
            return call()
        except MemoryError as error:
            return f"MemoryError: {error}"
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))

    long_rows = rng.normal(size=(768, 20_000)).astype(np.float32)
    objective = SoftmaxObjective(long_rows, np.arange(768) % 3)
    params = rng.normal(size=objective.n_params) / 100
    def value_and_grad():
        value, grad = objective.value_and_grad(params)
        return np.float64(value).tobytes() + grad.tobytes()

    CALLS = [softmax, value_and_grad]
    right = alone()
    assert [call() for call in CALLS] == right
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="how much memory a process holds is asked as Linux tells it"
)
@pytest.mark.parametrize(("name", "layer"), layered(*EXECUTORS), indirect=["layer"])
def test_memory_is_refused(name, layer):
    code = """
    def sweep():
        texts, n_right = set(), 0
        for buffer in range(0, 160 * 2**20, 4 * 2**20):
            for call, answer in zip(CALLS, right):
                found = with_room(buffer, call)
                if isinstance(found, str):
                    texts.add(found)
                else:
                    assert found == answer, (buffer, call)
                    n_right += 1
                assert call() == answer, (buffer, call, "afterwards")
        return texts, n_right

    texts, n_right = sweep()
    assert n_right > 0, "nothing could be computed"
    assert texts, "nothing was refused"
    huge = np.broadcast_to(z[0], (2**30, len(z[0])))
    assert "MemoryError" in with_room(2**28, lambda: fastsoftmax.softmax(huge, axis=1))
    # What a failed call holds on to adds up.
    before = held("VmSize"), held("VmRSS")
    for _ in range(3):
        sweep()
    after = held("VmSize"), held("VmRSS")
    assert max(b - a for a, b in zip(before, after)) < 2**26, (before, after)
    print("right")
    """
    status, out, err = run_python(PROBLEM + REFUSED + code, name, **layer)
    assert (status, out) == (0, "right"), err


@kernel
def _hungry(start, stop, part, n_bytes, out):
    buffer = np.empty(n_bytes[part], np.uint8)
    for i in range(start, stop):
        out[i] = len(buffer)


@pytest.mark.parametrize("hungry", [[0], [3], range(6)])
@pytest.mark.parametrize("name", EXECUTORS)
def test_a_kernel_that_finds_no_memory(name, hungry, executor):
    # numba/numba#2811: what is raised in a prange ends nothing but the work of one thread
    executor(name)
    bounds = even_bounds(60, 6)
    n_bytes = np.arange(1, 7)
    n_bytes[list(hungry)] = 2**55
    out = np.zeros(60, np.int64)
    with pytest.raises(MemoryError):
        run(Kernel.of(_hungry), bounds, n_bytes, out, work=1e6, n_threads=2)
    run(Kernel.of(_hungry), bounds, np.arange(1, 7), out, work=1e6, n_threads=2)
    np.testing.assert_array_equal(out, np.repeat(np.arange(1, 7), 10))


MISSING = """
    print([call() for call in CALLS] == alone(), executor.threading_layer())
"""


def test_without_openmp():
    # as where libgomp is not installed: Numba's module for it cannot be loaded
    code = """
    import sys
    sys.modules["numba.np.ufunc.omppool"] = sys.modules["numba.np.ufunc.tbbpool"] = None
    """
    for name in ("auto", "prange"):
        env = {"NUMBA_THREADING_LAYER": "default", "NUMBA_NUM_THREADS": "2"}
        status, out, err = run_python(code + PROBLEM + MISSING, name, **env)
        assert (status, out) == (0, "True threads"), err


@pytest.mark.parametrize("name", [*LAYERS, "default", "safe", "threadsafe", "forksafe", "nonsense"])
def test_layer_named_in_the_environment(name):
    # whether or not it can be loaded here: the pool needs none
    env = {"NUMBA_THREADING_LAYER": name, "NUMBA_NUM_THREADS": "2"}
    status, out, err = run_python(PROBLEM + MISSING, "auto", **env)
    assert status == 0, err
    assert out in ("True threads", "True prange (omp)", "True prange (tbb)")


@pytest.mark.parametrize("name", ["auto", *EXECUTORS])
def test_one_thread_for_numba(name):
    status, out, err = run_python(PROBLEM + MISSING, name, NUMBA_NUM_THREADS="1")
    assert (status, out) == (0, "True inline"), err


def test_threads_beyond_those_that_numba_has():
    code = """
    def with_threads(n):
        objective = fastsoftmax.SoftmaxObjective(X, y, n_threads=n)
        return objective.value_and_grad(np.ones(objective.n_params))[1].tobytes()
    print(len({with_threads(n) for n in (1, 2, 3, 64)}))
    """
    for name in EXECUTORS:
        status, out, err = run_python(PROBLEM + code, name, NUMBA_NUM_THREADS="2")
        assert (status, out) == (0, "1"), err
