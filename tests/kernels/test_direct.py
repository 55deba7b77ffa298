"""Law: passes in memory that is taken once give the sums, moments and dual points of queries."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.contracts import RowBlock
from fastsoftmax.data import sparse, validation
from fastsoftmax.kernels.cpu import direct
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.objective import certificate
from fastsoftmax.objective.counted import CountedSource
from fastsoftmax.sources.array import ArraySource, with_transpose

N, D = 131, 7  # two tiles of 64 rows and a bit; less than a register
STORAGES = {
    "float64": lambda X: X,
    "F": np.asfortranarray,
    "float32": lambda X: X.astype(np.float32),
    "uint8": lambda X: (np.abs(X) * 50).astype(np.uint8),
    "float16": lambda X: X.astype(np.float16),
    "csr": lambda X: sp.csr_array(np.where(np.abs(X) > 0.8, X, 0.0)),
    "csr float32": lambda X: sp.csr_array(np.where(np.abs(X) > 0.8, X, 0.0).astype(np.float32)),
}
LOSSES = {"index": 4, "soft": 3, "binary": 1, "labels": 5, "many": 128}  # K


def problem(storage, kind, m=3):
    rng = np.random.default_rng(5)
    X = STORAGES[storage](rng.normal(size=(N, D)))
    K = LOSSES[kind]
    if kind in ("index", "many"):
        target, loss = rng.integers(0, K, N), "softmax"
    elif kind == "soft":
        target, loss = rng.dirichlet(np.ones(K), N), "softmax"
    else:
        target, loss = (rng.random((N, K)) < 0.4).astype(np.float64), "sigmoid"
    weights = rng.integers(0, 3, (m, N)) * rng.random((m, 1))
    return X, target, loss, K, weights


def passes_of(X, target, loss, K, weights, n_threads=None, *, together=False):
    rows = with_transpose(validation.design_matrix(X))
    known = (softmax if loss == "softmax" else sigmoid).for_targets(target, K)
    found = direct.passes(known, RowBlock(rows, target, weights[0]), K, weights, n_threads, together=together)
    rng = np.random.default_rng(6)
    found.coef[:], found.intercept[:] = rng.normal(size=found.coef.shape), rng.normal(size=(len(weights), K))
    return found


def objective_of(X, target, loss, K, weight):
    rows = X.astype(np.float64)
    return SoftmaxObjective(rows, target, sample_weight=weight, n_classes=K, loss=loss)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("storage", STORAGES)
def test_the_sums_are_those_of_queries(storage, kind, together):
    X, target, loss, K, weights = problem(storage, kind)
    passes = passes_of(X, target, loss, K, weights, together=together)
    passes.evaluate(2)  # of three: the last stays as it is
    assert not passes.values[2]
    for i in range(2):
        objective = objective_of(X, target, loss, K, weights[i])
        value, grad = objective.value_and_grad(objective.pack(*passes.params(i)))
        total = weights[i].sum()
        assert passes.values[i] == pytest.approx(total * value, rel=1e-12)
        flat = np.concatenate((passes.coef_sums[i], passes.intercept_sums[i]))
        np.testing.assert_allclose(flat, total * grad, rtol=1e-11, atol=1e-12 * total)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("storage", STORAGES)
def test_the_diagonal_is_that_of_queries(storage, kind):
    X, target, loss, K, weights = problem(storage, kind)
    passes = passes_of(X, target, loss, K, weights)
    passes.diagonal(1)
    objective = objective_of(X, target, loss, K, weights[1])
    expected = weights[1].sum() * objective.diagonal(objective.pack(*passes.params(1)))
    flat = np.concatenate((passes.coef_sums[1], passes.intercept_sums[1]))
    np.testing.assert_allclose(flat, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("storage", STORAGES)
def test_the_moments_are_those_of_the_columns(storage, fit_intercept):
    X, target, loss, K, weights = problem(storage, "index")
    dense = (X.toarray() if sp.issparse(X) else X).astype(np.float64)
    share = weights[1] / weights[1].sum()
    mean = share @ dense if fit_intercept else np.zeros(D)
    found = passes_of(X, target, loss, K, weights).moments(fit_intercept, 1)
    np.testing.assert_allclose(found, [mean, share @ (dense - mean) ** 2], rtol=1e-10, atol=1e-14)


def test_a_constant_column_has_a_variance_above_rounding():
    X, target, loss, K, weights = problem("float64", "index")
    X[:, 2] = 1e3
    assert passes_of(X, target, loss, K, weights).moments(True)[1, 2] == pytest.approx(direct.FLOOR * 1e6)


@pytest.mark.parametrize("storage", ["float64", "csr"])
def test_the_square_is_that_of_the_logits(storage):
    X, target, loss, K, weights = problem(storage, "index")
    passes = passes_of(X, target, loss, K, weights)
    coef, intercept = passes.params(2)
    logits = X @ coef.T + intercept
    np.testing.assert_allclose(passes.logits(2), logits, rtol=1e-12, atol=1e-12)
    assert passes.square(2) == pytest.approx(weights[2] @ (logits**2).sum(axis=1), rel=1e-12)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("storage", ["float64", "csr"])
def test_the_dual_value_is_that_of_the_certificate(storage, kind):
    X, target, loss, K, weights = problem(storage, kind)
    passes = passes_of(X, target, loss, K, weights)
    passes.coef *= 0.02  # near the optimum, as where a bound is asked for: classes do not tell the rows apart
    passes.intercept *= 0.02
    family = softmax if loss == "softmax" else sigmoid
    known = family.for_targets(target, K)
    rows = with_transpose(validation.design_matrix(X))
    source = ArraySource(RowBlock(rows, target, weights[1]), known, K)
    total = weights[1].sum()
    means = family.weighted_target_sum(known, target, weights[1]) / total
    sums = certificate.dual_sums(CountedSource(source), family, passes.params(1), means, keep=True)
    assert passes.dual(1, total, means) == pytest.approx(-sums.value, rel=1e-11)
    np.testing.assert_allclose(
        passes.coef_sums[1], sums.coef.ravel(), rtol=1e-8, atol=1e-10 * np.abs(sums.coef).max()
    )
    np.testing.assert_allclose(passes.intercept_sums[1], 0.0, atol=1e-9 * total)


def test_far_from_the_optimum_the_dual_point_meets_its_condition():
    """Also where a class has next to no probability in any row, and where one has no row at all."""
    X, target, loss, K, weights = problem("float64", "index")
    target[target == 3] = 0
    passes = passes_of(X, target, loss, K, weights)
    passes.intercept[0] = [5.0, 0.0, -40.0, -1000.0]
    total = weights[0].sum()
    means = softmax.weighted_target_sum(softmax.for_targets(target, K), target, weights[0]) / total
    passes.dual(0, total, means)
    np.testing.assert_allclose(passes.intercept_sums[0], 0.0, atol=1e-9 * total)


@pytest.mark.parametrize("kind", ["index", "binary"])
@pytest.mark.parametrize("storage", ["float64", "csr"])
def test_the_bits_do_not_depend_on_threads_nor_on_the_others(storage, kind, monkeypatch):
    monkeypatch.setattr(direct, "PART_WORK", 100)  # many parts of few rows
    X, target, loss, K, weights = problem(storage, kind)
    sums = []
    for n_threads in (1, 2, 5):
        passes = passes_of(X, target, loss, K, weights, n_threads)
        passes.evaluate(3)
        sums.append([passes.values.copy(), passes.coef_sums.copy(), passes.intercept_sums.copy()])
    for other in sums[1:]:
        for a, b in zip(sums[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    together = passes_of(X, target, loss, K, weights, together=True)
    together.evaluate(3)
    alone = passes_of(X, target, loss, K, weights, together=True)
    alone.evaluate(1)
    np.testing.assert_array_equal(together.coef_sums[0], alone.coef_sums[0])


def test_sparse_rows_of_one_output_need_no_transpose(monkeypatch):
    """Nor does a whole fit build one, of rows that have two entries of one column, too."""
    monkeypatch.setattr(direct, "PART_WORK", 100)
    X, target, loss, K, weights = problem("csr", "binary")
    X.data[:] = np.where(np.arange(X.nnz) % 3, X.data, 0.5 * X.data)
    twice = sp.csr_array((np.repeat(0.5 * X.data, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    rows = validation.design_matrix(twice)
    known = sigmoid.for_targets(target, K)
    passes = direct.passes(known, RowBlock(rows, target, weights[0]), K, weights, None, together=False)
    assert len(passes._bounds) > 3
    passes.coef[:] = np.random.default_rng(6).normal(size=passes.coef.shape)
    objective = objective_of(X.toarray(), target, loss, K, weights[0])
    params = objective.pack(*passes.params(0))
    total = weights[0].sum()
    passes.evaluate(1)
    np.testing.assert_allclose(
        passes.coef_sums[0], total * objective.value_and_grad(params)[1][:-1], rtol=1e-11
    )
    passes.diagonal(0)
    np.testing.assert_allclose(passes.coef_sums[0], total * objective.diagonal(params)[:-1], rtol=1e-11)

    def refused(X):
        raise AssertionError("a transpose was built")

    monkeypatch.setattr(sparse, "transposed", refused)
    model = SoftmaxRegression().fit(twice, target[:, 0])
    monkeypatch.undo()
    other = SoftmaxRegression().fit(X.toarray(), target[:, 0])
    np.testing.assert_allclose(model.coef_, other.coef_, atol=1e-3)
    assert model.objective_ == pytest.approx(other.objective_, rel=2e-6)


@pytest.mark.parametrize("storage", ["float64", "csr"])
def test_a_row_of_weight_zero_has_no_effect(storage):
    X, target, loss, K, weights = problem(storage, "binary")
    kept = weights[0] > 0
    if storage == "csr":
        passes = passes_of(X, target, loss, K, weights[:1])
    else:
        X[~kept] = np.nan
        passes = passes_of(np.where(kept[:, None], X, 0.0), target, loss, K, weights[:1])
    expected = passes_of(X[kept], target[kept], loss, K, weights[:1, kept])
    passes.evaluate(1)
    expected.evaluate(1)
    assert passes.values[0] == pytest.approx(expected.values[0], rel=1e-13)
