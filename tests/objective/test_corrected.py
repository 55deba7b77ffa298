"""Law: a corrected bound is never above the least objective, and its gap is a Newton step's, for any l2."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.contracts import Centre, Params, RowBlock
from fastsoftmax.contracts.queries import CorrectedDual, LeastGram
from fastsoftmax.data import validation
from fastsoftmax.kernels import cpu
from fastsoftmax.kernels.cpu import corrections
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.objective import corrected, source_objective
from fastsoftmax.preconditioners import choice
from fastsoftmax.runtime import executor
from fastsoftmax.solvers import newton_cg

N, D, K = 157, 5, 4
STORAGES = {"dense": np.asarray, "csr": sp.csr_array}
KINDS = ("labels", "smoothed", "probabilities", "rare", "separable", "sigmoid", "binary")
# Of an exact sum: what float64 leaves of the gap of an optimum found to tol=1e-14.
ROUNDING = 1e-12
WHOLE, SHARED = 10**9, 0  # passes so far, beside which the whole Hessian costs nothing, or too much


@pytest.fixture(autouse=True)
def dear(monkeypatch):
    """The Gram matrix is tried, however few passes there were."""
    monkeypatch.setattr(corrected, "GRAM_SHARE", 1e9)


def drawn(kind, dtype=np.float64):
    """Rows with collinear columns, targets, weights, some of them zero, and an objective's options."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(N, D))
    X[:, 3] = X[:, 0] - 2.0 * X[:, 1]
    X = X.astype(dtype)
    weight = np.where(np.arange(N) % 7 == 3, 0.0, rng.uniform(0.2, 3.0, N))
    if kind == "probabilities":
        return X, rng.dirichlet(np.ones(K), N).astype(dtype), weight, {}
    if kind == "sigmoid":
        return X, (rng.random((N, K)) < 0.3).astype(dtype), weight, {"loss": "sigmoid"}
    if kind == "binary":
        y = (X[:, :1] + rng.normal(size=(N, 1)) > 0).astype(dtype)
        return X, y, weight, {"loss": "sigmoid", "label_smoothing": 0.05}
    y = rng.integers(0, K, N)
    if kind == "rare":
        y = np.where(y == K - 1, 0, y)
        y[5] = K - 1
        X[5] = 8.0
    if kind == "separable":
        y = np.argmax(X @ rng.normal(size=(D, K)), axis=1)
        y[::40] = 0
    return X, y, weight, {"n_classes": K, "label_smoothing": 0.1 if kind == "smoothed" else 0.0}


def problem(kind, l2, *, storage="dense", dtype=np.float64, fit_intercept=True):
    """An objective, and its optimum as near as float64 has it."""
    X, y, weight, numbers = drawn(kind, dtype)
    options = {"l2": l2, "sample_weight": weight, "fit_intercept": fit_intercept, **numbers}
    exact = SoftmaxObjective(X.astype(np.float64), y, **options)
    best = newton_cg.minimize(exact, np.zeros(exact.n_params), tol=1e-14, max_iter=300)
    return SoftmaxObjective(STORAGES[storage](X), y, **options), exact, best


def bound_at(objective, x, n_passes, goal=np.inf):
    value, grad = objective.value_and_grad(x)
    return value, *objective.corrected_bound(x, grad, goal, n_passes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_below_the_least_objective(kind, fit_intercept, storage, dtype):
    """Far from the optimum and near it, for strong penalties and next to none."""
    found = 0
    for l2 in (1.0, 1e-3, 1e-6, 1e-9, 1e-12):
        objective, _, best = problem(kind, l2, storage=storage, dtype=dtype, fit_intercept=fit_intercept)
        # What is attained bounds F* from above, wherever newton_cg ended.
        least = best.value
        rng = np.random.default_rng(3)
        for distance in (3.0, 0.3, 1e-2, 1e-4, 0.0):
            x = best.x + distance * rng.normal(size=best.x.size)
            for n_passes in (WHOLE, SHARED):
                _, bound, _ = bound_at(objective, x, n_passes)
                if bound is not None:
                    found += 1
                    assert 0.0 <= bound <= least * (1.0 + ROUNDING)
    assert found >= 12


@pytest.mark.parametrize("n_passes", [WHOLE, SHARED])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["labels", "smoothed", "probabilities", "sigmoid", "binary"])
def test_the_gap_does_not_grow_as_the_penalty_falls(kind, dtype, n_passes):
    """At a given distance from the optimum; ‖∇F‖² / (2 l2) grows a million times."""
    gaps = []
    for l2 in (1e-4, 1e-10):
        objective, _, best = problem(kind, l2, dtype=dtype)
        x = best.x + 1e-3 * np.cos(np.arange(best.x.size))
        value, bound, predicted = bound_at(objective, x, n_passes)
        gaps.append(best.value - bound)
        assert value - bound <= 1.1 * predicted + 3e-7
    assert gaps[1] <= 2.0 * gaps[0] + 1e-8


@pytest.mark.parametrize("n_passes", [WHOLE, SHARED])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gap_is_of_the_second_order(kind, n_passes):
    """Ten times nearer makes it a hundred times smaller."""
    objective, _, best = problem(kind, 1e-3)
    step = np.random.default_rng(4).normal(size=best.x.size)
    gaps = []
    for distance in (1e-4, 1e-5):
        value, bound, _ = bound_at(objective, best.x + distance * step, n_passes)
        gaps.append(value - bound)
    assert gaps[1] <= 1.2e-2 * gaps[0] + ROUNDING


@pytest.mark.parametrize("kind", ["labels", "sigmoid", "binary"])
def test_with_the_whole_hessian_the_gap_is_the_suboptimality(kind):
    objective, _, best = problem(kind, 1e-8)
    x = best.x + 1e-4 * np.random.default_rng(6).normal(size=best.x.size)
    value, bound, predicted = bound_at(objective, x, WHOLE)
    assert value - bound == pytest.approx(value - best.value, rel=1e-2)
    assert predicted == pytest.approx(value - best.value, rel=1e-2)


def test_a_gap_above_the_goal_is_not_computed():
    objective, _, best = problem("labels", 1e-6)
    _, bound, predicted = bound_at(
        objective, best.x + 0.1 * np.cos(np.arange(best.x.size)), SHARED, goal=1e-9
    )
    assert bound is None
    assert predicted > 1e-9
    passes = objective.passes
    bound_at(objective, best.x + 0.1 * np.cos(np.arange(best.x.size)), SHARED, goal=1e-9)
    assert objective.passes == passes + 2  # the gradient and the Gram matrix


def test_there_is_none_without_a_penalty_or_with_too_many_features(monkeypatch):
    objective, _, best = problem("labels", 1e-6)
    x = best.x + 1e-3
    assert bound_at(objective.with_l2(0.0), x, WHOLE)[1:] == (None, np.inf)
    monkeypatch.setattr(choice, "BLOCKS_BYTES", 0)
    assert bound_at(objective, x, SHARED)[1:] == (None, np.inf)
    monkeypatch.setattr(objective, "device", "cuda")
    assert bound_at(objective, x, WHOLE)[1:] == (None, np.inf)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("n_passes", [WHOLE, SHARED])
def test_the_bound_does_not_depend_on_what_is_kept_nor_on_centring(storage, n_passes, monkeypatch):
    objective, _, best = problem("labels", 1e-8, storage=storage)
    x = best.x + 1e-4 * np.cos(np.arange(best.x.size))
    bound = bound_at(objective, x, n_passes)[1]
    monkeypatch.setattr(corrections, "TILE_BYTES", 8 * 10 * D)
    monkeypatch.setattr(source_objective, "LOGITS_BYTES", 0)
    monkeypatch.setattr(source_objective, "LOGITS_VECTORS", 0)
    assert bound_at(objective, x, n_passes)[1] == pytest.approx(bound, rel=1e-12)
    mean = np.linspace(-2.0, 1.0, D)
    centred = objective.centred(Centre(mean, np.ones(D), np.flatnonzero(mean)))
    at = centred.pack(*objective.unpack(x))
    assert bound_at(centred, at, n_passes)[1] == pytest.approx(bound, rel=1e-11)


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("size", [1e-3, 30.0])
@pytest.mark.parametrize("kind", ["labels", "probabilities", "sigmoid"])
def test_the_sums_are_those_of_the_formula(kind, size, shared, shifted):
    """Within the distributions and, where the step leaves them, bent; and after a shift of the intercepts."""
    X, y, weight, _ = drawn(kind)
    rng = np.random.default_rng(1)
    here, step = (Params(s * rng.normal(size=(K, D)), s * rng.normal(size=K)) for s in (1.0, size))
    family = sigmoid if kind == "sigmoid" else softmax
    block = RowBlock(X, y, weight)
    loss = family.for_targets(y, K)
    shift = rng.uniform(-0.2, 0.2, K) if shifted else None
    query = CorrectedDual(here, step, shared, intercept_shift=shift)
    sums = pickle.loads(pickle.dumps(query)).on(cpu, loss, block, None)
    gram = LeastGram(here).on(cpu, loss, block, None)
    value, residuals, least, curvature = 0.0, np.zeros((N, K)), np.zeros(N), np.zeros((K, K))
    for i in range(N):
        z, a = (p.coef @ X[i] + p.intercept for p in (here, step))
        target = np.eye(K)[y[i]] if y.ndim == 1 else y[i]
        if kind == "sigmoid":
            p = 1.0 / (1.0 + np.exp(-z))
            least[i] = np.min(p * (1.0 - p))
            d = (np.full(K, least[i]) if shared else p * (1.0 - p)) * a
            d = np.clip(d, -0.5 * np.minimum(p, 1.0 - p), 0.5 * np.minimum(p, 1.0 - p))
            p = p - d
            p = p - p * (1.0 - p) * shift if shifted else p
            curvature += weight[i] * np.diag(p * (1.0 - p))
            entropy = np.sum(p * np.log(p) + (1.0 - p) * np.log(1.0 - p))
        else:
            p = np.exp(z) / np.exp(z).sum()
            least[i] = p.min()
            d = least[i] * (a - a.mean()) if shared else p * a - p * (p @ a)
            p = np.where(d <= 0.5 * p, p - d, 0.5 * p * np.exp(1.0 - 2.0 * d / p))
            p = p / p.sum()
            p = p * (1.0 - shift + p @ shift) if shifted else p
            curvature += weight[i] * (np.diag(p) - np.outer(p, p))
            entropy = np.sum(p * np.log(np.maximum(p, 1e-300)))
            assert p.min() >= 0.0
        value += weight[i] * entropy
        residuals[i] = weight[i] * (p - target)
    assert sums.value == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(sums.coef, residuals.T @ X, rtol=0, atol=1e-11)
    np.testing.assert_allclose(sums.intercept[:K], residuals.sum(axis=0), rtol=0, atol=1e-11)
    expected = curvature.ravel() if shifted else []
    np.testing.assert_allclose(sums.intercept[K:], expected, rtol=0, atol=1e-11)
    wide = np.column_stack((X, np.ones(N)))
    loose = LeastGram(here).on(cpu, loss, block, None).intercept
    uncorrected = CorrectedDual(here, Params(0.0 * here.coef, 0.0 * here.intercept), shared)
    np.testing.assert_allclose(loose, uncorrected.on(cpu, loss, block, None).joined, rtol=0, atol=1e-12)
    np.testing.assert_allclose(gram.coef, (wide.T * (weight * least)) @ wide, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGES)
def test_one_gram_matrix_and_one_correction_do(storage, dtype):
    """The gradient that is corrected is that of float64 sums, whatever the products of the passes are."""
    objective, _, best = problem("labels", 1e-12, storage=storage, dtype=dtype)
    x = best.x + 1e-5 * np.cos(np.arange(best.x.size))
    passes = objective.passes
    value, bound, _ = bound_at(objective, x, SHARED)
    assert objective.passes == passes + 3
    assert value - bound <= 1e-6 * value


@pytest.mark.parametrize("kind", ["labels", "probabilities", "sigmoid"])
@pytest.mark.parametrize("storage", STORAGES)
def test_the_bits_do_not_depend_on_the_number_of_threads(storage, kind, monkeypatch):
    monkeypatch.setattr(corrections, "TILE_BYTES", 8 * 7 * D)
    monkeypatch.setattr(executor, "SMALL_WORK", 0)
    X, y, weight, _ = drawn(kind)
    rng = np.random.default_rng(1)
    here, step = (Params(rng.normal(size=(K, D)), rng.normal(size=K)) for _ in range(2))
    loss = (sigmoid if kind == "sigmoid" else softmax).for_targets(y, K)
    block = RowBlock(validation.design_matrix(STORAGES[storage](X)), y, weight)
    for query in (CorrectedDual(here, step, True), LeastGram(here)):
        one, *others = (query.on(cpu, loss, block, n_threads) for n_threads in (1, 2, 3, 16))
        for other in others:
            assert one.value == other.value
            np.testing.assert_array_equal(one.joined, other.joined)


@pytest.mark.parametrize("n_passes", [WHOLE, SHARED])
def test_rows_of_weight_zero_are_never_read(n_passes):
    X, y, weight, _ = drawn("labels")
    objective, _, best = problem("labels", 1e-6)
    bound = bound_at(objective, best.x, n_passes)[1]
    kept = weight > 0.0
    fewer = SoftmaxObjective(X[kept], y[kept], l2=1e-6, sample_weight=weight[kept], n_classes=K)
    assert bound_at(fewer, best.x, n_passes)[1] == pytest.approx(bound, rel=1e-12)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky"])
@pytest.mark.parametrize("C", [1e4, 1e6, 1e8])
def test_float32_is_certified_as_soon_as_float64(C, solver):
    """Where the penalty's gradient is below what float32 products resolve: by passes, not by time."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(4000, 12))
    y = np.argmax(X @ rng.normal(size=(12, 5)) + rng.gumbel(size=(4000, 5)), axis=1)
    passes = []
    for dtype in (np.float32, np.float64):
        model = SoftmaxRegression(C=C, tol=1e-6, solver=solver).fit(X.astype(dtype), y)
        last = model.history_[-1]
        assert last.gap is not None
        assert last.gap <= 1e-6 * last.objective
        passes.append(last.passes)
    assert passes[0] <= passes[1] + 12  # a Newton step is several
    assert passes[1] <= 60


@pytest.mark.parametrize("n_passes", [WHOLE, SHARED])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_of_the_intercepts_is_taken_away_by_a_shift(kind, n_passes, monkeypatch):
    """Without it there is no bound, however little is left: here of a gradient that is slightly wrong."""
    monkeypatch.setattr(corrected, "MAX_CORRECTIONS", 1)
    inverse = corrected.Correction._corrected

    def wrong(self, place, params, rest, *others):
        return inverse(self, place, params, rest + 1e-9 * np.cos(np.arange(rest.size)), *others)

    monkeypatch.setattr(corrected.Correction, "_corrected", wrong)
    objective, _, best = problem(kind, 1e-6)
    x = best.x + 1e-5 * np.cos(np.arange(best.x.size))
    bound = bound_at(objective, x, n_passes)[1]
    assert 0.999 * best.value <= bound <= best.value * (1.0 + ROUNDING)
    monkeypatch.setattr(corrected, "MAX_SHIFT", 0.0)
    assert bound_at(objective, x, n_passes)[1] is None


def test_what_is_left_of_a_bound_is_corrected_again(monkeypatch):
    """A rough solution leaves part of the gradient, which 1 / l2 magnifies."""
    monkeypatch.setattr(corrected, "JITTER", 1e-4)
    objective, _, best = problem("labels", 1e-6, dtype=np.float32)
    x = best.x + 1e-5 * np.cos(np.arange(best.x.size))
    again = bound_at(objective, x, SHARED)[1]
    assert best.value - again <= 1e-6 * best.value
    monkeypatch.setattr(corrected, "MAX_CORRECTIONS", 1)
    once = bound_at(objective, x, SHARED)[1]
    assert once is None or once < again


@pytest.mark.parametrize(("n_passes", "tried"), [(0, False), (3, True)])
def test_a_gram_matrix_waits_until_the_passes_cost_a_part_of_it(n_passes, tried, monkeypatch):
    """Of 60 features and 4 classes it costs five passes."""
    monkeypatch.setattr(corrected, "GRAM_SHARE", 2.0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 60)), rng.integers(0, K, 300)
    objective = SoftmaxObjective(X, y, l2=1e-3)
    monkeypatch.setattr(type(objective), "has_explicit_hessian", False)
    monkeypatch.setattr(objective._preconditioning.__class__, "has_explicit_hessian", False)
    x = np.zeros(objective.n_params)
    gram, asked = cpu.least_gram, []
    monkeypatch.setattr(cpu, "least_gram", lambda *args, **options: asked.append(1) or gram(*args, **options))
    bound_at(objective, x, n_passes)
    assert bool(asked) == tried
