"""Law: a fit on a cluster of processes has the bits of one machine, and errors name the block."""

from __future__ import annotations

import gc
import itertools
import time
from pathlib import Path

import dask
import distributed
import numpy as np
import pytest
from dask.sizeof import sizeof
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV, fit_on_worker, on_workers
from fastsoftmax.contracts import ManySums
from fastsoftmax.data.blocks.targets import Targets
from fastsoftmax.data.dask import tasks
from fastsoftmax.data.dask.plan import placed
from fastsoftmax.objective.row_choice import Chosen, ChosenRows
from fastsoftmax.sources import dask as source
from tests.dask.problems import MEMORY, arrays, is_idle, lists, on_one_machine, problem, said


@pytest.fixture(scope="module")
def expected():
    return said(SoftmaxRegression().fit(on_one_machine(*problem())))


@pytest.mark.parametrize(("case", "options"), [
    ({"dtype": np.float32, "n_classes": 5}, {}), ({"sparse": True}, {}),
    ({"sparse": True}, {"multi_class": "ovr"}), ({}, {"standardize": True}),
], ids=str)  # fmt: skip
def test_arrays_have_the_bits_of_one_machine(client, case, options):
    X, y, w = problem(**case)
    rows = on_workers(*arrays(X, y, w), memory=MEMORY)
    found = said(SoftmaxRegression(**options).fit(rows))
    assert found == said(SoftmaxRegression(**options).fit(on_one_machine(X, y, w)))


def test_futures_of_blocks(client, expected):
    futures = [client.compute(part) for part in lists(*problem())]
    assert said(SoftmaxRegression().fit(on_workers(*futures, memory=MEMORY))) == expected


def test_nothing_is_left_on_workers_after_a_fit(client):
    gc.collect()
    gc.disable()  # what is in a cycle stays
    try:
        for options in ({}, {"standardize": True}, {"l1_ratio": 0.5}):
            SoftmaxRegression(**options).fit(on_workers(*arrays(*problem()), memory=MEMORY))
            assert is_idle(client)
    finally:
        gc.enable()


def test_a_fit_may_run_in_a_task(client, expected):
    model = SoftmaxRegression()
    assert fit_on_worker(model, on_workers(*arrays(*problem()), memory=MEMORY)) is model
    assert said(model) == expected
    assert model.coef_.flags.aligned
    futures = [client.compute(part) for part in lists(*problem())]
    short = SoftmaxRegression(max_iter=1, tol=1e-13, callbacks=[print])  # called there
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        fit_on_worker(short, *futures)
    assert short.callbacks == [print]
    search = SoftmaxRegressionCV(Cs=[0.1], cv=2, refit=False, use_legacy_attributes=False)
    search = fit_on_worker(search, on_workers(*arrays(*problem()), memory=MEMORY))
    assert search.best_estimator_.coef_.tobytes() == search.coef_.tobytes()
    with pytest.raises(ValueError, match="'l1_ratio' parameter"):
        fit_on_worker(SoftmaxRegression(l1_ratio=2.0), *futures)


def test_a_fit_in_a_task_ends_when_nobody_waits_for_it(client, tmp_path):
    fit = client.submit(_endless, str(tmp_path / "ended"), pure=False)
    for name in ("begun", "ended"):
        end = time.monotonic() + 60.0
        while not (tmp_path / name).exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        fit.cancel()
    assert (tmp_path / "ended").read_text() == "LetGoError"


def _endless(mark):
    with distributed.worker_client():
        try:
            while True:
                on_workers(*arrays(*problem()), memory=MEMORY).look()
                Path(mark).with_name("begun").touch()
        except Exception as error:
            Path(mark).write_text(type(error).__name__)
            raise


def test_a_block_that_cannot_be_made_is_named(client):
    X, y, _ = lists(*problem())
    X[4] = dask.delayed(_broken)()
    with pytest.raises(OSError, match="block 4: the disk is gone"):
        SoftmaxRegression().fit(X, y)


def _broken():
    raise OSError("the disk is gone")


def test_what_workers_hold_is_measured():
    X, y, w = problem(sparse=True)
    block = tasks.prepared(X, y, w, 0)
    targets = Targets(np.unique(y), 4, "softmax", False, np.dtype(np.float64))
    encoded = source._encoded(block, 0, targets, 4, 2**20)
    # X is that of the block; what comes besides are the transpose, targets and weights
    back = encoded.parts[0].X.transpose
    assert sizeof(encoded) == 256 + back.data.nbytes + back.indices.nbytes + back.indptr.nbytes + 16 * len(y)
    assert sizeof(block) > X.data.nbytes


def test_what_chosen_rows_take_is_measured():
    X, y, w = problem(dtype=np.float32)
    chosen = ChosenRows((Chosen(X, y, w, w, w),), 1.0, 2**20)
    n_bytes = X.nbytes + y.nbytes + 3 * w.nbytes
    assert n_bytes <= sizeof(ManySums((chosen, chosen))) / 2 <= n_bytes + 512


@pytest.mark.parametrize("held", [[None] * 9, ["a"] * 9, ["a", "gone"] + [None] * 7, list("aaaaaaaab")])
def test_blocks_are_wished_to_lie_evenly_and_neighbours_together(held):
    places = placed(held, {"a": 1, "b": 1})
    assert sorted(map(places.count, "ab")) == [4, 5]
    assert sum(left != right for left, right in itertools.pairwise(places)) == 1


def test_a_worker_of_more_threads_is_to_have_more_blocks():
    places = placed([None] * 8, {"a": 3, "b": 1})
    assert [places.count(name) for name in "ab"] == [6, 2]


def test_blocks_lie_on_all_workers(client):
    one = next(iter(client.nthreads()))
    parts = lists(*problem())
    uneven = [client.compute(of, workers=[one]) for of in parts]  # all on one worker
    for given in (parts, uneven):
        rows = on_workers(*given, memory=MEMORY)
        SoftmaxRegression(max_iter=1, tol=1.0).fit(rows)
        there = client.who_has(rows.supply.units)
        places = [there[unit.key] for unit in rows.supply.units]
        assert all(len(names) == 1 for names in places)
        # 4 and 5 of them, neighbours together, unless a worker is busy: it was a wish, and the scheduler may
        # let the other one load a block. Never all on one, as they are without it.
        assert all(places.count((worker,)) for worker in client.nthreads())


def test_rows_that_one_task_makes_are_fitted_by_another(client, expected):
    """Law: a fit asks whether its own task is waited for, not the one that made its rows."""
    here = next(iter(client.nthreads()))  # where the rows stay as they are
    rows = client.submit(_made, pure=False, workers=here)
    assert client.submit(_fitted, rows, pure=False, workers=here).result(timeout=120) == expected


def _made():
    with distributed.worker_client():
        rows = on_workers(*arrays(*problem()), memory=MEMORY)
        rows.look()
        return rows


def _fitted(rows):
    with distributed.worker_client():
        return said(SoftmaxRegression().fit(rows))
