"""Law: whatever has blocks is rows: arrays, frames, lists of delayed objects or futures, and files."""

from __future__ import annotations

import pickle

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxRegression, on_workers, open_rows
from tests.dask.problems import MEMORY, STEP, N, cuts, lists, on_one_machine, problem, said

dd = pytest.importorskip("dask.dataframe", reason="dask.dataframe needs pyarrow")


@pytest.fixture(scope="module")
def expected():
    X, y, w = problem()
    return said(SoftmaxRegression().fit(on_one_machine(X, y, w)))


def test_lists_of_delayed_objects(expected):
    parts = lists(*problem())
    assert said(SoftmaxRegression().fit(on_workers(*parts, memory=MEMORY))) == expected


def test_arrays_whose_chunks_are_others_or_not_known(expected):
    X, y, w = problem()
    dX, dy = da.from_array(X, chunks=(STEP, -1)), da.from_array(y, chunks=400)
    assert said(SoftmaxRegression().fit(on_workers(dX, dy, w, memory=MEMORY))) == expected
    kept = da.from_array(np.arange(N) >= 0, chunks=STEP)
    beside = [da.from_array(each, chunks=STEP)[kept] for each in (y, w)]
    rows = on_workers(dX[kept], *beside, memory=MEMORY)
    assert said(SoftmaxRegression().fit(rows)) == expected


def test_frames_with_names_and_categories():
    X, y, w = problem()
    frame = pd.DataFrame(X, columns=[f"f{j}" for j in range(X.shape[1])])
    names = list(frame.columns)
    frame["label"], frame["weight"] = pd.Categorical(y), w
    there = dd.from_pandas(frame, npartitions=5)
    model = SoftmaxRegression().fit(there[names], there["label"], there["weight"])
    assert model.feature_names_in_.tolist() == names
    assert model.classes_.tolist() == sorted(set(y))
    local = SoftmaxRegression().fit(frame[names], y, w)
    assert abs(model.objective_ - local.objective_) <= 2e-6 * local.objective_
    proba = model.predict_proba(there[names])
    np.testing.assert_array_equal(proba.compute(), model.predict_proba(frame[names]))
    assert model.score(there[names], there["label"]) == model.score(frame[names], y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(there[names[::-1]])


def test_frames_sorted_by_class_whose_first_partitions_are_empty():
    X, y, _ = problem()
    frame = pd.DataFrame(X, columns=[f"f{j}" for j in range(X.shape[1])])
    names = list(frame.columns)
    frame = frame.assign(label=y).sort_values("label")
    there = dd.from_pandas(frame, npartitions=9, sort=False)
    there = there[there.label > "class 0"]
    assert not len(there.get_partition(0))
    left = frame[frame.label > "class 0"]
    local = SoftmaxRegression(tol=1e-7).fit(left[names], left.label)
    for label in (there.label, there.label.astype("category")):
        model = SoftmaxRegression(tol=1e-7).fit(on_workers(there[names], label, memory=MEMORY))
        assert model.classes_.tolist() == ["class 1", "class 2", "class 3"]
        assert model.history_[-1].passes > 1
        assert abs(model.objective_ - local.objective_) <= 2e-7 * local.objective_


@pytest.mark.parametrize(("form", "options"), [
    ("npy", {}), ("npz", {}), ("npy", {"standardize": True, "multi_class": "ovr"}),
], ids=str)  # fmt: skip
def test_files_are_read_where_they_are_computed_on(tmp_path, form, options):
    X, y, w = problem(sparse=form == "npz")
    for number, part in enumerate(cuts(step=400)):
        if form == "npy":
            np.save(tmp_path / f"X_{number}.npy", X[part])
            np.save(tmp_path / f"y_{number}.npy", y[part])
        else:
            at = X[part]
            arrays = {"data": at.data, "indices": at.indices, "indptr": at.indptr}
            np.savez(tmp_path / f"X_{number}.npz", shape=at.shape, format="csr", y=y[part], **arrays)
    rows = open_rows(tmp_path, sample_weight=w, memory=MEMORY)
    here = SoftmaxRegression(**options).fit(rows)
    assert here.history_[-1].passes > 1
    there = SoftmaxRegression(**options).fit(pickle.loads(pickle.dumps(on_workers(rows))))
    assert said(there) == said(here)
    assert there.score(on_workers(rows)) == here.score(rows)


def test_predictions_are_lazy_and_those_of_arrays():
    X, y, _ = problem(dtype=np.float32)
    model = SoftmaxRegression().fit(X, y)
    there = da.from_array(X, chunks=(STEP, -1))
    for name, arguments in (
        ("predict", ()), ("predict_proba", ()), ("predict_log_proba", ()), ("decision_function", ()),
    ):  # fmt: skip
        method = getattr(model, name)
        lazy, here = method(there, *arguments), method(X, *arguments)
        assert isinstance(lazy, da.Array)
        assert (lazy.shape, lazy.dtype, lazy.chunks[0]) == (here.shape, here.dtype, there.chunks[0])
        np.testing.assert_array_equal(lazy.compute(), here)
    for lazy, here in zip(model.predict_top_k(there, 2), model.predict_top_k(X, 2)):
        np.testing.assert_array_equal(lazy.compute(), here)
    sparse = da.concatenate(
        [
            da.from_delayed(dask.delayed(sp.csr_array)(X[p]), X[p].shape, meta=sp.csr_array((0, 0)))
            for p in cuts()
        ]
    )
    np.testing.assert_array_equal(model.predict(sparse).compute(), model.predict(X))
    with pytest.raises(ValueError, match="features"):
        model.predict(there[:, 1:])
    with pytest.raises(ValueError, match="out="):
        model.predict(there, out="labels.npy")


def _blocks(X, y, **other):
    return on_workers(*lists(X, y, np.ones(len(y)))[:2], memory=MEMORY, **other)


def test_what_is_wrong_is_said_with_its_block():
    X, y, _ = problem()
    bad = X.copy()
    bad[STEP * 2 + 3, 1] = np.nan
    with pytest.raises(ValueError, match="X of block 2"):
        SoftmaxRegression().fit(_blocks(bad, y))
    labels = np.where(np.arange(N) == STEP + 5, None, y.astype(object))
    with pytest.raises(ValueError, match="'block 1': the label of row 6 is missing"):
        SoftmaxRegression().fit(_blocks(X, labels))

    @dask.delayed
    def broken(part):
        raise OSError("the disk is gone")

    parts = lists(X, y, y)[:2]
    parts[0][4] = broken(cuts()[4])
    with pytest.raises(OSError, match="block 4: the disk is gone"):
        SoftmaxRegression().fit(*parts)
    with pytest.raises(ValueError, match="y has 8 blocks, and X has 9"):
        SoftmaxRegression().fit(parts[0], parts[1][:-1])
    with pytest.raises(ValueError, match="block 8: X has 140 rows, and y has 170"):
        SoftmaxRegression().fit(lists(X, y, y)[0], [*parts[1][:-1], parts[1][0]])
    with pytest.raises(TypeError, match="Dask"):
        SoftmaxRegression().partial_fit(da.from_array(X), y, classes=np.unique(y))
    with pytest.raises(ValueError, match="only one class"):
        SoftmaxRegression().fit(
            da.from_array(X, chunks=(STEP, -1)), da.from_array(y, chunks=STEP)[:1].repeat(N)
        )


def test_blocks_without_rows_have_no_part(expected):
    X, y, w = problem()
    parts = [[part[0][:0], *part[:3], part[0][:0], *part[3:]] for part in lists(X, y, w)]
    assert said(SoftmaxRegression().fit(on_workers(*parts, memory=MEMORY))) == expected
