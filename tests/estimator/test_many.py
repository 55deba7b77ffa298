"""Law: each of many fits is the fit by its own weights and penalty."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax import SoftmaxRegression
from fastsoftmax.objective import direct

N, D, K, M = 83, 6, 3, 7


def draw(kind="labels", storage="dense"):
    rng = np.random.default_rng(11)
    X = rng.normal(size=(N, D))
    logits = 2.0 * X[:, :K] + rng.gumbel(size=(N, K))
    weights = rng.multinomial(N, np.full(N, 1 / N), size=M).astype(np.float64)
    y = {
        "labels": np.array(["a", "b", "c"])[logits.argmax(axis=1)],
        "two": (logits[:, 0] > 0).astype(np.int64),
        "soft": rng.dirichlet(np.ones(K), N),
        "multilabel": (logits > 1).astype(np.float64),
    }[kind]
    sparse = sp.csr_array(np.where(X > 0, X, 0.0))
    rows = {"dense": X, "float32": X.astype(np.float32), "csr": sparse}[storage]
    return rows, y, weights, {"loss": "sigmoid"} if kind == "multilabel" else {}


def assert_same_fit(one, fitted, tol=1e-6):
    """Two points within their tolerances of one optimum."""
    assert one.objective_ == pytest.approx(fitted.objective_, rel=2.5 * tol)
    np.testing.assert_allclose(one.coef_, fitted.coef_, atol=2e-2)
    np.testing.assert_array_equal(one.classes_, fitted.classes_)


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("storage", ["dense", "float32", "csr"])
@pytest.mark.parametrize("kind", ["labels", "two", "soft", "multilabel"])
def test_each_is_a_fit_of_its_own(kind, storage, small, monkeypatch):
    if not small:
        monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)
    X, y, weights, options = draw(kind, storage)
    Cs = np.geomspace(0.1, 10.0, M)
    fits = SoftmaxRegression(**options).fit_many(X, y, weights, Cs=Cs)
    assert len(fits) == M
    assert fits.converged_.all()
    assert (fits.duality_gap_ <= 1e-6 * fits.objective_).all()
    for one, weight, C in zip(fits, weights, Cs, strict=True):
        fitted = SoftmaxRegression(C=C, **options).fit(X, y, weight)
        assert_same_fit(one, fitted)
        assert one.C == C
        np.testing.assert_allclose(one.predict_proba(X), fitted.predict_proba(X), atol=1e-2)
    assert fits.coef_.shape == (M, *fitted.coef_.shape)
    assert fits.intercept_.shape == (M, *fitted.intercept_.shape)


def test_a_row_of_weight_zero_has_no_effect():
    """The training sets of five folds, by weights and by rows."""
    X, y = load_iris(return_X_y=True)
    fold = np.arange(len(X)) % 5
    fits = SoftmaxRegression().fit_many(X, y, (fold != np.arange(5)[:, np.newaxis]).astype(np.float64))
    for i in range(5):
        inside = fold != i
        assert_same_fit(fits[i], SoftmaxRegression().fit(X[inside], y[inside]))


def test_a_class_without_rows_is_not_predicted():
    X, y, weights, _ = draw()
    weights[2, y == "b"] = 0.0
    fits = SoftmaxRegression().fit_many(X, y, weights)
    assert fits.converged_[2]
    assert (fits[2].predict_proba(X)[:, 1] == 0.0).all()
    assert_same_fit(fits[1], SoftmaxRegression().fit(X, y, weights[1]))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("class_weight", [None, "balanced", {"a": 3.0}])
def test_options_of_the_estimator(fit_intercept, class_weight):
    X, y, weights, _ = draw()
    options = {"fit_intercept": fit_intercept, "class_weight": class_weight, "tol": 1e-9}
    fits = SoftmaxRegression(**options).fit_many(X, y, weights)
    for one, weight in zip(fits, weights, strict=True):
        assert one.objective_ == pytest.approx(
            SoftmaxRegression(**options).fit(X, y, weight).objective_, rel=2e-9
        )


@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_the_bits_do_not_depend_on_threads(storage):
    X, y, weights, _ = draw("labels", storage)
    found = [SoftmaxRegression(n_threads=n).fit_many(X, y, weights).coef_ for n in (1, 2, 5)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_hard_fits_among_easy_ones_are_certified_too():
    """Nearly equal columns and no penalty to speak of: hundreds of steps by the solver of small problems."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 1)) + 1e-3 * rng.normal(size=(N, 20))
    y = (X[:, 0] > X[:, 1]).astype(np.int64)
    fits = SoftmaxRegression().fit_many(X, y, np.ones((3, N)), Cs=[1.0, 1e7, 0.1])
    assert fits.converged_.all()
    assert fits[1].objective_ == pytest.approx(SoftmaxRegression(C=1e7).fit(X, y).objective_, rel=3e-6)


def test_what_was_not_reached_is_said_once():
    X, y, weights, _ = draw()
    with pytest.warns(ConvergenceWarning, match=f"{M} of {M} fits failed to converge") as caught:
        fits = SoftmaxRegression(max_iter=2).fit_many(X, y, weights)
    assert len(caught) == 1
    assert not fits.converged_.any()
    assert np.isfinite(fits.objective_).all()


def test_without_a_penalty():
    X, y, weights, _ = draw("soft")
    fits = SoftmaxRegression(C=np.inf).fit_many(X, y, weights[:2])
    assert (fits.duality_gap_ <= 1e-6 * fits.objective_).all()  # of overlapping classes
    rng = np.random.default_rng(0)
    dependent = np.column_stack((X, X[:, 0]))  # columns for which there is no bound
    fits = SoftmaxRegression(C=np.inf).fit_many(dependent, rng.permutation(len(X)) % 2, weights[:2])
    assert np.isnan(fits.duality_gap_).all()
    assert fits[0].duality_gap_ is None


def test_the_estimator_stays_as_it_was():
    X, y, weights, _ = draw()
    model = SoftmaxRegression().fit(X, y)
    before = dict(model.__dict__)
    model.fit_many(X, y, weights)
    assert model.__dict__ == before
    fresh = SoftmaxRegression()
    fresh.fit_many(X, y, weights)
    assert not hasattr(fresh, "coef_")


@pytest.mark.parametrize(
    ("weights", "Cs", "text"),
    [
        (np.ones(N), None, r"must be a matrix \(m, n\)"),
        (np.ones((2, N + 1)), None, f"must have {N} columns"),
        (-np.ones((2, N)), None, "not negative"),
        (np.zeros((2, N)), None, "at least one must be positive"),
        (np.ones((0, N)), None, r"must be a matrix \(m, n\)"),
        (np.ones((2, N)), [1.0], "2 positive numbers"),
        (np.ones((2, N)), [1.0, 0.0], "2 positive numbers"),
    ],
)
def test_wrong_arguments(weights, Cs, text):
    X, y, _, _ = draw()
    with pytest.raises(ValueError, match=text):
        SoftmaxRegression().fit_many(X, y, weights, Cs=Cs)
