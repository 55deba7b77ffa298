"""Law: every format gives the rows, labels and weights that were written, in blocks, as often as asked."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import open_rows, rows_from
from fastsoftmax.data.blocks.row_set import as_array
from tests.data.blocks import files

TINY = "8K"  # of memory: blocks of 4 KiB, a sample of 1 KiB, dense rows kept up to 5 KiB


@pytest.fixture(params=files.FORMATS, ids=lambda make: make.__name__)
def written(request, tmp_path):
    for library, makers in files.NEEDS.items():
        if request.param in makers:
            pytest.importorskip(library)
    path, options = request.param(tmp_path)
    sparse = request.param in files.SPARSE
    kind = np.float64 if request.param.__name__.startswith(("csv", "svm")) else np.float32
    X, y, w = files.data(kind, sparse=sparse)
    if request.param in files.NUMBERED:
        y = np.unique(y, return_inverse=True)[1] + 1
    return path, options, (X, y, w)


def joined(rows):
    """All blocks of a reading, dense, one after the other."""
    parts = list(rows.blocks())
    X = [part.toarray() if sp.issparse(part) else np.asarray(part) for part, _, _ in parts]
    return (
        np.concatenate(X),
        np.concatenate([y for _, y, _ in parts]),
        np.concatenate([w for _, _, w in parts]),
    )


def assert_same(found, expected):
    for one, other in zip(found, expected):
        assert one.dtype.kind == other.dtype.kind
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("cache", [None, False])
def test_blocks_are_the_rows(written, cache):
    path, options, (X, y, w) = written
    with open_rows(path, **options, memory=TINY, cache=cache) as rows:
        for _ in range(2):
            found = joined(rows)
            assert_same(found, (X, y, w))
        assert found[0].dtype == X.dtype
        assert (rows.n_rows, rows.n_features) == X.shape
        assert rows.classes.tolist() == np.unique(y).tolist()
        assert rows.look().kept is None
        assert rows.look().n_blocks > 2
        assert_same(joined(rows), (X, y, w))
        assert_same(joined(pickle.loads(pickle.dumps(rows))), (X, y, w))


def test_few_rows_are_kept_as_arrays(written):
    path, options, expected = written
    rows = open_rows(path, **options)
    X, y, w = rows.whole()
    assert_same((X.toarray() if sp.issparse(X) else X, y, w), expected)
    assert rows.n_readings <= 2  # two where an index 0 comes up


def test_what_the_first_reading_counts(written):
    path, options, (X, y, w) = written
    look = open_rows(path, **options, memory=TINY).look()
    classes, counts = np.unique(y, return_counts=True)
    assert look.learnt.classes.tolist() == classes.tolist()
    assert look.learnt.n_rows.tolist() == counts.tolist()
    np.testing.assert_allclose(look.learnt.weight, [w[y == label].sum() for label in classes], rtol=1e-14)
    assert look.weight == pytest.approx(w.sum(), rel=1e-14)
    chosen = look.sample.position
    sampled = as_array(look.sample.X)
    np.testing.assert_array_equal(sampled.toarray() if sp.issparse(sampled) else sampled, X[chosen])
    np.testing.assert_array_equal(look.sample.weight, w[chosen])
    assert 0 < len(chosen) < files.N


def test_names_of_features(tmp_path):
    pytest.importorskip("pyarrow")
    path, options = files.parquet(tmp_path)
    assert open_rows(path, **options).feature_names == files.NAMES
    rows = open_rows(path, target="kind", features=["f3", "f1"])
    assert rows.feature_names == ("f3", "f1")
    np.testing.assert_array_equal(rows.whole()[0], files.data()[0][:, [3, 1]])


def test_a_layer_of_anndata(tmp_path):
    pytest.importorskip("h5py")
    path, _ = files.h5ad(tmp_path)
    rows = open_rows(path, target="kind", layer="doubled")
    np.testing.assert_array_equal(rows.whole()[0], 2 * files.data(sparse=True)[0])
    with pytest.raises(ValueError, match=r"no layer 'halved'; it has doubled"):
        open_rows(path, target="kind", layer="halved")


def test_columns_of_an_array_are_labels_and_weights(tmp_path):
    X, y, w = files.data(np.float64)
    codes = np.unique(y, return_inverse=True)[1]
    np.save(tmp_path / "t.npy", np.column_stack([codes, X, w]))
    rows = open_rows(tmp_path / "t.npy", target=0, sample_weight=-1)
    found, labels, weight = rows.whole()
    np.testing.assert_array_equal(found, X)
    np.testing.assert_array_equal(weight, w)
    assert labels.dtype == np.int64
    assert labels.tolist() == codes.tolist()


def test_rows_of_a_function():
    X, y, w = files.data()
    cuts = [0, 40, 41, 150, 300, files.N]

    def make():
        for start, stop in itertools.pairwise(cuts):
            yield X[start:stop], y[start:stop], w[start:stop]

    rows = rows_from(make, memory=TINY)
    assert_same(joined(rows), (X, y, w))
    assert rows.classes.tolist() == ["ant", "bee", "cat"]
    assert_same(joined(rows), (X, y, w))
    assert rows.n_rows == files.N


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_that_fit_are_held_once(dtype):
    """Law: dense rows of up to two thirds of the memory are one array, and the blocks are views of it."""
    X = np.arange(1200).reshape(300, 4).astype(dtype)

    def make():
        for start in range(0, 300, 70):
            yield X[start : start + 70], np.arange(70)[: 300 - start] % 2

    rows = rows_from(make, memory=X.nbytes * 3 // 2 + 8)
    found = rows.whole()[0]
    np.testing.assert_array_equal(found, X)
    assert all(np.shares_memory(part, found) for part, _, _ in rows.blocks())
    assert np.shares_memory(rows.whole()[0], found)
    assert rows_from(make, memory=X.nbytes * 3 // 2 - 8).whole() is None


@pytest.mark.parametrize("pointers", [np.int32, np.int64])
def test_sparse_rows_that_memory_holds_are_held_once(pointers):
    X = sp.csr_matrix(files.data(sparse=True)[0])
    X.indices, X.indptr = X.indices.astype(pointers), X.indptr.astype(pointers)
    cuts = [0, 7, 8, 100, X.shape[0]]  # one block is an empty row

    def make():
        return ((X[a:b], np.zeros(b - a)) for a, b in itertools.pairwise(cuts))

    rows = rows_from(make)
    found = rows.whole()[0]
    np.testing.assert_array_equal(found.toarray(), X.toarray())
    for (part, _, _), (a, b) in zip(rows.blocks(), itertools.pairwise(cuts), strict=True):
        np.testing.assert_array_equal(part.toarray(), X[a:b].toarray())
        if part.nnz:
            assert np.shares_memory(part.data, found.data)
            assert np.shares_memory(part.indices, found.indices)
    assert np.shares_memory(rows.whole()[0].data, found.data)


@pytest.mark.parametrize("of_caller", [lambda A: A, lambda A: A[::-1], lambda A: A.T])
def test_batches_that_are_views_of_one_matrix_keep_their_order(of_caller):
    """Law: rows come as they were given, in whatever order the caller's matrix has them."""
    X = of_caller(np.arange(16.0).reshape(4, 4))
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        rows = rows_from(lambda order=order: ((X[i : i + 1], [i % 2]) for i in order))
        found, labels, _ = rows.whole()
        np.testing.assert_array_equal(found, X[order])
        assert labels.tolist() == [i % 2 for i in order]
        np.testing.assert_array_equal(rows.whole()[0], X[order])


def test_text_that_means_numbers_is_numbers(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "t.csv").write_text("a,kind\n1,10\n2, 9\n3,10\n4,9\n")
    rows = open_rows(tmp_path / "t.csv", target="kind")
    assert rows.classes.tolist() == [9, 10]
    assert rows.whole()[1].tolist() == [10, 9, 10, 9]
    (tmp_path / "t.csv").write_text("a,kind\n1,010\n2,10\n")
    assert open_rows(tmp_path / "t.csv", target="kind").classes.tolist() == ["010", "10"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float16, np.float64, np.int64, ">f4"])
def test_dtypes_are_those_of_arrays(tmp_path, dtype):
    X = np.arange(12).reshape(6, 2).astype(dtype)
    np.save(tmp_path / "X.npy", X)
    rows = open_rows(tmp_path / "X.npy", target=[0, 1] * 3)
    found = rows.whole()[0]
    np.testing.assert_array_equal(found, X)
    kept = {"uint8", "int16", "float16", "float64", "float32"}
    assert found.dtype == (X.dtype.newbyteorder("=") if X.dtype.name in kept else np.float64)
