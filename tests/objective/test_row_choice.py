"""Law: which rows are chosen depends on the rows alone, and their weighted sums are those of all rows."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import devices, losses
from fastsoftmax.contracts import Csr, Params, RowBlock, row_slice
from fastsoftmax.contracts.queries import Together, placed
from fastsoftmax.objective.row_choice import ChooseRows
from fastsoftmax.sources.pairwise import pairwise_sum

N, D, K = 4000, 7, 3


def rows(sparse):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(N, D)) * np.geomspace(0.1, 10.0, D)
    y = rng.integers(0, 2, N)
    y[1234:1240] = 2
    weight = np.where(np.arange(N) % 10 == 4, 0.0, 1.0)
    if sparse:
        X = sp.csr_array(np.where(np.abs(X) > 0.3, X, 0.0))
        X = Csr(X.data, X.indices, X.indptr, X.shape)
    return RowBlock(X, y, weight)


def one_by_one(answers):
    return functools.reduce(operator.add, answers)


def chosen(block, step, max_bytes, n_threads=1, added=one_by_one):
    params = Params(np.zeros((K, D)), np.array([0.0, 0.0, -8.0]))
    inverse = Params(np.ones((K, D)) / np.geomspace(0.01, 100.0, D), np.array([4.0, 4.0, 1e3]))
    query = Together((ChooseRows((params,), (inverse,), 1.0, max_bytes),))
    loss = losses.family("softmax").for_targets(block.target, K)
    answers = []
    for first in range(0, N, step):
        stop = min(first + step, N)
        part = RowBlock(row_slice(block.X, first, stop), block.target[first:stop], block.weight[first:stop])
        answers.append(devices.answer(placed(query, first), loss, "cpu", part, n_threads).each[0])
    return added(answers).rows()


@pytest.mark.parametrize("sparse", [False, True])
def test_how_rows_are_cut_changes_nothing(sparse):
    block = rows(sparse)
    whole = chosen(block, N, 30_000)
    for step, n_threads in ((611, 1), (97, 2)):
        parts = chosen(block, step, 30_000, n_threads)
        np.testing.assert_array_equal(parts.target, whole.target)
        np.testing.assert_allclose(parts.weight, whole.weight, rtol=1e-12)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("max_bytes", [1, 5_000, 60_000])
def test_the_tree_of_additions_changes_nothing(sparse, max_bytes):
    block = rows(sparse)
    chain = chosen(block, 97, max_bytes)

    def from_the_right(answers):
        return functools.reduce(lambda right, left: left + right, reversed(answers))

    for added in (pairwise_sum, from_the_right):
        tree = chosen(block, 97, max_bytes, added=added)
        for ours, theirs in zip(_arrays(tree), _arrays(chain), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def _arrays(found):
    X = (found.X.data, found.X.indices, found.X.indptr) if isinstance(found.X, Csr) else (found.X,)
    return *X, found.target, found.weight


@pytest.mark.parametrize("sparse", [False, True])
def test_weights_stand_for_all_rows(sparse):
    block = rows(sparse)
    found = chosen(block, 500, 60_000)
    assert found.n_rows < N / 2
    assert (found.weight >= 1.0).all()  # none of weight zero
    assert found.weight.sum() == pytest.approx(block.weight.sum(), rel=0.1)
    of_third = block.weight[block.target == 2].sum()
    assert found.weight[found.target == 2].sum() == of_third  # each row of a rare class


def test_all_rows_are_chosen_where_they_fit():
    block = rows(False)
    found = chosen(block, 500, 10**9)
    assert found.n_rows == (block.weight > 0).sum()
    np.testing.assert_array_equal(found.weight, 1.0)
