"""Law: class blocks are each class's part of the Hessian, of rows in any storage and change, or a sample."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.special

from fastsoftmax.contracts import Centre, RowBlock
from fastsoftmax.contracts.storages import Halves
from fastsoftmax.data.sparse import from_scipy, to_scipy
from fastsoftmax.objective import class_blocks
from fastsoftmax.objective.sparse import SparseObjective
from fastsoftmax.penalties.elastic_net import ElasticNet

N, D, K = 40, 5, 3
SPARSE_PART = "fastsoftmax.objective.sparse.SPARSE_PART"
PENALTY = ElasticNet(0.01, 0.5, np.ones((K, D)))


def draw(loss="softmax", change=None, fit_intercept=True, halves=False, sparse=False):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(N, D)) + rng.normal(size=D)).astype(np.float16)
    y = rng.integers(0, K, N) if loss == "softmax" else rng.random((N, K))
    exact = X.astype(np.float64)
    if sparse:
        exact[rng.random(exact.shape) < 0.5] = 0.0
    centre = Centre(exact.mean(axis=0), exact.var(axis=0), np.arange(D)) if change == "centred" else None
    features = np.stack((1.0 / exact.std(axis=0), exact.mean(axis=0))) if change == "scaled" else None
    stored = Halves(X.view(np.uint16)) if halves else exact
    if sparse:
        stored = from_scipy(
            scipy.sparse.csr_array(exact.astype(np.float32) if sparse == "float32" else exact)
        )
    rows = RowBlock(stored, y, rng.uniform(0.0, 2.0, N))
    options = {"fit_intercept": fit_intercept, "loss": loss}
    objective = SparseObjective(rows, K, PENALTY, centre=centre, features=features, options=options)
    return objective, rows, rng


def dense(blocks):
    squares, start = [], 0
    for width in np.diff(blocks.starts):
        squares.append(blocks.values[start : start + width * width].reshape(width, width))
        start += width * width
    return scipy.linalg.block_diag(*squares)


def of_rows(objective, rows, x, order, loss=None):
    """The blocks of sparse rows by their formula: own classes have the curvature of the parabola above."""
    coef, intercept = x[: K * D].reshape(K, D), x[K * D :] if objective.fit_intercept else np.zeros(K)
    X = to_scipy(rows.X).toarray().astype(np.float64)
    factor, mean = np.ones(D), np.zeros(D)
    if objective._given[3] is not None:
        factor, mean = objective._given[3]
    X = (X - mean) * factor
    logits = X @ coef.T + intercept
    one_hot = rows.target.ndim == 1
    proba = scipy.special.softmax(logits, axis=1) if one_hot else scipy.special.expit(logits)
    target = np.eye(K)[rows.target] if one_hot else rows.target
    z = scipy.special.logit(proba)
    curvature = target * np.tanh(z / 2) / (2 * z) + (1 - target) * proba * (1 - proba)
    ones = np.column_stack([X, np.ones(N)])
    of_class = np.where(order < K * D, order // D, order - K * D)
    column = np.where(order < K * D, order % D, D)
    blocks = np.zeros((len(order), len(order)))
    for k in range(K):
        Z = ones[:, column[of_class == k]]
        block = Z.T @ (Z * (rows.weight * curvature[:, k])[:, np.newaxis]) / rows.weight.sum()
        blocks[np.ix_(of_class == k, of_class == k)] = block
    coefs = order < K * D
    blocks[coefs, coefs] += PENALTY.curvature.ravel()[order[coefs]]
    return blocks


@pytest.mark.parametrize(
    "options",
    [{}, {"loss": "sigmoid", "halves": True}, {"fit_intercept": False}, {"change": "centred"},
     {"change": "scaled", "halves": True}, {"sparse": True}, {"sparse": "float32", "change": "scaled"},
     {"sparse": True, "loss": "sigmoid", "fit_intercept": False}],
    ids=str,
)  # fmt: skip
def test_they_are_parts_of_the_hessian(options, monkeypatch):
    monkeypatch.setattr(SPARSE_PART, 100.0)
    objective, rows, rng = draw(**options)
    chosen = rng.random(objective.size) < 0.6
    chosen[K * D :] = True
    chosen[D : 2 * D] = False  # a class without coefficients
    x, places = rng.normal(size=objective.size), np.flatnonzero(chosen)
    passes = objective.passes
    order, blocks = objective.class_blocks(x, places)
    assert objective.passes == passes + 1
    np.testing.assert_array_equal(np.sort(order), places)
    classes = np.where(order < K * D, order // D, order - K * D)
    assert (np.diff(classes) >= 0).all()
    expected = objective.reduced_hessian(x, places)[np.ix_(*(np.searchsorted(places, order),) * 2)]
    if options.get("sparse"):
        expected = of_rows(objective, rows, x, order)
    expected[classes != classes[:, np.newaxis]] = 0.0
    np.testing.assert_allclose(dense(blocks), expected, rtol=1e-8, atol=1e-8)


def test_a_sample_is_of_every_so_manyth_row_with_its_weight(monkeypatch):
    objective, rows, rng = draw()
    x, places = rng.normal(size=objective.size), np.arange(objective.size)
    monkeypatch.setattr(class_blocks, "BLOCK_PASSES", 0)
    monkeypatch.setattr(class_blocks, "MIN_ROWS", 2)  # for each of six columns: one row in three
    sampled = objective.class_blocks(x, places)[1].values
    third = RowBlock(rows.X[::3], rows.target[::3], rows.weight[::3])
    monkeypatch.undo()
    monkeypatch.setattr(class_blocks, "MIN_ROWS", N)
    expected = SparseObjective(third, K, PENALTY).class_blocks(x, places)[1].values
    np.testing.assert_allclose(sampled, expected, rtol=1e-12)


def test_large_ones_are_the_diagonal(monkeypatch):
    objective, _, rng = draw()
    x, places = rng.normal(size=objective.size), np.arange(objective.size)
    monkeypatch.setattr("fastsoftmax.objective.sparse.MAX_BLOCKS", 3 * (D + 1) ** 2 - 1)
    order, blocks = objective.class_blocks(x, places)
    np.testing.assert_array_equal(order, places)
    np.testing.assert_allclose(blocks.diagonal(), objective.diagonal(x), rtol=1e-7)


def test_a_sample_of_sparse_rows_where_these_meet_much(monkeypatch):
    objective, rows, rng = draw(sparse=True)
    monkeypatch.setattr(SPARSE_PART, 100.0)
    monkeypatch.setattr(class_blocks, "BLOCK_PASSES", 1e-3)
    monkeypatch.setattr(class_blocks, "MIN_ROWS", 2)
    x, places = rng.normal(size=objective.size), np.arange(objective.size)
    sampled = objective.class_blocks(x, places)[1].values
    third = RowBlock(from_scipy(to_scipy(rows.X)[::3]), rows.target[::3], rows.weight[::3])
    monkeypatch.setattr(class_blocks, "MIN_ROWS", N)
    expected = SparseObjective(third, K, PENALTY).class_blocks(x, places)[1].values
    np.testing.assert_allclose(sampled, expected, rtol=1e-12)


def test_sparse_columns_far_from_zero_leave_the_blocks_definite():
    rng = np.random.default_rng(0)
    X = np.where(rng.random((N, D)) < 0.5, rng.normal(size=(N, D)), 0.0)
    X[:, 2] = 1e6 + 1e-3 * rng.normal(size=N)
    rows = RowBlock(from_scipy(scipy.sparse.csr_array(X)), rng.integers(0, K, N), np.ones(N))
    features = np.stack((1.0 / X.std(axis=0), X.mean(axis=0)))
    objective = SparseObjective(rows, K, PENALTY, features=features)
    blocks = objective.class_blocks(rng.normal(size=objective.size), np.arange(objective.size))[1]
    assert np.linalg.eigvalsh(dense(blocks)).min() > 0.0


def test_of_sparse_rows_they_are_small_beside_the_rows(monkeypatch):
    objective, rows, rng = draw(sparse=True)
    x, places = rng.normal(size=objective.size), np.arange(objective.size)
    n_entries = K * (D + 1) ** 2
    for factor, are_diagonal in (0.99, True), (1.01, False):
        monkeypatch.setattr(
            "fastsoftmax.objective.sparse.SPARSE_PART", factor * n_entries / (K * len(rows.X.data))
        )
        blocks = objective.class_blocks(x, places)[1]
        assert (len(blocks.values) == objective.size) is are_diagonal


def test_entries_that_stand_twice_are_summed(monkeypatch):
    monkeypatch.setattr(SPARSE_PART, 100.0)
    objective, rows, rng = draw(sparse=True)
    X = rows.X
    halved = X._replace(data=np.repeat(0.5 * X.data, 2), indices=np.repeat(X.indices, 2), indptr=2 * X.indptr)
    twice = SparseObjective(RowBlock(halved, rows.target, rows.weight), K, PENALTY)
    x, places = rng.normal(size=objective.size), np.arange(objective.size)
    one, other = (each.class_blocks(x, places)[1].values for each in (objective, twice))
    np.testing.assert_allclose(other, one, rtol=1e-10)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_sample_without_weight_is_not_taken(sparse, monkeypatch):
    objective, rows, rng = draw(sparse=sparse)
    monkeypatch.setattr(SPARSE_PART, 100.0)
    x, places = rng.normal(size=objective.size), np.arange(objective.size)
    weight = np.where(np.arange(N) % 3 == 0, 0.0, rows.weight)
    objective = SparseObjective(rows._replace(weight=weight), K, PENALTY)
    expected = objective.class_blocks(x, places)[1].values
    monkeypatch.setattr(class_blocks, "BLOCK_PASSES", 1e-3 if sparse else 0)
    monkeypatch.setattr(class_blocks, "MIN_ROWS", 2)  # one row in three, of which none has a weight
    np.testing.assert_allclose(objective.class_blocks(x, places)[1].values, expected, rtol=1e-12)
