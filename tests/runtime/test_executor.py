"""Law: the executor and the number of threads change no bit; forks and imports leave no trace."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
import scipy.sparse as sp

import fastsoftmax
from fastsoftmax import SoftmaxObjective
from fastsoftmax.contracts import Params
from fastsoftmax.runtime import executor as executor_module
from tests.interpreter import run_python

EXECUTORS = ["prange", "threads", "inline"]
THREADS = [1, 2, 4, 8]
# Several row ranges, the last one short, and work enough (some ms) that nothing is run in line for its size.
N_ROWS, N_FEATURES, N_CLASSES = 30_011, 43, 11
BIG_PROBLEM = f"""
    import os, signal, sys, threading, time
    import numpy as np
    import fastsoftmax
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=({N_ROWS}, {N_FEATURES})), rng.integers(0, {N_CLASSES}, {N_ROWS})
"""


def dense(dtype, order):
    return np.asarray(np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES)), dtype=dtype, order=order)


def sparse(dtype, index):
    X = sp.random_array((N_ROWS, N_FEATURES), density=0.3, format="csr", dtype=dtype, rng=1)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    return X


MATRICES = {
    "C-float32": lambda: dense(np.float32, "C"),
    "C-float64": lambda: dense(np.float64, "C"),
    "F-float32": lambda: dense(np.float32, "F"),
    "F-float64": lambda: dense(np.float64, "F"),
    "csr-float32-int32": lambda: sparse(np.float32, np.int32),
    "csr-float64-int64": lambda: sparse(np.float64, np.int64),
}


def all_bytes(X, n_threads):
    rng = np.random.default_rng(2)
    y = rng.integers(0, N_CLASSES, N_ROWS)
    objective = SoftmaxObjective(X, y, l2=0.1, n_threads=n_threads)
    params, direction = rng.normal(size=(2, objective.n_params))
    value, grad = objective.value_and_grad(params)
    return np.float64(value).tobytes() + grad.tobytes() + objective.hessp(params, direction).tobytes()


@pytest.mark.parametrize("name", MATRICES)
def test_bits_do_not_depend_on_executor_or_threads(name, executor):
    X = MATRICES[name]()
    seen = {}
    for who in EXECUTORS:
        executor(who)
        for n_threads in THREADS:
            seen.setdefault(all_bytes(X, n_threads), []).append((who, n_threads))
    assert len(seen) == 1, f"{len(seen)} different results: {list(seen.values())}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_of_the_functions_do_not_depend_on_the_executor(dtype, executor):
    z = dense(dtype, "C")
    y = np.arange(N_ROWS) % N_FEATURES
    weight = np.random.default_rng(3).normal(size=(7, N_FEATURES)).astype(dtype)
    calls = {
        "softmax": lambda: fastsoftmax.softmax(z, axis=1),
        "softmax of columns": lambda: fastsoftmax.softmax(z, axis=0),
        "log_softmax": lambda: fastsoftmax.log_softmax(z, axis=1),
        "logsumexp": lambda: fastsoftmax.logsumexp(z, axis=1),
        "logsumexp of all": lambda: fastsoftmax.logsumexp(z),
        "cross_entropy": lambda: fastsoftmax.cross_entropy(z, y),
        "its gradient": lambda: fastsoftmax.cross_entropy_value_and_grad(z, y)[1],
        "linear": lambda: fastsoftmax.linear_cross_entropy_value_and_grad(z, weight, y % 7)[1].weight,
    }
    for name, call in calls.items():
        seen = set()
        for who in EXECUTORS:
            executor(who)
            seen.add(np.asarray(call()).tobytes())
        assert len(seen) == 1, name


@pytest.mark.parametrize("name", ["C-float32", "csr-float64-int64"])
@pytest.mark.parametrize("who", ["auto", *EXECUTORS])
def test_concurrent_calls_give_the_same_bits(who, name, executor):
    X = MATRICES[name]()
    executor("inline")
    expected = all_bytes(X, None)
    executor(who)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: all_bytes(X, None), range(12)))
    assert found == {expected}


@pytest.mark.parametrize("name", ["auto", "prange"])
def test_concurrent_calls_on_numbas_workqueue(name):
    # where Numba has no other layer, two calls of a parallel function at once end the process
    code = """
    from concurrent.futures import ThreadPoolExecutor
    fastsoftmax.set_executor(sys.argv[1])
    objective = fastsoftmax.SoftmaxObjective(X, y, n_threads=2)
    params = rng.normal(size=objective.n_params)
    with ThreadPoolExecutor(4) as pool:
        print(len(set(pool.map(lambda _: objective.value(params), range(12)))))
    """
    status, out, err = run_python(BIG_PROBLEM + code, name, NUMBA_THREADING_LAYER="workqueue")
    assert (status, out) == (0, "1"), err


def test_a_pool_is_used_where_it_is_asked_for():
    code = """
    fastsoftmax.set_executor(sys.argv[1])
    objective = fastsoftmax.SoftmaxObjective(X, y, n_threads=2)
    objective.value_and_grad(np.zeros(objective.n_params))
    import _thread
    print(_thread._count() > 0)  # all that any library has started from Python
    """
    for name, pooled in (("threads", "True"), ("inline", "False")):
        status, out, err = run_python(BIG_PROBLEM + code, name)
        assert status == 0, err
        assert out == pooled, name


def test_bits_do_not_change_from_run_to_run(executor):
    X = MATRICES["C-float32"]()
    executor("auto")
    assert len({all_bytes(X, None) for _ in range(5)}) == 1


def test_set_executor_gives_the_previous_name(executor):
    executor("inline")
    assert fastsoftmax.set_executor("threads") == "inline"
    assert fastsoftmax.set_executor("prange") == "threads"
    assert fastsoftmax.set_executor("auto") == "prange"
    assert fastsoftmax.set_executor("auto") == "auto"


@pytest.mark.parametrize("name", ["", "omp", "Inline", "thread"])
def test_set_executor_refuses_other_names_and_keeps_the_old(name, executor):
    executor("inline")
    with pytest.raises(ValueError, match="executor"):
        fastsoftmax.set_executor(name)
    assert fastsoftmax.set_executor("inline") == "inline"


@pytest.mark.parametrize("name", ["auto", *EXECUTORS])
def test_executor_from_the_environment(name):
    code = "import fastsoftmax; print(fastsoftmax.set_executor('auto'))"
    assert run_python(code, FASTSOFTMAX_EXECUTOR=name) == (0, name, "")


def test_wrong_executor_in_the_environment_is_named():
    code = "import fastsoftmax; fastsoftmax.set_executor('auto')"
    status, _, err = run_python(code, FASTSOFTMAX_EXECUTOR="gpu")
    assert status == 1
    assert "FASTSOFTMAX_EXECUTOR" in err
    assert "gpu" in err.splitlines()[-1]


FORK = """
    fastsoftmax.set_executor(sys.argv[1])
    objective = fastsoftmax.SoftmaxObjective(X, y, l2=0.1)
    params = rng.normal(size=objective.n_params)
    before = objective.value_and_grad(params)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(60)
            for _ in range(3):
                after = objective.value_and_grad(params)
            fresh = fastsoftmax.SoftmaxObjective(X, y, l2=0.1).value_and_grad(params)
            same = before[0] == after[0] == fresh[0]
            same = same and before[1].tobytes() == after[1].tobytes() == fresh[1].tobytes()
            code = 0 if same else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            again = objective.value_and_grad(params)
            assert again[1].tobytes() == before[1].tobytes(), "the parent lost its executor"
            print(os.waitstatus_to_exitcode(status))
            sys.exit()
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print("the child hung")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("name", ["auto", *EXECUTORS])
def test_forked_child_computes_the_same(name):
    status, out, err = run_python(BIG_PROBLEM + FORK, name)
    assert (status, out) == (0, "0"), err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forked_pool_of_workers_does_not_hang():
    code = """
    import multiprocessing as mp
    objective = fastsoftmax.SoftmaxObjective(X, y, l2=0.1)
    params = rng.normal(size=objective.n_params)
    def value(i):
        return objective.value(params)
    here = value(0)
    with mp.get_context("fork").Pool(2) as pool:
        there = pool.map_async(value, range(4)).get(timeout=90)
    print(set(there) == {here})
    """
    status, out, err = run_python(BIG_PROBLEM + code)
    assert (status, out) == (0, "True"), err


def test_import_is_cheap():
    code = """
        import os, sys, threading
        before = dict(os.environ)
        def tasks():  # threads that Python does not know of, such as OpenMP's, on Linux
            return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
        n_tasks = tasks()
        import fastsoftmax
        assert dir(fastsoftmax) and fastsoftmax.__version__
        heavy = sorted({"numba", "llvmlite", "scipy", "sklearn", "matplotlib", "pandas"} & set(sys.modules))
        assert not heavy, heavy
        assert dict(os.environ) == before, "the environment was written"
        assert threading.active_count() == 1 and tasks() == n_tasks, "a thread was started"
    """
    status, _, err = run_python(code)
    assert status == 0, err


def test_public_names_are_all_there():
    code = """
        import fastsoftmax
        for name in fastsoftmax.__all__:
            assert name in dir(fastsoftmax)
            getattr(fastsoftmax, name)
        try:
            fastsoftmax.no_such_name
        except AttributeError as error:
            assert "no_such_name" in str(error)
        else:
            raise SystemExit("no AttributeError")
    """
    status, _, err = run_python(code)
    assert status == 0, err


def test_arguments_of_other_types_are_told_apart():
    """A kernel is called by an address that is remembered by what its arguments are alike in."""
    a = np.zeros((3, 4))
    frozen = a.copy()
    frozen.flags.writeable = False
    arguments = [
        a, a.T, a[:, ::2], a[0], frozen, a.astype(np.float32), a.astype(">f8"),
        1, 1.0, True, 2**63, (a,), (a, a), (), Params(a, a), None,
    ]  # fmt: skip
    kinds = [numba.typeof(each) for each in arguments if each is not arguments[6]]
    assert len(set(kinds)) == len(kinds)
    assert len({executor_module._likeness(each) for each in arguments}) == len(arguments)
    assert executor_module._likeness(a) == executor_module._likeness(np.ones((7, 2)))
    assert executor_module._likeness(3) == executor_module._likeness(-5)
