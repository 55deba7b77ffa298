"""Law: what the objective of rows elsewhere takes from a sample or one reading bounds the same minimum."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, losses, rows_from
from fastsoftmax.data.blocks.targets import Targets
from fastsoftmax.objective.few_readings import FewReadings
from fastsoftmax.penalties.squared_norm import SquaredNorm
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.solvers import lbfgs
from fastsoftmax.sources.stream import StreamSource

N, D, K = 2000, 9, 4


def problem(loss="softmax", *, n_features=D, sparse=False):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(N, n_features)) + 0.3
    X = sp.csr_array(np.where(X > 0.4, X, 0)) if sparse else X
    logits = (X @ rng.normal(size=(n_features, K))) / np.sqrt(n_features) + np.array([0, 0, 1, -3.0])
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    if loss == "sigmoid":
        y = (rng.random((N, K)) < 1 / (1 + np.exp(-logits))).astype(float)
    return X, y, rng.uniform(0.5, 2.0, N)


def few_readings(X, y, w, loss="softmax", l2=0.01, memory="60K"):
    def make():
        for start in range(0, N, 150):
            yield X[start : start + 150], y[start : start + 150], w[start : start + 150]

    rows = rows_from(make, memory=memory)
    is_matrix = np.ndim(y) == 2
    targets = Targets(np.arange(K), K, loss, is_matrix, np.dtype(float))
    the_loss = losses.family(loss).for_targets(np.zeros((1, K)) if is_matrix else np.zeros(1, np.int64), K)
    source = StreamSource(rows, targets, the_loss, 1, BufferPool())
    return FewReadings(source, the_loss, penalty=SquaredNorm(l2), n_threads=1), rows


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_no_bound_is_above_the_minimum(loss, sparse):
    X, y, w = problem(loss, sparse=sparse)
    objective, _ = few_readings(X, y, w, loss)
    plain = SoftmaxObjective(X, y, sample_weight=w, l2=0.01, loss=loss)
    best = lbfgs.minimize(plain, np.zeros(plain.n_params), tol=1e-11)
    rng = np.random.default_rng(0)
    gaps = []
    for distance in (1.0, 1e-1, 1e-2, 1e-3, 1e-4):
        x = best.x + distance * rng.normal(size=best.x.size)
        value, grad = objective.value_and_grad(x)
        assert value == pytest.approx(plain.value(x), rel=1e-12)
        bound = objective.lower_bound(x, value, grad)
        free = objective._bounds.from_gradient(x, value, grad)
        assert max(bound, free) <= best.value + 1e-12
        gaps.append((value - bound) / max(value - best.value, 1e-12))
    # of second order: a step ten times as small has a gap a hundred times as small
    assert max(gaps[2:]) < 100.0


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_a_bound_takes_a_reading_at_most_beside_the_gradients(loss):
    X, y, w = problem(loss, n_features=40)
    objective, rows = few_readings(X, y, w, loss, memory="250K")
    x = objective.start()
    value, grad = objective.value_and_grad(x)
    before = rows.n_readings
    objective.lower_bound(x, value, grad)
    assert rows.n_readings - before <= 2  # one for the curvature, which was not summed at the start
    x = 0.99 * x
    value, grad = objective.value_and_grad(x)
    before = rows.n_readings
    objective.lower_bound(x, value, grad)
    assert rows.n_readings - before <= 1


def test_the_moments_are_those_of_the_rows():
    for loss in ("softmax", "sigmoid"):
        X, y, w = problem(loss)
        objective, _ = few_readings(X, y, w, loss)
        objective._at_candidates([])
        mean, with_target = objective._bounds.moments
        one_hot = np.eye(K)[y] if y.ndim == 1 else y
        np.testing.assert_allclose(mean, w @ X / w.sum(), rtol=1e-9)
        np.testing.assert_allclose(with_target, (w[:, None] * one_hot).T @ X / w.sum(), atol=1e-12)


def test_the_preconditioner_is_the_inverse_of_the_samples_hessian():
    X, y, w = problem(n_features=80)
    objective, rows = few_readings(X, y, w, memory="500K")
    assert not objective.has_small_hessian
    x = np.random.default_rng(0).normal(size=objective.n_params) / 10
    before = rows.n_readings
    apply = objective.preconditioner(x)
    v = np.random.default_rng(1).normal(size=objective.n_params)
    v[-K:] -= v[-K:].mean()
    product = objective.sampled.hessian(x)(apply(v))
    assert np.linalg.norm(product - v) < 0.1 * np.linalg.norm(v)
    assert rows.n_readings == before


def test_a_small_hessian_rides_on_the_gradients_reading():
    X, y, w = problem()
    objective, rows = few_readings(X, y, w)
    assert objective.has_small_hessian
    plain = SoftmaxObjective(X, y, sample_weight=w, l2=0.01)
    x, v = np.random.default_rng(0).normal(size=(2, objective.n_params))
    objective.value_and_grad(x)
    before = rows.n_readings
    found = objective.inverse_hessian(x)(v)
    assert rows.n_readings == before
    np.testing.assert_allclose(found, plain.inverse_hessian(x)(v), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        objective.inverse_hessian(2 * x)(v), plain.inverse_hessian(2 * x)(v), rtol=1e-6, atol=1e-9
    )


def test_a_class_that_the_sample_lacks():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 30))
    y = rng.integers(0, 3, N)
    y[N // 2] = 3
    w = np.ones(N)
    objective, rows = few_readings(X, y, w, memory="150K")
    found = objective.sampled._certificate.mean_target
    assert (found[3] == 0.0) == (N // 2 not in rows.look().sample.position)
    model = SoftmaxRegression(tol=1e-6).fit(rows)
    expected = SoftmaxRegression(tol=1e-6).fit(X, y)
    assert abs(model.objective_ - expected.objective_) <= 2e-6 * expected.objective_


@pytest.mark.parametrize("n_features", [9, 60])
def test_readings_are_few(n_features):
    X, y, w = problem(n_features=n_features)
    _, rows = few_readings(X, y, w, memory="150K" if n_features == 9 else "900K")
    model = SoftmaxRegression(C=1.0, tol=1e-6).fit(rows)
    assert rows.look().kept is None
    assert model.duality_gap_ <= 1e-6 * model.objective_
    assert model.history_[-1].passes <= 12
    assert rows.n_readings == 1 + model.history_[-1].passes
