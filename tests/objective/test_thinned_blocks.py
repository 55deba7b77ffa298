"""Law: class blocks of thinned rows are those of all rows on average, however the rows are cut or changed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from fastsoftmax import devices, losses
from fastsoftmax.contracts import Halves, Params, RowBlock
from fastsoftmax.contracts.queries import Gram
from fastsoftmax.contracts.storages import row_slice
from fastsoftmax.objective.thinned_blocks import MULTIPLES, ExpectedRows, ThinnedBlocks, levels_for
from fastsoftmax.sources.array import ArraySource
from fastsoftmax.sources.scaled import ScaledSource

N, D, K = 2000, 7, 3


def draw(halves=False):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(N, D)).astype(np.float16)
    rows = Halves(X.view(np.uint16)) if halves else X.astype(np.float64)
    params = Params(2.0 * rng.normal(size=(K, D)), rng.normal(size=K))
    return RowBlock(rows, rng.integers(0, K, N), rng.uniform(0.0, 2.0, N)), params


def answer(query, rows, step=N, family="softmax"):
    loss = losses.family(family).for_targets(rows.target, K)
    total = None
    for first in range(0, N, step):
        part = RowBlock(
            row_slice(rows.X, first, first + step),
            rows.target[first : first + step],
            rows.weight[first : first + step],
        )
        placed = query.placed(first) if hasattr(query, "placed") else query
        found = devices.answer(pickle.loads(pickle.dumps(placed)), loss, "cpu", part, 1)
        total = found if total is None else total + found
    return np.tril(total.coef) if total.coef.ndim == 3 else total.coef


@pytest.mark.parametrize("halves", [False, True])
def test_at_a_level_of_nothing_they_are_those_of_all_rows(halves):
    rows, params = draw(halves)
    found = answer(ThinnedBlocks(params, np.full(K, 1e-300)), rows)
    # half precision has logits of float32
    np.testing.assert_allclose(
        found, answer(Gram(params, False), rows), rtol=1e-4 if halves else 1e-9, atol=1e-3
    )


def test_of_a_third_of_the_rows_they_are_near_and_the_same_in_parts():
    rows, params = draw()
    whole = answer(Gram(params, False), rows)
    levels = (whole[:, -1, -1] / N)[:, np.newaxis] * MULTIPLES
    counts = answer(ExpectedRows(params, levels), rows)
    np.testing.assert_allclose(answer(ExpectedRows(params, levels), rows, 97), counts, rtol=1e-12)
    chosen = levels_for(counts, levels, N // 3)
    expected = answer(ExpectedRows(params, chosen[:, np.newaxis]), rows)
    assert abs(expected / (N / 3) - 1.0).max() < 0.1
    found = answer(ThinnedBlocks(params, chosen), rows)
    np.testing.assert_allclose(found, answer(ThinnedBlocks(params, chosen), rows, 97), rtol=1e-9, atol=1e-9)
    for some, all_rows in zip(found, whole, strict=True):
        full = [part + np.tril(part, -1).T for part in (some, all_rows)]
        assert np.linalg.norm(full[0] - full[1], 2) < 0.1 * np.linalg.norm(full[1], 2)


def test_of_scaled_rows_they_are_those_of_rows_scaled_beforehand():
    rows, params = draw()
    loss = losses.family("softmax").for_targets(rows.target, K)
    scale, mean = np.geomspace(0.5, 2.0, D), np.linspace(-1.0, 1.0, D)
    scaled = ScaledSource(ArraySource(rows, loss, K), scale, mean)
    before = ArraySource(rows._replace(X=(rows.X - mean) / scale), loss, K)
    level = np.full(K, 0.1)
    for query in (ThinnedBlocks(params, level), ExpectedRows(params, level[:, np.newaxis])):
        np.testing.assert_allclose(scaled.sum(query).coef, before.sum(query).coef, rtol=1e-8, atol=1e-8)
