"""Law: calls may come from many threads at once, from each other's callbacks, from a parallel loop of the
caller's, and while the interpreter shuts down: each gives the bits that it gives alone.

Each case is a process of its own, for each executor, and where one plays a part for each of Numba's layers.
"""

from __future__ import annotations

import pytest

from tests.interpreter import layered, run_python

EXECUTORS = ["prange", "threads", "inline"]

# Several parts of each call, and nothing is too small to be shared out. 67 classes are BLAS's, 5 are not.
PROBLEM = """
    import sys, threading, time, warnings
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np
    import fastsoftmax
    from fastsoftmax import SoftmaxRegression
    from fastsoftmax.runtime import executor

    executor.SMALL_WORK = 0
    fastsoftmax.set_executor(sys.argv[1])
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4003, 23)).astype(np.float32)
    weight = rng.normal(size=(67, 23)).astype(np.float32)
    z = X @ weight.T
    y = rng.integers(0, 5, len(X))

    def softmax():
        return fastsoftmax.softmax(z, axis=1).tobytes()

    def linear():
        value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, y)
        return np.float64(value).tobytes() + grads.weight.tobytes()

    def fit(**options):
        return SoftmaxRegression(**options).fit(X, y).coef_.tobytes()

    CALLS = [softmax, linear, fit]

    def alone():
        before = fastsoftmax.set_executor("inline")
        answers = [call() for call in CALLS]
        fastsoftmax.set_executor(before)
        return answers
"""


@pytest.mark.parametrize(("name", "layer"), layered(*EXECUTORS), indirect=["layer"])
def test_eight_threads_and_callbacks(name, layer):
    code = """
    # All at once, and for the first time: kernels are loaded, pools and layers started meanwhile.
    together = threading.Barrier(8)
    def work(number):
        together.wait()
        order = [(number + i) % 3 for i in range(6)]
        return [(which, CALLS[which]()) for which in order]
    with ThreadPoolExecutor(8) as pool:
        answers = [answer for answers in pool.map(work, range(8)) for answer in answers]
    right = alone()
    assert all(answer == right[which] for which, answer in answers), "threads"

    # A callback that computes, and has others compute; then what it was called from goes on.
    seen = []
    def callback(record):
        if len(seen) < 3:
            with ThreadPoolExecutor(3) as pool:
                seen.append([call.result() for call in [pool.submit(call) for call in CALLS]])
            seen.append([call() for call in CALLS])
    assert fit(callbacks=[callback]) == right[2], "the fit with callbacks"
    assert seen == [right] * 4, "calls from callbacks"
    assert [call() for call in CALLS] == right, "afterwards"
    print("right")
    """
    status, out, err = run_python(PROBLEM + code, name, **layer)
    assert (status, out) == (0, "right"), err


@pytest.mark.parametrize("name", EXECUTORS)
def test_calls_from_a_parallel_loop_of_the_caller(name, layer):
    code = """
    import numba
    def inside(i):
        assert CALLS[i % 3]() == right[i % 3], CALLS[i % 3]
        return float(i)

    @numba.njit(parallel=True, nogil=True)
    def loop(out):
        for i in numba.prange(out.shape[0]):
            with numba.objmode(value="float64"):
                value = inside(i)
            out[i] = value

    right = alone()
    out = np.full(7, -1.0)
    loop(out)
    assert out.tolist() == list(range(7)), out
    assert [call() for call in CALLS] == right
    print("right")
    """
    status, out, err = run_python(PROBLEM + code, name, **layer)
    assert (status, out) == (0, "right"), err


def test_every_thread_can_hold_blas():
    code = """
    import threadpoolctl
    from fastsoftmax.runtime import blas
    def threads():
        return {each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"}
    def seen():
        with blas.one_thread():
            inside = threads()
            with ThreadPoolExecutor(1) as pool, blas.one_thread():
                return inside, threads(), pool.submit(inner).result(), threads()
    def inner():
        with blas.one_thread():
            return threads()
    seen()
    threadpoolctl.threadpool_limits(3, "blas")  # which makes it a matter of this thread, says threadpoolctl
    for _ in range(3):
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(seen).result() == ({1},) * 4
            assert threads() == {3}
        assert seen() == ({1},) * 4
        assert threads() == {3}
    print("right")
    """
    status, out, err = run_python(PROBLEM + code, "threads")
    assert (status, out) == (0, "right"), err


@pytest.mark.parametrize("name", EXECUTORS)
def test_joblibs_threads(name):
    code = """
    from joblib import Parallel, delayed
    found = Parallel(n_jobs=4, backend="threading")(delayed(call)() for call in CALLS * 4)
    print(found == alone() * 4)
    """
    status, out, err = run_python(PROBLEM + code, name)
    assert (status, out) == (0, "True"), err


@pytest.mark.parametrize("name", EXECUTORS)
def test_calls_while_the_interpreter_shuts_down(name):
    # a pool of threads takes no more work by then
    code = """
    import atexit
    right = alone()
    [call() for call in CALLS]  # there is a pool, which is shut down
    def late():
        print([call() for call in CALLS] == right, flush=True)
    def outlive():
        threading.main_thread().join()
        time.sleep(0.2)
        late()
    atexit.register(late)
    threading.Thread(target=outlive).start()
    """
    status, out, err = run_python(PROBLEM + code, name)
    assert (status, out.split()) == (0, ["True", "True"]), err


def test_a_system_that_gives_no_more_threads():
    code = """
    right = alone()
    class Refused(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")
    threading.Thread = Refused
    print([call() for call in CALLS] == right)
    """
    status, out, err = run_python(PROBLEM + code, "threads")
    assert (status, out) == (0, "True"), err
