"""Law: the Hessian among a few parameters is that part of the whole, of rows in any storage and change."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective
from fastsoftmax.contracts import Params, RowBlock
from fastsoftmax.data import sparse
from fastsoftmax.kernels import cpu
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.objective.reduced_hessian import ReducedHessian

N, D, K = 23, 4, 3


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("make", [np.array, np.float16, sp.csr_matrix])
@pytest.mark.parametrize("family", [softmax, sigmoid])
def test_of_scaled_rows_it_is_that_of_rows_scaled_beforehand(family, make, centred):
    rng = np.random.default_rng(0)
    X = np.round(np.where(rng.random((N, D)) < 0.7, rng.normal(size=(N, D)), 0.0), 2).astype(np.float16)
    y = rng.integers(0, K, N) if family is softmax else rng.random((N, K))
    w, factor, mean = rng.uniform(0.0, 2.0, N), rng.uniform(0.5, 3.0, D), centred * rng.normal(size=D)
    coef, intercept = rng.normal(size=(K, D)), rng.normal(size=K)
    scaled = (X.astype(float) - mean) * factor
    loss = "softmax" if family is softmax else "sigmoid"
    objective = SoftmaxObjective(scaled, y, sample_weight=w, loss=loss)
    classes, features, intercepts = np.array([0, 0, 2, 2]), np.array([1, 3, 0, 3]), np.array([0, 2])
    places = np.concatenate((classes * D + features, K * D + intercepts))
    expected = objective.hessian_matrix(objective.pack(coef, intercept))[np.ix_(places, places)]

    def of_rows(params):
        W = params.coef * factor
        return Params(W, params.intercept - W @ mean)

    query = ReducedHessian(Params(coef, intercept), classes, features, intercepts)
    query = pickle.loads(pickle.dumps(query.of_scaled(of_rows, factor, mean)))
    rows = sparse.from_scipy(make(X.astype(float))) if make is sp.csr_matrix else make(X)
    block = RowBlock(rows, y, w)
    parts = [
        block._replace(X=rows, target=y, weight=np.where(chosen, w, 0.0))
        for chosen in (np.arange(N) < 9, np.arange(N) >= 9)
    ]
    sums = [query.on(cpu, family.for_targets(y, K), part, 1) for part in parts]
    np.testing.assert_allclose(query.matrix(sums[0] + sums[1]), expected, rtol=1e-10, atol=1e-12)
