"""Law: kernels that other processes compile are found by this one, and those processes end with the work."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxRegression
from fastsoftmax.objective import direct
from fastsoftmax.runtime import compile_ahead, compiling
from tests.interpreter import run_python

PLAN = [
    ("fastsoftmax.linalg.jitted.vectors", "copy", "f8:1C,f8:1C"),
    ("fastsoftmax.linalg.jitted.vectors", "moved", "f8:1C,f8:1C,d,f8:1C"),
]


def test_what_other_processes_compile_is_loaded(tmp_path):
    code = f"""
    import sys
    import numpy as np
    from fastsoftmax.runtime import compile_ahead, compiling
    print([*compile_ahead.compile_all({PLAN!r}, 2)])
    from fastsoftmax.linalg.vectors import Algebra
    algebra, a = Algebra(), np.arange(5.0)
    assert (algebra.moved(algebra.copied(a), a, 2.0) == 3.0 * a).all()
    print(compiling._state.n_done, compiling._state.n_loaded)
    """
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path)) == (0, "[1, 2]\n0 2", "")


def test_a_plan_that_cannot_be_compiled_is_an_error():
    with pytest.raises(RuntimeError, match="could not be compiled"):
        list(compile_ahead.compile_all([("fastsoftmax.linalg.jitted.vectors", "nothing", "")], 1))


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("kind", ["float64", "float32", "uint8", "csr", "two classes", "soft"])
def test_a_plan_names_what_a_fit_calls(kind, small, tmp_path, monkeypatch):
    """All that is planned, but for what depends on how the fit goes, and nothing else."""
    if not small:
        monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 5)), rng.integers(0, 2 if kind == "two classes" else 3, 90)
    if kind == "csr":
        X = sp.csr_array(np.where(X > 0, X, 0.0))
    elif kind == "soft":
        y = rng.dirichlet(np.ones(3), 90)
    elif kind != "two classes":
        X = (10 * np.abs(X)).astype(kind)
    planned, called = [], set()

    def forecast(plan):
        planned.extend(plan)
        return contextlib.nullcontext()

    monkeypatch.setattr(compiling, "forecast", forecast)
    watch(called, monkeypatch)
    SoftmaxRegression().fit(X, y)
    assert len(planned) >= (8 if small else 15)
    assert set(planned) >= called, called - set(planned)
    assert len(set(planned) - called) <= 3, set(planned) - called


def watch(called, monkeypatch):
    """Enter what is called into a set, as a plan does: kernels, and functions whose address is asked for."""
    from fastsoftmax.kernels.cpu import gather
    from fastsoftmax.runtime.kernels import Kernel
    from fastsoftmax.runtime.signatures import signature_of

    def serial(kernel):
        def call(start, stop, part, *arguments):
            called.add((kernel.module, kernel.name, signature_of(*arguments)))
            kernel.jitted.serial(start, stop, part, *arguments)

        return call

    def address(*planned):
        called.add(planned)
        return find(*planned)

    find = gather.address
    for remembered in (gather.products, gather._gather_address):  # of an earlier test
        remembered.cache_clear()
    monkeypatch.setattr(gather, "address", address)
    monkeypatch.setattr(Kernel, "serial", property(serial), raising=False)


def test_a_first_fit_is_helped(tmp_path):
    """Its processes have ended when it has, and its kernels are as many as without help, and as forecast."""
    code = """
    import json, os, subprocess
    import numpy as np
    from fastsoftmax import SoftmaxRegression
    from fastsoftmax.runtime import compile_ahead, compiling
    processes, seen = [], []
    start = compile_ahead.started
    compile_ahead.started = lambda plan: processes.append(start(plan)) or processes[-1]
    rng = np.random.default_rng(0)
    with compiling.reporting(seen.append):
        model = SoftmaxRegression().fit(rng.normal(size=(50, 3)), rng.integers(0, 3, 50))
    assert all(each.poll() is not None for each in processes)
    print(len(processes), compiling._state.n_done, compiling._state.n_loaded, model.objective_.hex())
    print(seen[0].n_expected, seen[0])
    """
    found = {}
    for n in (1, 2):
        env = {"NUMBA_CACHE_DIR": str(tmp_path / str(n)), "FASTSOFTMAX_COMPILERS": str(n)}
        status, out, err = run_python(code, NUMBA_NUM_THREADS="2", **env)
        assert status == 0, err
        counts, said = out.splitlines()
        n_processes, n_done, n_loaded, value = counts.split()
        assert int(n_processes) == n - 1
        found[n] = int(n_done), int(n_loaded), value
        if n == 1:  # where none is loaded meanwhile
            expected, line = said.split(maxsplit=1)
            assert abs(int(expected) - int(n_done)) <= 4
            assert line.startswith(f"compiling kernels (once on this machine): 0 of about {expected}, ")
    assert found[1][1] == 0
    assert found[2][1] >= 1  # the other process has had the time for some
    assert found[2][2] == found[1][2]


@pytest.mark.parametrize("text", ["0", "-1", "two"])
def test_a_limit_that_is_no_number_is_refused(text, monkeypatch):
    monkeypatch.setenv("FASTSOFTMAX_COMPILERS", text)
    with pytest.raises(ValueError, match="FASTSOFTMAX_COMPILERS must be a positive number"):
        compile_ahead.limit()


def test_no_process_is_started_where_none_can_help(monkeypatch):
    monkeypatch.setenv("FASTSOFTMAX_COMPILERS", "4")
    monkeypatch.setattr(compile_ahead, "started", lambda plan: pytest.fail("a process was started"))
    long_plan = [*PLAN] * 10
    for plan, n_threads, executable in (
        (None, None, sys.executable), (PLAN, None, sys.executable), (long_plan, 1, sys.executable),
        (long_plan, None, ""), (long_plan, None, "/usr/bin/editor"),
    ):  # fmt: skip
        monkeypatch.setattr(sys, "executable", executable)
        with compile_ahead.helping(plan, n_threads), compiling.announced("kernel"):
            pass
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    with monkeypatch.context() as patched:
        patched.setattr(multiprocessing.current_process(), "name", "LokyProcess-1")
        with compile_ahead.helping(long_plan), compiling.announced("kernel"):
            pass
    monkeypatch.setattr(compiling._state, "kept", False)  # nothing can be handed over
    with compile_ahead.helping(long_plan), compiling.announced("kernel"):
        pass


def test_a_process_that_fails_costs_nothing(monkeypatch):
    monkeypatch.setenv("FASTSOFTMAX_COMPILERS", "2")
    ended = []

    def started(plan):
        ended.append(subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]))
        return ended[-1]

    monkeypatch.setattr(compile_ahead, "started", started)
    with compile_ahead.helping([*PLAN] * 10), compiling.announced("kernel"):
        ended[0].wait()
    assert len(ended) == 1


def test_a_job_is_read_before_anything_is_imported():
    job = json.dumps({"path": sys.path, "plan": []})
    done = subprocess.run([sys.executable, "-c", compile_ahead.CODE], input=job, text=True, env=os.environ)
    assert done.returncode == 0
