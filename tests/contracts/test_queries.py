"""Law: a query can be pickled and holds nothing as long as the rows; logits kept there go with its point."""

from __future__ import annotations

import dataclasses
import gc
import pickle

import numpy as np
import pytest

from fastsoftmax.contracts import KeptLogits, Mixture, Params, Point, RowBlock, queries, storages
from fastsoftmax.contracts.values import Largest
from fastsoftmax.kernels import cpu
from fastsoftmax.losses import softmax
from fastsoftmax.runtime.buffers import BufferPool

K, D, N = 3, 2, 5
HERE = Params(np.arange(6.0).reshape(K, D), np.ones(K))
MIXTURE = Mixture(np.zeros(K), 0.25, np.full(K, 1 / K))
QUERIES = [
    queries.LossGrad(HERE),
    queries.Check(HERE, HERE),
    queries.Check(HERE),
    queries.LossGrads((HERE, HERE)),
    queries.Hessp(HERE, HERE, np.dtype(np.float64)),
    queries.Hessp(Point(HERE), HERE),
    queries.Diagonal(HERE),
    queries.Gram(HERE, True),
    queries.Gram(None, False, np.float32),
    queries.Dual(Point(HERE), MIXTURE, True),
    queries.ShiftCurvature(HERE, np.zeros(K)),
    queries.TargetSum(),
    queries.Together((queries.LossGrad(HERE), queries.TargetSum())),
    queries.CorrectedDual(Point(HERE), HERE, True),
    queries.LeastGram(HERE, np.ones(D)),
    queries.LargestNorm(np.eye(D + 1), np.ones(D)),
]


def block(**parts):
    X = np.random.default_rng(0).normal(size=(N, D))
    return RowBlock(X, np.arange(N) % K, np.ones(N), **parts)


LOSS = softmax.for_targets(block().target, K)


def arrays(sums):
    if isinstance(sums, Largest):
        return [sums.value]
    return [part.joined.tobytes() for part in getattr(sums, "each", [sums])]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: type(query).__name__)
def test_a_query_travels(query):
    travelled = pickle.loads(pickle.dumps(query))
    rows = block(logits=KeptLogits())
    found, again = (each.on(cpu, LOSS, rows, 1) for each in (query, travelled))
    assert arrays(found) == arrays(again)
    if isinstance(query, queries.LossGrad | queries.Check | queries.Hessp | queries.Diagonal):
        assert (found + again).joined.tobytes() == (2.0 * found.joined).tobytes()
        assert (found + again).weight == 2.0 * N


def test_every_query_of_the_vocabulary_is_here():
    named = vars(queries).values()
    names = {each for each in named if dataclasses.is_dataclass(each) and hasattr(each, "on")}
    assert names == {type(query) for query in QUERIES}


def test_the_largest_norm_is_that_of_all_rows_with_a_weight():
    rows = block()._replace(weight=np.array([1.0, 0.0, 2.0, 1.0, 0.0]))
    root = np.random.default_rng(1).normal(size=(D + 1, 2))
    query = queries.LargestNorm(root, np.ones(D))
    squares = ((np.column_stack((rows.X - 1.0, np.ones(N))) @ root) ** 2).sum(axis=1)
    whole = query.on(cpu, LOSS, rows, 1)
    assert whole.value == pytest.approx(squares[[0, 2, 3]].max(), rel=1e-13)
    parts = [
        rows._replace(X=rows.X[some], target=rows.target[some], weight=rows.weight[some])
        for some in (slice(2), slice(2, N))
    ]
    first, second = (query.on(cpu, LOSS, part, 1) for part in parts)
    assert first + second == whole


def test_logits_are_computed_once_and_go_with_their_point(monkeypatch):
    computed = []
    logits = cpu.logits

    def counting(*arguments, **options):
        computed.append(1)
        return logits(*arguments, **options)

    monkeypatch.setattr(cpu, "logits", counting)
    rows, point = block(logits=KeptLogits()), Point(HERE)
    for _ in range(3):
        queries.Hessp(point, HERE).on(cpu, LOSS, rows, 1)
    assert len(computed) == 1
    queries.Dual(point, MIXTURE, False).on(cpu, LOSS, rows, 1)
    assert len(computed) == 1
    queries.Hessp(Point(HERE), HERE).on(cpu, LOSS, rows, 1)  # another point
    assert len(computed) == 2
    del point
    gc.collect()
    assert len(rows.logits._by_point) == 0


def test_a_point_that_has_travelled_is_the_same():
    point = Point(HERE)
    again = pickle.loads(pickle.dumps(point))
    assert again == point
    assert hash(again) == hash(point)
    assert again != Point(HERE)
    kept = KeptLogits()
    first = kept.at(point, lambda: np.zeros(1))
    assert kept.at(again, lambda: np.ones(1)) is first


def test_what_stays_behind():
    rows = block(buffers=BufferPool(), logits=KeptLogits())
    point = Point(HERE)
    rows.logits.at(point, lambda: np.zeros((N, K)))
    travelled = pickle.loads(pickle.dumps(rows))
    assert len(travelled.logits._by_point) == 0
    np.testing.assert_array_equal(travelled.X, rows.X)
    resident = storages.Resident(rows.X, {id(rows.X): "on the device"})
    assert pickle.loads(pickle.dumps(resident)).kept == {}


@pytest.mark.parametrize("X", [[[1.0]], np.ma.ones((5, 2)), None, {"a": 1}])
def test_rows_of_an_unknown_storage(X):
    with pytest.raises(TypeError, match="stored as one of"):
        storages.row_slice(X, 0, 1)
    with pytest.raises(TypeError, match="computes on rows stored as"):
        queries.LossGrad(HERE).on(cpu, LOSS, block()._replace(X=X), 1)


@pytest.mark.parametrize("places", [[0, 2, 4], [4], [], [1, 1, 3]])
def test_taken_rows_are_those_of_scipy(places):
    import scipy.sparse as sp

    A = sp.random_array((N, 7), density=0.4, format="csr", rng=np.random.default_rng(3))
    A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    X = storages.Csr(A.data, A.indices, A.indptr, A.shape)
    taken = storages.storage_of(X).take(X, np.array(places, np.int64))
    wanted = A[np.array(places, np.int64)]
    for name in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(wanted, name))
    assert taken.shape == wanted.shape
    assert taken.indices.dtype == taken.indptr.dtype == np.int64
