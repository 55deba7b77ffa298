"""Law: a forked or spawned process computes what its parent does, whatever the parent was doing.

GNU OpenMP ends a forked child with SIGTERM at its first parallel loop; locks that another thread held when
the child was made are never released in it.
"""

from __future__ import annotations

import os
import sys

import pytest

from tests.interpreter import environment_of, layered, run_python
from tests.runtime.test_concurrency import EXECUTORS, PROBLEM

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

FORKED = """
    import os, signal, traceback
    import threadpoolctl

    def forked(body):
        '''The exit status of a forked child: 0 if body() is true there, -14 if it hangs.'''
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        status = 3
        try:
            signal.alarm(100)
            status = 0 if body() else 2
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def blas_threads():
        return [each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"]
"""


@pytest.fixture
def openmp():
    """The environment of Numba's OpenMP layer, which is the one that forks are dangerous to."""
    env = environment_of("omp")
    if env is None:
        pytest.skip("Numba's layer 'omp' does not load here")
    return env


@pytest.mark.parametrize(("name", "layer"), layered("auto", *EXECUTORS), indirect=["layer"])
def test_forks_at_any_moment(name, layer):
    code = """
    statuses = {}
    # Of nothing that has happened the child knows what is right: it says so to itself.
    statuses["before first use"] = forked(lambda: [call() for call in CALLS] == alone())

    right = [call() for call in CALLS]
    assert right == alone()
    n_blas = blas_threads()
    def same():
        return [call() for call in CALLS] == right and blas_threads() == n_blas
    statuses["after use"] = forked(same)
    statuses["grandchild"] = forked(lambda: same() and forked(same) == 0 and same())
    statuses["grandchild of an idle child"] = forked(lambda: forked(same) == 0)

    def many():
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: [call() for call in CALLS], range(4)))
        return all(result == right for result in results) and blas_threads() == n_blas
    statuses["threads in the child"] = forked(many)

    def in_thread(body):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(forked, body).result()
    statuses["from a thread"] = in_thread(same)

    over = threading.Event()
    def keep_busy():
        while not over.is_set():
            assert [call() for call in CALLS] == right
    with ThreadPoolExecutor(3) as pool:
        busy = [pool.submit(keep_busy) for _ in range(3)]
        for i in range(4):
            statuses["while others compute", i] = forked(same)
            statuses["from a thread, while others compute", i] = in_thread(same)
        over.set()
        for each in busy:
            each.result()

    # In the middle of a fit, in which the child goes on.
    children = []
    def divide(record):
        if not children:
            children.append(os.fork())
    coef = fit(callbacks=[divide])
    if children == [0]:
        os._exit(0 if coef == right[2] and same() else 2)
    assert coef == right[2]
    statuses["child of a callback"] = os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1])

    assert same(), "the parent afterwards"
    print({key: status for key, status in statuses.items() if status})
    """
    status, out, err = run_python(PROBLEM + FORKED + code, name, **layer)
    # TBB has something to say of forks as well.
    assert (status, out.splitlines()[-1:]) == (0, ["{}"]), err


@pytest.mark.parametrize("name", ["auto", "prange"])
def test_a_handler_of_sigterm_that_returns(name, openmp):
    # with one, GNU OpenMP leaves out the loop and the child goes on with what was in memory
    code = """
    right = [call() for call in CALLS]
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    print(forked(lambda: [call() for call in CALLS] == right and not heard))
    """
    status, out, err = run_python(PROBLEM + FORKED + code, name, **openmp)
    assert (status, out) == (0, "0"), err


@pytest.mark.parametrize("name", ["auto", "prange"])
def test_import_in_a_child_of_a_process_that_used_numba(name, openmp):
    # nothing of this package was there to note the fork
    code = """
    import os, sys
    import numba
    import numpy as np

    @numba.njit(parallel=True)
    def double(x):
        for i in numba.prange(x.shape[0]):
            x[i] *= 2

    double(np.ones(100))
    pid = os.fork()
    if pid:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    status, out, err = run_python(
        code + PROBLEM + "    print([c() for c in CALLS] == alone())", name, **openmp
    )
    assert status == 0, err
    assert out == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whether a process is a fork")
def test_numba_used_first_in_the_same_process(openmp):
    # nobody has forked, and the layer is as good as if we had started it
    code = """
    import numba, sys
    numba.get_num_threads()
    from fastsoftmax.runtime import executor
    print(executor.threading_layer())
    """
    status, out, err = run_python(code, NUMBA_NUM_THREADS="2", **openmp)
    assert status == 0, err
    assert out == ("prange (omp)" if len(os.sched_getaffinity(0)) > 1 else "inline")


def test_fork_while_another_thread_compiles(tmp_path):
    code = """
    started = threading.Event()
    def compiles():
        started.set()
        return softmax()
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(compiles)
        started.wait()
        statuses = []
        while len(statuses) < 3 and not there.done():
            time.sleep(0.3)
            statuses.append(forked(lambda: fastsoftmax.logsumexp(z[:3], axis=1).shape == (3,)))
        there.result()
    print(set(statuses))
    """
    status, out, err = run_python(PROBLEM + FORKED + code, "inline", NUMBA_CACHE_DIR=str(tmp_path))
    assert (status, out) == (0, "{0}"), err


def test_pools_of_processes(layer):
    code = """
    import functools
    import multiprocessing as mp
    right = [call() for call in CALLS]
    there = {}
    for method in mp.get_all_start_methods():
        with mp.get_context(method).Pool(2) as pool:
            shares = pool.map_async(functools.partial(fastsoftmax.softmax, axis=1), [z] * 3)
            model = pool.apply_async(SoftmaxRegression().fit, (X, y))
            found = {each.tobytes() for each in shares.get(timeout=100)}
            there[method] = found == {right[0]} and model.get(timeout=100).coef_.tobytes() == right[2]
    print(there, [call() for call in CALLS] == right)
    """
    status, out, err = run_python(PROBLEM + code, "auto", **layer)
    assert status == 0, err
    assert "False" not in out, out
    assert out.count("True") >= 3, out


def test_joblibs_processes():
    code = """
    from joblib import Parallel, delayed
    right = [call() for call in CALLS]
    models = Parallel(n_jobs=2, backend="loky", timeout=100)(
        delayed(SoftmaxRegression().fit)(X, y) for _ in range(4)
    )
    print({model.coef_.tobytes() for model in models} == {right[2]}, [call() for call in CALLS] == right)
    """
    status, out, err = run_python(PROBLEM + code, "auto")
    assert (status, out) == (0, "True True"), err


def test_workers_of_torchs_data_loader():
    pytest.importorskip("torch")
    code = """
    import torch
    right = [call() for call in CALLS]
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 4
        def __getitem__(self, i):
            assert [call() for call in CALLS] == right
            return torch.from_numpy(fastsoftmax.softmax(z, axis=1))
    loader = torch.utils.data.DataLoader(Rows(), num_workers=2, batch_size=1, timeout=100)
    print({batch[0].numpy().tobytes() for batch in loader} == {right[0]}, [call() for call in CALLS] == right)
    """
    status, out, err = run_python(PROBLEM + code, "auto")
    assert (status, out) == (0, "True True"), err
