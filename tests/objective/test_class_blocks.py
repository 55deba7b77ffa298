"""Law: class blocks are each class's part of the Hessian, of rows in any storage and change, or a sample."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from fastsoftmax.contracts import Centre, RowBlock
from fastsoftmax.contracts.storages import Halves
from fastsoftmax.objective import class_blocks
from fastsoftmax.objective.sparse import SparseObjective
from fastsoftmax.penalties.elastic_net import ElasticNet

N, D, K = 40, 5, 3
PENALTY = ElasticNet(0.01, 0.5, np.ones((K, D)))


def draw(loss="softmax", change=None, fit_intercept=True, halves=False):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(N, D)) + rng.normal(size=D)).astype(np.float16)
    y = rng.integers(0, K, N) if loss == "softmax" else rng.random((N, K))
    exact = X.astype(np.float64)
    centre = Centre(exact.mean(axis=0), exact.var(axis=0), np.arange(D)) if change == "centred" else None
    features = np.stack((1.0 / exact.std(axis=0), exact.mean(axis=0))) if change == "scaled" else None
    rows = RowBlock(Halves(X.view(np.uint16)) if halves else exact, y, rng.uniform(0.0, 2.0, N))
    options = {"fit_intercept": fit_intercept, "loss": loss}
    objective = SparseObjective(rows, K, PENALTY, centre=centre, features=features, options=options)
    return objective, rows, rng


def dense(blocks):
    squares, start = [], 0
    for width in np.diff(blocks.starts):
        squares.append(blocks.values[start : start + width * width].reshape(width, width))
        start += width * width
    return scipy.linalg.block_diag(*squares)


@pytest.mark.parametrize(
    "options",
    [{}, {"loss": "sigmoid", "halves": True}, {"fit_intercept": False}, {"change": "centred"},
     {"change": "scaled", "halves": True}],
    ids=str,
)  # fmt: skip
def test_they_are_parts_of_the_hessian(options):
    objective, _, rng = draw(**options)
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
