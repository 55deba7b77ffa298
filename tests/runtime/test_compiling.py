"""Law: what is compiled is reported, what is loaded from disk is not, and reports change nothing."""

from __future__ import annotations

import os

import numba
import pytest

from fastsoftmax.runtime import compiling
from fastsoftmax.runtime.private_library import PrivateCompiler
from tests.interpreter import run_python


def jitted(function):
    """Compile in this process, without a cache."""
    return numba.njit(pipeline_class=PrivateCompiler)(function)


def pair():
    """Return a function that calls another; neither is compiled yet."""

    @jitted
    def twice(x):
        return 2 * x

    @jitted
    def four_times(x):
        return twice(twice(x))

    return four_times


def test_a_kernel_is_reported_with_what_it_calls():
    seen, before = [], compiling._state.n_done
    four_times = pair()
    with compiling.reporting(seen.append):
        assert four_times(3) == 12
        assert [each.name for each in seen] == ["four_times", "four_times", ""]
        assert [each.n_done for each in seen] == [0, 0, 1]
        assert 0 <= seen[0].seconds <= seen[1].seconds <= seen[2].seconds
        four_times(4)
        assert len(seen) == 3
        four_times(4.0)
        assert [each.n_done for each in seen[3:]] == [1, 1, 2]
    four_times(4j)
    assert len(seen) == 6
    assert compiling._state.n_done - before == 3
    assert (compiling._state.depth, compiling._state.reports) == (0, [])


def test_the_last_that_asked_is_told():
    outer, inner = [], []
    four_times = pair()
    with compiling.reporting(outer.append), compiling.reporting(None):
        with compiling.reporting(inner.append):
            four_times(1)
        assert outer == []
        four_times(1.0)
    assert len(inner) == len(outer) == 3
    assert outer[-1].n_done == 2  # all since it asked


def test_a_compilation_that_fails_or_is_interrupted_is_over():
    @jitted
    def impossible(x):
        return x.no_such_attribute

    seen = []
    with compiling.reporting(seen.append):
        with pytest.raises(numba.TypingError):
            impossible(1)
        assert seen[-1].name == ""
        assert seen[-1].n_done == 0
    assert compiling._state.depth == 0

    def interrupts(compilation):
        raise KeyboardInterrupt

    with compiling.reporting(interrupts), pytest.raises(KeyboardInterrupt):
        pair()(1)
    assert (compiling._state.depth, compiling._state.reports) == (0, [])


def test_a_closed_stream_does_not_keep_a_kernel_from_being_compiled():
    def closed(compilation):
        raise BrokenPipeError

    with compiling.reporting(closed):
        assert pair()(3) == 12


def test_what_is_said():
    kept = compiling.Compilation("softmax", 7, 12.3, True)
    assert str(kept) == "compiling kernels (once on this machine): 7 so far, 12 s, now softmax"
    first = compiling.Compilation("softmax", 0, 0.1, True)
    assert str(first) == "compiling kernels (once on this machine): the first one, now softmax"
    assert "in every process" in str(kept._replace(kept=False))
    assert "): 7 of about 19, 12 s, now softmax" in str(kept._replace(n_expected=19))
    assert "): 0 of about 19, 0 s, now softmax" in str(first._replace(n_expected=19))
    assert "): 7 so far, 12 s, now softmax" in str(kept._replace(n_expected=7))  # there are more after all


def test_a_forecast_is_for_a_process_without_kernels(monkeypatch):
    monkeypatch.setattr(compiling, "_state", compiling._State())
    seen, four_times = [], pair()
    with compiling.reporting(seen.append):
        with compiling.forecast([1, 2, 3]):
            four_times(1)
            assert {each.n_expected for each in seen} == {3}
            compiling.loaded()
            four_times(1.0)
            assert seen[-1].n_expected == 2
        with compiling.forecast([1, 2, 3]):
            four_times(1j)
        assert seen[-1].n_expected is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_does_not_write_to_the_line_of_its_parent():
    code = """
    import os
    from fastsoftmax.runtime import compiling
    with compiling.reporting(print):
        child = os.fork()
        if not child:
            assert compiling._state.reports == []
    if not child:
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(compiling._state.reports))
    """
    assert run_python(code)[:2] == (0, "0 0")


def test_nothing_is_said_of_kernels_from_disk(tmp_path):
    code = """
    import numpy as np, sys, fastsoftmax
    from sklearn.datasets import load_iris
    fastsoftmax.logsumexp(np.ones((3, 4)), axis=1)  # no call that asked for a report
    model = fastsoftmax.SoftmaxRegression(verbose=1)
    model.classes_, model.n_features_in_ = np.arange(3), 2
    model.coef_, model.intercept_ = np.ones((3, 2)), np.zeros(3)
    model.predict(np.ones((5, 2)))
    model.set_params(verbose=0).decision_function(np.ones((5, 2)))
    """
    status, out, err = run_python(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert (status, out) == (0, ""), err
    lines = err.splitlines()
    assert lines[0].startswith("compiling kernels (once on this machine): the first one, now ")
    assert lines[-1].startswith("compiled ")
    assert run_python(code, NUMBA_CACHE_DIR=str(tmp_path)) == (0, "", "")
