"""Law: with absolute values a fit to rows read by blocks is the minimum of arrays, in few readings."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import fastsoftmax
from fastsoftmax import SoftmaxRegression, rows_from
from fastsoftmax.objective import sparse_readings
from fastsoftmax.persistence import checkpoint

N, D, K, STEP = 1200, 14, 3, 110
READINGS = 20


def problem(kind="labels"):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(N, D)) * np.logspace(-1, 1, D)
    X = np.where(np.abs(X) > 0.4, X, 0.0)
    z = X @ np.where(rng.random((D, K)) < 0.5, rng.normal(size=(D, K)), 0.0)
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    if kind == "binary":
        y = np.minimum(y, 1)
    if kind == "multilabel":
        y = (z + rng.logistic(size=z.shape) > 0.0).astype(float)
    if kind == "rare":
        y[y == 2] = 1
        y[7] = 2
    return X, y, rng.uniform(0.5, 2.0, N)


def in_blocks(X, y, w, memory="32K"):
    def make():
        for start in range(0, N, STEP):
            part = slice(start, start + STEP)
            yield X[part], y[part], w[part]

    return rows_from(make, memory=memory)


CASES = {
    "l1": ({}, "labels", np.array),
    "sparse rows": ({"l1_ratio": 0.6}, "labels", sp.csr_array),
    "one logit, no intercept": ({"fit_intercept": False, "penalty_weights": np.arange(1.0, D + 1)},
                                "binary", np.array),
    "groups": ({"group_classes": True}, "labels", np.float32),
    "deviations": ({"standardize": True}, "labels", sp.csr_array),
    "separate labels": ({"loss": "sigmoid", "l1_ratio": 0.3}, "multilabel", np.array),
    "a class of one row": ({}, "rare", np.array),
    "one against rest": ({"multi_class": "ovr"}, "labels", np.array),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_minimum_is_that_of_arrays(case):
    options, kind, make = CASES[case]
    options = {"C": 0.05, "l1_ratio": 1.0} | options
    X, y, w = problem(kind)
    X = make(X)
    rows = in_blocks(X, y, w)
    model = SoftmaxRegression(**options).fit(rows)
    assert rows.look().kept is None
    expected = SoftmaxRegression(tol=1e-9, **options).fit(X, y, w)
    assert model.solver_ == "sampled-proximal"
    assert 0.0 <= model.duality_gap_ <= 1e-6 * model.objective_
    assert -1e-9 <= model.objective_ / expected.objective_ - 1.0 <= 1e-6
    assert ((model.coef_ != 0.0) == (expected.coef_ != 0.0)).all()
    assert 0 < np.count_nonzero(model.coef_) < model.coef_.size
    assert model.coef_.dtype == expected.coef_.dtype
    n_passes = model.history_[-1].passes
    assert rows.n_readings == n_passes + 1  # the look
    assert model.history_[-1].bytes_read == n_passes * rows.look().n_bytes
    assert n_passes <= READINGS


def test_by_chosen_rows_alone_it_is_the_same(monkeypatch):
    monkeypatch.setattr(sparse_readings, "RIDING_ORDER", 2)
    X, y, w = problem()
    model = SoftmaxRegression(C=0.05, l1_ratio=0.7, tol=1e-5).fit(in_blocks(X, y, w, "96K"))
    expected = SoftmaxRegression(C=0.05, l1_ratio=0.7, tol=1e-9).fit(X, y, w)
    assert model.duality_gap_ <= 1e-5 * model.objective_
    assert -1e-9 <= model.objective_ / expected.objective_ - 1.0 <= 1e-5


@pytest.mark.parametrize("order", [sparse_readings.RIDING_ORDER, 0])
def test_threads_and_checkpoints_change_no_bit(order, tmp_path, monkeypatch):
    monkeypatch.setattr(sparse_readings, "RIDING_ORDER", order)
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "TIME_FRACTION", np.inf)
    rows, options = in_blocks(*problem()), {"C": 0.05, "l1_ratio": 0.9, "tol": 1e-9}
    expected = SoftmaxRegression(n_threads=1, **options).fit(rows)
    n_stops = 0

    class StoppedError(Exception):
        pass

    while True:
        left = [3 + n_stops]

        def stop(record, left=left):
            left[0] -= 1
            if left[0] == 0:
                raise StoppedError

        model = SoftmaxRegression(n_threads=2, callbacks=[stop], checkpoint=tmp_path / "state", **options)
        try:
            model.fit(rows)
            break
        except StoppedError:
            n_stops += 1
    assert n_stops > 1
    assert model.coef_.tobytes() == expected.coef_.tobytes()
    assert [record[1:] for record in model.history_] == [record[1:] for record in expected.history_]
    assert list(tmp_path.iterdir()) == []


def test_a_path_a_warm_start_and_the_c_of_the_first_coefficient():
    X, y, w = problem()
    rows, options = in_blocks(X, y, w), {"l1_ratio": 1.0}
    for point in SoftmaxRegression(**options).fit_path(rows, None, [0.01, 0.1]):
        alone = SoftmaxRegression(C=point.C, **options).fit(X, y, w)
        assert point.objective_ == pytest.approx(alone.objective_, rel=2e-6)
    assert fastsoftmax.C_min(rows) == pytest.approx(fastsoftmax.C_min(X, y, w), rel=1e-6)
    model = SoftmaxRegression(warm_start=True, **options).fit(rows)
    assert model.fit(rows).n_iter_[0] <= 1


def test_on_dasks_blocks_it_has_the_same_bits():
    da = pytest.importorskip("dask.array")
    X, y, w = problem()
    options = {"C": 0.05, "l1_ratio": 0.8, "standardize": True}
    here = SoftmaxRegression(**options).fit(in_blocks(X, y, w))
    given = da.from_array(X, chunks=(STEP, D)), da.from_array(y, chunks=STEP), da.from_array(w, chunks=STEP)
    there = SoftmaxRegression(**options).fit(fastsoftmax.on_workers(*given, memory="32K"))
    assert there.coef_.tobytes() == here.coef_.tobytes()
    assert [record[1:] for record in there.history_] == [record[1:] for record in here.history_]
