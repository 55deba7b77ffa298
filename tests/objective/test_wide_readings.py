"""Law: wide sparse rows of two classes, read anew by rows alone, have the sums and the optimum of arrays."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from fastsoftmax import SoftmaxRegression, devices, losses, rows_from
from fastsoftmax.contracts import Csr, Params, RowBlock
from fastsoftmax.contracts.queries import Diagonal, LossGrad, TargetSum, Together, by_rows
from fastsoftmax.preconditioners import frequent
from fastsoftmax.sources.array import ArraySource, with_transpose

N, D, FIELDS = 603, 400, 6


def hashed(seed=0):
    """Fields hashed to columns, one value of each field a row, and labels of a logistic model."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(4, 300, FIELDS)
    values = np.exp(rng.random((N, FIELDS)) * np.log(sizes)).astype(int)
    columns = (values * 7919 + np.arange(FIELDS) * 104729) % D
    X = sp.csr_array((np.ones(N * FIELDS, np.float32), columns.ravel(), np.arange(N + 1) * FIELDS), (N, D))
    X.sum_duplicates()
    return X, (rng.random(N) < 1.0 / (1.0 + np.exp(-X @ rng.normal(size=D)))).astype(int)


def csr(X):
    """The parts of a SciPy matrix as kernels take them."""
    return Csr(X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32), X.shape)


def blocks(X, weight=None):
    """Both storages of the rows as one block of one output: with a transpose and without."""
    rows = csr(X)
    target = (np.arange(N) % 2).astype(np.float32)[:, np.newaxis]
    block = RowBlock(rows._replace(transpose=None), target, np.ones(N) if weight is None else weight)
    return block, block._replace(X=with_transpose(block.X))


def test_sums_by_rows_alone_are_those_of_columns():
    """Law: without a transpose value, gradient and diagonal are those with it, to float32 products."""
    X, _ = hashed()
    by_row, by_column = blocks(X, np.random.default_rng(1).uniform(0.0, 2.0, N))
    loss = losses.family("sigmoid").for_targets(np.zeros((1, 1), np.float32), 1)
    rng = np.random.default_rng(2)
    params = Params(rng.normal(size=(1, D)), rng.normal(size=1))
    source = ArraySource(by_column, loss, 1)
    for query in (LossGrad(params), Diagonal(params)):
        found, expected = devices.answer(query, loss, "cpu", by_row, 2), source.sum(query)
        np.testing.assert_allclose(found.value, expected.value, rtol=1e-6)
        np.testing.assert_allclose(found.joined, expected.joined, rtol=1e-5, atol=1e-5)


def test_queries_together_need_a_transpose_if_one_does():
    """Law: several queries are answered by rows alone only if each is."""

    class Other:
        pass

    assert by_rows(Together((TargetSum(), TargetSum())))
    assert not by_rows(Together((TargetSum(), Other())))


def test_the_block_of_frequent_features_is_inverted():
    """Law: with all features in the block, and the sample all rows, M is the Hessian, to a float32 factor."""
    X, _ = hashed()
    rows = csr(X)
    curvature = np.random.default_rng(3).uniform(0.05, 0.25, N) / N
    dense = np.hstack((X.toarray(), np.ones((N, 1))))
    matrix = (dense.T * curvature) @ dense
    hessian = matrix + np.diag(np.append(np.full(D, 0.01), 0.0))
    apply, _ = frequent.inverse(matrix.diagonal(), 0.01, rows, curvature, np.arange(D), True)
    vector = np.random.default_rng(4).normal(size=D + 1)
    # the factor's backward error, some eps of the unit diagonal, and its jitter, by M's condition number
    scale = 1.0 / np.sqrt(np.diag(hessian))
    condition = np.linalg.cond(hessian * np.outer(scale, scale))
    error = (frequent.JITTER + 8.0 * np.finfo(np.float32).eps) * condition
    residual = scale * (hessian @ apply(vector) - vector)
    assert np.linalg.norm(residual) <= error * np.linalg.norm(scale * vector)


def test_a_fit_of_wide_rows_is_that_of_arrays():
    """Law: the certified optimum is that of the same rows in memory, with the same bits for any threads."""
    X, y = hashed()

    def make():
        for start in range(0, N, 100):
            yield X[start : start + 100], y[start : start + 100]

    held = SoftmaxRegression(tol=1e-8).fit(X, y)
    fits = [SoftmaxRegression(tol=1e-8, n_threads=n).fit(rows_from(make, memory="8K")) for n in (1, 2)]
    assert fits[0].solver_ == "lbfgs"
    assert fits[0].duality_gap_ <= 1e-8 * fits[0].objective_
    np.testing.assert_allclose(fits[0].objective_, held.objective_, rtol=2e-8)
    np.testing.assert_array_equal(fits[0].coef_, fits[1].coef_)
