"""Law: Ctrl-C is heard in the middle of a fit and of a single long kernel; it leaves everything as it was.

How long it takes is not asserted in seconds: a pass that takes seconds must not be waited for.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from fastsoftmax.runtime import executor as executor_module
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.jitted import Jitted, kernel
from fastsoftmax.runtime.kernels import Kernel
from tests.interpreter import layered, run_python
from tests.runtime.test_concurrency import EXECUTORS, PROBLEM

posix = pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX systems send them")

INTERRUPTED = """
    import os, signal, threadpoolctl
    import numba
    from fastsoftmax import SoftmaxObjective

    # In what a script starts in the background, SIGINT is ignored unless somebody asks for it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupted(body, delay, number=signal.SIGINT, begun=None):
        '''Seconds from a signal, sent after a delay, to the end of body(), and what that ended in.'''
        sent = []
        def send():
            begun is None or begun.wait()
            time.sleep(delay)
            sent.append(time.perf_counter())
            os.kill(os.getpid(), number)
        sender = threading.Thread(target=send)
        end = None
        try:
            sender.start()
            body()
            sender.join()
        except KeyboardInterrupt:
            end = KeyboardInterrupt
        return time.perf_counter() - sent[0], end

    def state():
        '''What an interrupted call might leave behind.'''
        blas = [each["num_threads"] for each in threadpoolctl.threadpool_info() if each["user_api"] == "blas"]
        return blas, numba.get_num_threads()

    # One pass is a single kernel in eight parts, of seconds. The rows are one row, read over and over.
    rows = np.broadcast_to(rng.normal(size=1000).astype(np.float32), (49152, 1000))
    labels = np.arange(len(rows)) % 1000
    long = SoftmaxObjective(rows, labels)
    params = np.full(long.n_params, 1e-3)
    right = alone()
    [call() for call in CALLS]
    before = state()
"""


@posix
@pytest.mark.parametrize(("name", "layer"), layered(*EXECUTORS), indirect=["layer"])
def test_interrupt_in_a_long_kernel(name, layer):
    code = """
    start = time.perf_counter()
    value, grad = long.value_and_grad(params)
    whole = time.perf_counter() - start
    answered, end = interrupted(lambda: long.value_and_grad(params), 0.1 * whole)
    assert end is KeyboardInterrupt, "it came to its end"
    assert answered < whole / 3, f"{answered} of {whole} s"
    assert state() == before, "threads"
    assert [call() for call in CALLS] == right, "afterwards"
    found = []
    # A handler that returns: the pass goes on to the same bits.
    signal.signal(signal.SIGTERM, lambda *_: found.append("heard"))
    _, end = interrupted(lambda: found.append(long.value_and_grad(params)), 0.1 * whole, signal.SIGTERM)
    assert end is None and found[0] == "heard", found
    assert (value, grad.tobytes()) == (found[1][0], found[1][1].tobytes()), "bits"
    print(f"{1000 * answered:.0f} ms of {1000 * whole:.0f}")
    """
    status, out, err = run_python(PROBLEM + INTERRUPTED + code, name, **layer)
    assert status == 0, err
    print(f"{name} on {layer['NUMBA_THREADING_LAYER']}: interrupt answered after {out}")


@posix
@pytest.mark.parametrize("name", EXECUTORS)
def test_interrupts_in_fits(name):
    code = """
    model = SoftmaxRegression().fit(X, y)
    kept = {key: np.array(value, dtype=object) for key, value in vars(model).items()}
    def unchanged():
        now = vars(model)
        return now.keys() == kept.keys() and all(np.array_equal(now[key], kept[key]) for key in kept)
    rows, labels = np.tile(X, (200, 1)), np.tile(y, 200)
    begun = threading.Event()
    model.set_params(callbacks=[lambda record: begun.set()], C=9.0)
    _, end = interrupted(lambda: model.fit(rows, labels), 0.01, begun=begun)
    model.set_params(callbacks=None, C=1.0)
    assert end is KeyboardInterrupt, "it came to its end"
    assert unchanged(), "the estimator is not as it was"

    # At many moments: nothing is left behind, whatever was interrupted.
    start = time.perf_counter()
    fit()
    seconds = time.perf_counter() - start
    ends = []
    for i in range(40):
        ends.append(interrupted(lambda: [model.fit(X, y) for _ in range(4)], 2 * seconds * rng.random())[1])
        assert state() == before, i
        assert [call() for call in CALLS] == right, i
    assert ends.count(KeyboardInterrupt) > 20, ends
    assert model.coef_.tobytes() == right[2], "the estimator afterwards"
    print("right")
    """
    status, out, err = run_python(PROBLEM + INTERRUPTED + code, name)
    assert (status, out) == (0, "right"), err


@posix
def test_interrupt_in_a_factorisation():
    code = """
    from fastsoftmax.objective.row_space import RowSpace
    wide = rng.normal(size=(1200, 2400))
    start = time.perf_counter()
    rows = RowSpace(wide).rows
    whole = time.perf_counter() - start
    answered, end = interrupted(lambda: RowSpace(wide), 0.3 * whole)
    assert end is KeyboardInterrupt, "it came to its end"
    assert answered < whole / 3, f"{answered} of {whole} s"
    assert state() == before, "threads"
    assert RowSpace(wide).rows.tobytes() == rows.tobytes(), "bits"
    print(f"{1000 * answered:.0f} ms of {1000 * whole:.0f}")
    """
    status, out, err = run_python(PROBLEM + INTERRUPTED + code, "auto")
    assert status == 0, err
    print(f"a factorisation: interrupt answered after {out}")


@kernel
def _note(start, stop, part, seen, order):
    for i in range(start, stop):
        seen[i] += part + 1
        order[part, 0] += 1
        seen[i] *= order[part, 0]  # the rows of a part come in order


@pytest.mark.parametrize("cut", [0, 7])
@pytest.mark.parametrize("n_threads", [1, 2, 3, 8])
@pytest.mark.parametrize("name", EXECUTORS)
def test_slices_cover_every_row_once_and_in_order(name, n_threads, cut, executor, monkeypatch):
    executor(name)
    bounds = even_bounds(1001, 11)
    within = np.concatenate([np.arange(1, n + 1) for n in np.diff(bounds)])
    right = np.repeat(np.arange(1, 12), np.diff(bounds)) * within
    for slice_work in (1e-3, 1e5, 3e5, 1e9):
        monkeypatch.setattr(executor_module, "SLICE_WORK", slice_work)
        seen = np.zeros(1001, np.int64)
        order = np.zeros((11, 1), np.int64)
        run(Kernel.of(_note), bounds, seen, order, work=1e6, n_threads=n_threads, cut=cut)
        np.testing.assert_array_equal(seen, right)


@pytest.mark.parametrize("name", ["threads", "inline"])
def test_long_parts_are_cut(name, executor):
    """Between two returns to Python no more is done than a slice; pieces begin where they may."""
    executor(name)
    calls = []
    bounds = even_bounds(70_001, 7)
    run(
        Kernel.of(Jitted(lambda *piece: calls.append(piece), None)),
        bounds,
        work=100 * executor_module.SLICE_WORK,
        n_threads=2,
        cut=16,
    )
    assert max(stop - start for start, stop, _ in calls) <= 70_001 / 100
    assert len(calls) >= 100
    for start, stop, part in calls:
        assert (start - bounds[part]) % 16 == 0
        assert stop == bounds[part + 1] or (stop - start) % 16 == 0


@pytest.mark.parametrize("name", ["threads", "inline"])
def test_nothing_goes_on_after_an_exception(name, executor):
    executor(name)
    calls = []

    def fails(start, stop, part):
        calls.append(part)
        if part == 3:
            raise MemoryError("no buffer")

    with pytest.raises(MemoryError, match="no buffer"):
        run(Kernel.of(Jitted(fails, None)), even_bounds(1000, 50), work=1e6, n_threads=4)
    n_calls = len(calls)
    assert n_calls < 50
    run(
        Kernel.of(Jitted(lambda *piece: calls.append(piece), None)), even_bounds(99, 9), work=1e6, n_threads=4
    )
    assert len(calls) == n_calls + 9
