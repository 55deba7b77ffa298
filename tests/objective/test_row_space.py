"""Law: with fewer rows than features, a fit in the coordinates of the row space finds the same optimum."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.data.validation import design_matrix
from fastsoftmax.estimator import fitting
from fastsoftmax.objective import row_space
from fastsoftmax.objective.gram_basis import GramBasis
from fastsoftmax.objective.row_space import RowSpace, is_worth_it
from fastsoftmax.preconditioners import choice
from tests.tolerance import assert_close, eps_of

N, D, K = 31, 203, 3
EPS = eps_of(np.float64)


def draw(dtype=np.float64, n=N, d=D):
    """Rows of features in very different units, and labels of which many are wrong."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(n, d)) * np.exp(rng.normal(size=d)) + rng.normal(size=d)
    if np.issubdtype(dtype, np.integer):
        X = np.clip(8 * X, 0, 100)
    return X.astype(dtype), rng.integers(0, K, n)


KINDS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "every other": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "backwards": lambda X: X[::-1, ::-1],
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_keep_products_and_lengths(kind, dtype):
    X = KINDS[kind](draw(dtype)[0])
    space = RowSpace(design_matrix(X))
    X = X.astype(np.float64)
    scale = np.linalg.norm(X)
    W = np.random.default_rng(0).normal(size=(K, D))
    inside = space.coordinates(W)
    back = space.coef(inside)
    assert_close(space.rows @ inside.T, X @ W.T, n_terms=D, scale=scale * np.linalg.norm(W))
    assert_close(X @ back.T, X @ W.T, n_terms=D, scale=scale * np.linalg.norm(W))
    assert_close(space.coordinates(back), inside, n_terms=D, scale=np.linalg.norm(W))
    assert np.linalg.norm(back) == pytest.approx(np.linalg.norm(inside))
    assert np.linalg.norm(back) < np.linalg.norm(W)
    gram = space.rows.T @ space.rows
    assert_close(gram, np.diag(np.diag(gram)), n_terms=N, scale=scale**2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_sparse_rows_have_the_space_of_dense_ones(dtype):
    rng = np.random.default_rng(2)
    X = np.where(rng.random((40, 2000)) < 0.3, rng.normal(size=(40, 2000)), 0.0).astype(dtype)
    sparse = design_matrix(sp.csr_array(X))
    np.testing.assert_array_equal(RowSpace(sparse).rows, RowSpace(design_matrix(X)).rows)
    assert is_worth_it(sparse, 5)
    y = np.arange(40) % 5
    model, dense = (SoftmaxRegression().fit(rows, y) for rows in (sp.csr_array(X), X))
    assert model.duality_gap_ <= 1e-6 * model.objective_
    np.testing.assert_allclose(model.coef_, dense.coef_, rtol=1e-5, atol=1e-6)
    assert model.coef_.dtype == dtype
    np.testing.assert_array_equal(model.predict(sp.csr_array(X)), dense.predict(X))


def test_rows_that_depend_on_one_another():
    X, _ = draw()
    X[7], X[9] = X[3], X[2] - X[4] + X[5]
    X -= X.mean(axis=0)
    space = RowSpace(X)
    A = np.random.default_rng(0).normal(size=(K, N))
    scale = np.linalg.norm(X) * np.linalg.norm(A)
    assert_close(X @ space.coef(A).T, space.rows @ A.T, n_terms=D, scale=scale)
    assert np.linalg.norm(space.rows[:, -3:]) < N * EPS * np.linalg.norm(X)


def conditioned(least: float, n_null: int = 0):
    """Rows whose lengths along principal axes fall from 1 to `least`, some of which depend on others."""
    rng = np.random.default_rng(5)
    left, right = (np.linalg.qr(rng.normal(size=(size, N)))[0] for size in (N, D))
    lengths = np.geomspace(1.0, least, N)
    lengths[N - n_null :] = 0.0
    return (left * lengths) @ right.T


@pytest.mark.parametrize(
    ("least", "n_null", "precision", "by_gram"),
    [
        (0.1, 0, 1e-6, True),
        (0.1, 2, 1e-6, True),
        (1e-5, 0, 1e-6, False),  # the squares of lengths are no longer told from rounding
        (0.1, 0, 0.0, False),
        (0.1, 28, 1e-6, False),  # that many are not looked at
    ],
)
def test_the_gram_matrix_serves_where_it_is_precise_enough(least, n_null, precision, by_gram):
    X = conditioned(least, n_null)
    space = RowSpace(X, precision=precision)
    assert isinstance(space._basis, GramBasis) is by_gram
    A = np.random.default_rng(0).normal(size=(K, N))
    A[:, N - n_null :] = 0.0
    back = space.coef(A)
    np.testing.assert_allclose(X @ back.T, space.rows @ A.T, atol=1e-11)
    np.testing.assert_allclose(space.coordinates(back), A, atol=1e-11)
    np.testing.assert_allclose(np.linalg.norm(space.rows, axis=0), np.linalg.svd(X)[1], atol=1e-9)


@pytest.mark.parametrize("factor", [1e-170, 1e170])
def test_squares_that_underflow_or_overflow_are_left_to_reflections(factor):
    assert GramBasis.of(factor * conditioned(0.1), 1e-6) is None


@pytest.mark.filterwarnings("ignore")  # both stop where float64 resolves no more, and say so
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_the_optimum_is_scikit_learns(solver, C, fit_intercept):
    X, y = draw()
    weight = np.random.default_rng(2).uniform(0.2, 2, N)
    options = {"C": C, "fit_intercept": fit_intercept}
    ours = SoftmaxRegression(**options, solver=solver, tol=1e-15).fit(X, y, weight)
    theirs = LogisticRegression(**options, solver="newton-cg", tol=1e-13, max_iter=10_000)
    theirs.fit(X, y, weight)
    objective = SoftmaxObjective(
        X, y, l2=1 / (C * weight.sum()), sample_weight=weight, fit_intercept=fit_intercept
    )
    x, best = (objective.pack(m.coef_, m.intercept_ if fit_intercept else None) for m in (ours, theirs))
    assert ours.objective_ == pytest.approx(objective.value(x), rel=1e-12)
    assert objective.value(x) <= objective.value(best) * (1 + 1e-12)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-8)
    shift = theirs.intercept_.mean()  # one number added to all intercepts changes nothing
    np.testing.assert_allclose(ours.intercept_ - ours.intercept_.mean(), theirs.intercept_ - shift, atol=1e-8)


TARGETS = {
    "labels": lambda y: y,
    "probabilities": lambda y: (0.8 * np.eye(K)[y] + 0.2 / K).astype(np.float32),
    "two classes": lambda y: y > 0,
    "multi-label": lambda y: (np.eye(K)[y] + np.eye(K)[y[::-1]] > 0).astype(int),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # of what is compared with
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_every_target_and_dtype_reaches_the_optimum_of_the_features(dtype, targets, monkeypatch):
    X, y = draw(dtype)
    target = TARGETS[targets](y)
    loss = "sigmoid" if targets == "multi-label" else "softmax"
    found = []
    for worth in (True, False):
        monkeypatch.setattr(fitting, "is_worth_it", lambda *_, worth=worth: worth)
        found.append(SoftmaxRegression(C=0.1, loss=loss, tol=1e-9).fit(X, target))
    inside, outside = found
    # Both are certified to 1e-9 of the optimum; of the second, seven digits hold where products are float32.
    # Rows of float32 probabilities sum to one but for a rounding, and no bound is tighter than that.
    bound = np.finfo(np.float32).eps if targets == "probabilities" else 1e-9
    assert inside.duality_gap_ <= bound * inside.objective_
    assert inside.objective_ == pytest.approx(outside.objective_, rel=1e-6)
    assert inside.coef_.dtype == outside.coef_.dtype
    assert inside.coef_.shape == outside.coef_.shape
    np.testing.assert_array_equal(inside.predict(X), outside.predict(X))


def test_liblinears_penalised_intercept():
    X, y = draw(d=301)  # with fewer features, two classes' Hessian is small as a whole
    assert is_worth_it(X, 1)
    found = []
    for solver in (SoftmaxRegression, LogisticRegression):
        model = solver(C=0.1, solver="liblinear", intercept_scaling=2.0, tol=1e-12, max_iter=100_000)
        found.append(model.fit(X, y > 0))
    np.testing.assert_allclose(found[0].coef_, found[1].coef_, atol=1e-6)
    np.testing.assert_allclose(found[0].intercept_, found[1].intercept_, atol=1e-6)


def test_a_warm_start_is_where_the_last_fit_ended():
    X, y = draw()
    model = SoftmaxRegression(warm_start=True).fit(X, y)
    before = model.coef_
    model.fit(X, y)
    assert model.n_iter_[0] == 0
    np.testing.assert_allclose(model.coef_, before, rtol=0, atol=1e-12 * np.abs(before).max())


def test_partial_fit_goes_on_from_a_fit_in_the_row_space():
    X, y = draw()
    model = SoftmaxRegression(C=0.1).fit(X, y)
    expected = SoftmaxObjective(X, y).diagonal(np.concatenate((model.coef_.ravel(), model.intercept_))) * N
    expected[: K * D] += 1 / 0.1
    np.testing.assert_allclose(model._precision, expected, rtol=1e-9)
    model.partial_fit(X[:5], y[:5])
    assert model.coef_.shape == (K, D)


def test_without_a_penalty_separable_classes_are_said_to_be():
    X, y = draw()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SoftmaxRegression(C=np.inf).fit(X, y)
    assert any("separable" in str(warning.message) for warning in caught)
    np.testing.assert_array_equal(model.predict(X), y)
    inside = RowSpace(X)
    across = model.coef_ - inside.coef(inside.coordinates(model.coef_))
    assert_close(across, np.zeros_like(across), n_terms=D, scale=np.linalg.norm(model.coef_))


def test_the_choice_goes_by_shape_storage_and_memory(monkeypatch):
    def wide(n, d):
        return np.broadcast_to(np.float32(0), (n, d))

    assert is_worth_it(wide(137, 5748), 4)
    assert not is_worth_it(wide(60, 5748 // 48), 50)  # fewer than two features a row
    assert not is_worth_it(wide(3000, 9000), 4)  # the factor would take 216 MB
    assert not is_worth_it(wide(10, choice.FULL_ORDER // 2 - 1), 2)
    assert not is_worth_it(design_matrix(sp.csr_array(np.eye(300, 999))), 4)  # next to nothing to read
    monkeypatch.setattr(row_space, "FACTOR_BYTES", 0)
    assert not is_worth_it(wide(137, 5748), 4)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_the_bits_do_not_depend_on_the_threads(n_threads):
    X, y = draw(n=90, d=1100)
    one, other = (SoftmaxRegression(n_threads=n).fit(X, y) for n in (1, n_threads))
    assert one.coef_.tobytes() == other.coef_.tobytes()
