"""Law: fits of one output to wide sparse rows know the Hessian of frequent features; bits repeat."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective
from fastsoftmax.contracts import Csr
from fastsoftmax.objective import frequent_block
from fastsoftmax.preconditioners import frequent
from fastsoftmax.runtime import executor
from fastsoftmax.runtime.executor import run_in_python
from fastsoftmax.solvers import lbfgs

N, FIELDS = 9001, 6
D = 4001  # too many for a matrix of all: BLOCKS_BYTES holds 3,238 in float32


def hashed(dtype=np.float32):
    """Fields hashed to columns, one value of each field a row, and labels of a logistic model."""
    rng = np.random.default_rng(0)
    sizes = np.geomspace(3, 2000, FIELDS)
    values = np.exp(rng.random((N, FIELDS)) * np.log(sizes)).astype(int)
    columns = (values * 7919 + np.arange(FIELDS) * 104729) % D
    X = sp.csr_array((np.ones(N * FIELDS, dtype), columns.ravel(), np.arange(N + 1) * FIELDS), (N, D))
    X.sum_duplicates()
    return X, (rng.random(N) < 1.0 / (1.0 + np.exp(-X @ rng.normal(size=D)))).astype(int)


def solved(dtype):
    """The solution by L-BFGS: small fits of the estimator take steps of their own."""
    X, y = hashed(dtype)
    target = y.astype(dtype)[:, np.newaxis]
    objective = SoftmaxObjective(X, target, loss="sigmoid", l2=0.1 / N)
    records = []
    start = np.zeros(objective.n_params)
    found = lbfgs.minimize(objective, start, tol=1e-6, callback=lambda record, _: records.append(record))
    return found, len(records)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fits_take_fewer_steps_to_the_same_optimum(monkeypatch, dtype):
    found, n_steps = solved(dtype)
    monkeypatch.setattr(frequent_block, "serves", lambda *_: False)
    plain, n_plain_steps = solved(dtype)
    assert n_steps <= 0.8 * n_plain_steps
    assert abs(found.value - plain.value) <= 2e-6 * plain.value


def test_bits_do_not_depend_on_threads(monkeypatch):
    X, _ = hashed(np.float64)
    features = np.sort(np.argsort(-np.bincount(X.indices, minlength=D), kind="stable")[:700])
    rows = Csr(X.data, X.indices.astype(np.int32), X.indptr.astype(np.int32), X.shape)
    parts = []
    monkeypatch.setattr(
        frequent,
        "run_in_python",
        lambda *given, **more: parts.append(given[1]) or run_in_python(*given, **more),
    )
    curvature = np.random.default_rng(2).uniform(0.0, 0.25, N)
    monkeypatch.setattr(executor, "SMALL_WORK", 0)  # else in line
    one, two = (frequent._block(rows, curvature, features, True, n)[0] for n in (1, 2))
    assert parts == [6, 6]
    np.testing.assert_array_equal(one, two)


def test_it_is_symmetric_and_positive():
    X, y = hashed(np.float64)
    objective = SoftmaxObjective(X, y.astype(float)[:, np.newaxis], loss="sigmoid", l2=1e-3)
    rng = np.random.default_rng(1)
    inverse = objective.preconditioner(0.1 * rng.normal(size=objective.n_params))
    u, v = rng.normal(size=(2, objective.n_params))
    size = np.linalg.norm(inverse(u)) * np.linalg.norm(v)
    assert abs(u @ inverse(v) - v @ inverse(u)) <= 1e-5 * size  # its factor is float32
    assert u @ inverse(u) > 0.0


def test_rows_without_a_penalty_or_with_more_outputs_have_others():
    X, y = hashed(np.float64)
    target = y.astype(float)[:, np.newaxis]
    for labels, l2, serves in (
        (target, 1e-3, True),
        (target, 0.0, False),
        (np.c_[target, target], 1e-3, False),
    ):
        objective = SoftmaxObjective(X, labels, loss="sigmoid", l2=l2)
        assert objective._preconditioning._has_frequent_block == serves


def test_large_entries_do_not_leave_the_range_of_its_factor():
    X, y = hashed(np.float64)
    X.data[X.indices == X.indices[0]] = 1e25  # whose squares float32 does not hold
    objective = SoftmaxObjective(X, y.astype(float)[:, np.newaxis], loss="sigmoid", l2=1e-3)
    inverse = objective.preconditioner(np.zeros(objective.n_params))
    assert np.isfinite(inverse(np.ones(objective.n_params))).all()
