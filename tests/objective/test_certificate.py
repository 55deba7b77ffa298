"""Law: the lower bound is never above the least objective, and near the optimum it is just below."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective
from fastsoftmax.contracts import Mixture, Params, RowBlock
from fastsoftmax.kernels import cpu
from fastsoftmax.kernels.cpu import intercept_shifts
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.objective import certificate, source_objective
from fastsoftmax.solvers import newton_cg
from tests.tolerance import eps_of

N, D, K = 211, 5, 4
STORAGES = {"dense": np.asarray, "csr": sp.csr_array}
TARGETS = ("index", "soft", "binary", "sigmoid", "rare")


def draw(kind, dtype=np.float64):
    """Rows, targets, weights, and what tells an objective about them."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(N, D)).astype(dtype)
    weight = np.where(np.arange(N) % 9 == 4, 0.0, rng.uniform(0.2, 3.0, N))
    if kind == "soft":
        return X, rng.dirichlet(np.ones(K), N).astype(dtype), weight, {}
    if kind == "sigmoid":
        return X, (rng.random((N, K)) < 0.3).astype(dtype), weight, {"loss": "sigmoid"}
    if kind == "binary":
        return X, (X[:, :1] + rng.normal(size=(N, 1)) > 0).astype(dtype), weight, {"loss": "sigmoid"}
    y = rng.integers(0, K, N)
    if kind == "rare":
        y = np.where(y == K - 1, 0, y)
        y[5] = K - 1  # one row of its own, far from the others: all others are sure that they are not like it
        X[5] = 8.0
    return X, y, weight, {"n_classes": K}


def optimum(kind, l2, **options):
    """The objective, and its minimum as near as float64 has it."""
    X, y, weight, numbers = draw(kind)
    exact = SoftmaxObjective(X, y, l2=l2, sample_weight=weight, **numbers, **options)
    return exact, newton_cg.minimize(exact, np.zeros(exact.n_params), tol=1e-14, max_iter=200)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", TARGETS)
def test_the_bound_is_below_the_least_objective(kind, fit_intercept):
    exact, best = optimum(kind, 1e-3, fit_intercept=fit_intercept)
    rng = np.random.default_rng(3)
    gaps = []
    for distance in (3.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4):
        x = best.x + distance * rng.normal(size=best.x.size)
        value, grad = exact.value_and_grad(x)
        bound = exact.lower_bound(x, value, grad)
        assert bound <= best.value * (1.0 + 1e-13)
        gaps.append(value - bound)
    assert gaps[-1] <= 1e-4 * best.value


@pytest.mark.parametrize("kind", TARGETS)
def test_the_gap_is_of_the_second_order(kind):
    """Ten times nearer makes it a hundred times smaller: also where a probability is next to nothing."""
    exact, best = optimum(kind, 1e-3)
    step = np.random.default_rng(4).normal(size=best.x.size)

    def gap(distance):
        value, grad = exact.value_and_grad(best.x + distance * step)
        return value - exact.lower_bound(best.x + distance * step, value, grad)

    assert gap(1e-4) <= 1.1e-2 * gap(1e-3)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kind", TARGETS)
def test_near_the_optimum_the_gap_is_that_of_the_coefficients(kind, storage):
    """‖∇_W F‖² / (2 l2) is what no choice of intercepts takes away; there is next to nothing besides."""
    l2 = 1e-2
    best = optimum(kind, l2)[1]
    X, y, weight, numbers = draw(kind)
    other = SoftmaxObjective(STORAGES[storage](X), y, l2=l2, sample_weight=weight, **numbers)
    x = best.x.copy()
    x[-other.n_classes :] += 1e-3 * np.cos(np.arange(other.n_classes))  # wrong intercepts only
    value, grad = other.value_and_grad(x)
    rest = other.unpack(grad).coef
    assert value - other.lower_bound(x, value, grad) <= 2.0 * (value - best.value) + np.sum(rest**2) / l2


def test_the_gap_is_at_most_twice_the_suboptimality_where_columns_are_orthonormal():
    """H is then between l2 and l2 + 1/4 along every coefficient, and with a large penalty nearly l2."""
    rng = np.random.default_rng(5)
    X = np.linalg.qr(rng.normal(size=(N, D)))[0]
    y = rng.integers(0, K, N)
    exact = SoftmaxObjective(X, y, l2=1.0)
    best = newton_cg.minimize(exact, np.zeros(exact.n_params), tol=1e-15)
    for seed in range(5):
        x = best.x + 1e-3 * np.random.default_rng(seed).normal(size=best.x.size)
        value, grad = exact.value_and_grad(x)
        above = value - best.value
        assert above * (1.0 - 1e-9) <= value - exact.lower_bound(x, value, grad) <= 2.0 * above


@pytest.mark.parametrize("kind", TARGETS)
def test_the_bound_does_not_depend_on_what_is_kept(kind, monkeypatch):
    exact, best = optimum(kind, 1e-2)
    x = best.x + 1e-3
    value, grad = exact.value_and_grad(x)
    kept = exact.lower_bound(x, value, grad)
    monkeypatch.setattr(source_objective, "LOGITS_BYTES", 0)
    monkeypatch.setattr(source_objective, "LOGITS_VECTORS", 0)
    monkeypatch.setattr(intercept_shifts, "CHUNK_BYTES", 64 * K)
    monkeypatch.setattr(intercept_shifts, "COMPUTED_CHUNKS", 3)
    assert exact.lower_bound(x, value, grad) == pytest.approx(kept, rel=1e-12)


@pytest.mark.parametrize("kind", ["index", "sigmoid"])
def test_the_likely_gap_is_the_gap_where_nothing_is_done_about_intercepts(kind):
    for fit_intercept in (False, True):
        exact, best = optimum(kind, 1e-2, fit_intercept=fit_intercept)
        step = np.random.default_rng(2).normal(size=best.x.size)
        if fit_intercept:
            step[-exact.n_classes :] = 0.0
        x = best.x + 1e-3 * step
        value, grad = exact.value_and_grad(x)
        gap = value - exact.lower_bound(x, value, grad)
        assert exact.likely_gap(grad) == pytest.approx(gap, rel=0.2 if fit_intercept else 1e-9)
    unpenalised = optimum(kind, 1e-2)[0].with_l2(0.0)
    assert unpenalised.likely_gap(grad) == 0.0


def test_without_a_shift_there_is_still_a_bound(monkeypatch):
    monkeypatch.setattr(certificate, "MAX_SHIFTED_CLASSES", 0)
    exact, best = optimum("index", 1e-2)
    x = best.x + 1e-2 * np.random.default_rng(0).normal(size=best.x.size)
    value, grad = exact.value_and_grad(x)
    bound = exact.lower_bound(x, value, grad)
    assert 0.0 < bound <= best.value


def test_single_precision_certifies_a_rare_class():
    """Where one row in 200 makes a class, float32 probabilities miss its share by more than 1e-6 of F."""
    X, y, weight, numbers = draw("rare", np.float32)
    best = optimum("rare", 1e-4)[1]
    narrow = SoftmaxObjective(X, y, l2=1e-4, sample_weight=weight, **numbers)
    value, grad = narrow.value_and_grad(best.x)
    bound = narrow.lower_bound(best.x, value, grad)
    assert abs(best.value - bound) <= 1e-6 * best.value


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("theta", [0.0, 0.25])
@pytest.mark.parametrize("kind", ["index", "soft", "sigmoid"])
def test_the_dual_sums_are_those_of_the_formula(kind, theta, dtype):
    X, y, weight, _ = draw(kind, dtype)
    rng = np.random.default_rng(1)
    here = Params(rng.normal(size=(K, D)), rng.normal(size=K))
    mixture = Mixture(rng.normal(size=K), theta, rng.dirichlet(np.ones(K)))
    family = sigmoid if kind == "sigmoid" else softmax
    sums = cpu.dual(family.for_targets(y, K), here, mixture, RowBlock(X, y, weight))
    z = X.astype(np.float64) @ here.coef.T + here.intercept + mixture.intercept_shift
    if kind == "sigmoid":
        p = (1 - theta) / (1 + np.exp(-z)) + theta * mixture.q
        entropy = p * np.log(p) + (1 - p) * np.log1p(-p)
    else:
        p = (1 - theta) * np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) + theta * mixture.q
        entropy = p * np.log(p)
    residual = weight[:, np.newaxis] * (p - (np.eye(K)[y] if y.ndim == 1 else y))
    tolerance = 50 * eps_of(dtype)
    assert sums.value == pytest.approx(np.sum(weight * entropy.sum(axis=1)), rel=tolerance)
    scale = weight.sum()
    np.testing.assert_allclose(sums.coef, residual.T @ X, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(sums.intercept, residual.sum(axis=0), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("n_classes", [3, 200])  # as one of a tile, and alone
def test_a_confident_row_keeps_its_digits(n_classes):
    """Its entropy is that of what is left to the other classes, far below the rounding of one."""
    coef = np.full((n_classes, 1), -40.0)
    coef[1] = 0.0
    here, mixture = Params(coef, np.zeros(n_classes)), Mixture(np.zeros(n_classes), 0.0, np.ones(n_classes))
    y = np.array([1])
    rows = RowBlock(np.ones((1, 1)), y, np.ones(1))
    sums = cpu.dual(softmax.for_targets(y, n_classes), here, mixture, rows)
    others = (n_classes - 1) * np.exp(-40.0)
    assert sums.value == pytest.approx(-40.0 * others / (1.0 + others) - np.log1p(others), rel=1e-13)
