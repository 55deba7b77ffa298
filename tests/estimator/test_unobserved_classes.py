"""Law: a class that no weighted row has stays among the classes, and is left no probability at all."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset, multilabel, reference

TIGHT = 1e-12
SOLVERS = ["lbfgs", "newton-cg"]


def without(y, k):
    """Weights that are zero for the rows of class k, and one otherwise."""
    return (y != k).astype(float)


def assert_without(model, others, X, k):
    """The model is that of the other classes, and gives class k nothing, near or far."""
    rest = np.flatnonzero(np.arange(3) != k)
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    for rows in (X, 1e3 * X, -1e6 * X[:9]):
        proba = model.predict_proba(rows)
        np.testing.assert_array_equal(proba[:, k], 0)
        np.testing.assert_allclose(proba[:, rest].sum(axis=1), 1, rtol=1e-14)
        assert not (model.predict(rows) == k).any()
        assert np.all(np.isfinite(model.predict_log_proba(rows)))
        assert np.all(np.isfinite(model.decision_function(rows)))
    assert model.objective_ == pytest.approx(others.objective_, rel=2 * TIGHT)
    np.testing.assert_allclose(model.predict_proba(X)[:, rest], others.predict_proba(X), atol=1e-5)
    assert model.duality_gap_ is None or 0 <= model.duality_gap_ <= TIGHT * model.objective_


@pytest.mark.parametrize("k", [0, 1, 2])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_class_without_weight(solver, k):
    X, y = dataset("wine")
    model = SoftmaxRegression(tol=TIGHT, solver=solver).fit(X, y, sample_weight=without(y, k))
    rest = y != k
    # of two logits with a penalty on both
    others = SoftmaxRegression(tol=TIGHT, C=2.0).fit(X[rest], y[rest])
    w = model.coef_[np.arange(3) != k]
    np.testing.assert_allclose(w[1], -w[0], atol=1e-5)
    np.testing.assert_allclose(w[1] - w[0], others.coef_[0], atol=1e-4)
    np.testing.assert_allclose(model.coef_[k], 0, atol=1e-5)
    assert_without(model, others, X, k)


def test_of_four_classes():
    X, y = dataset("iris")
    X, y = np.vstack((X, X[:9])), np.concatenate((y, np.full(9, 3)))
    model = SoftmaxRegression(tol=TIGHT).fit(X, y, sample_weight=without(y, 3))
    others = SoftmaxRegression(tol=TIGHT).fit(X[:150], y[:150])
    np.testing.assert_allclose(model.coef_[:3], others.coef_, atol=1e-5)
    np.testing.assert_array_equal(model.predict(X), others.predict(X))
    assert model.objective_ == pytest.approx(others.objective_, rel=2 * TIGHT)
    np.testing.assert_array_equal(model.predict_proba(X)[:, 3], 0)


def test_as_logistic_regression_has_it():
    X, y = dataset("wine")
    model, theirs = (
        kind(tol=1e-6).fit(X, y, without(y, 1)) for kind in (SoftmaxRegression, LogisticRegression)
    )
    np.testing.assert_array_equal(model.classes_, theirs.classes_)
    assert model.coef_.shape == theirs.coef_.shape
    np.testing.assert_array_equal(model.predict(X), theirs.predict(X))
    # theirs stops on the way of the intercept to −∞, where the probability is of the order of its tol
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=0.01)


@pytest.mark.parametrize("weight", [{0: 0.0}, {1: 0.0, 2: 2.0}, "balanced"])
def test_by_class_weight(weight):
    X, y = dataset("wine")
    k = 1 if weight == "balanced" else min(weight)
    model = SoftmaxRegression(class_weight=weight)
    model.fit(X, y, without(y, k) if weight == "balanced" else None)
    np.testing.assert_array_equal(model.predict_proba(X)[:, k], 0)
    assert model.score(X[y != k], y[y != k]) == 1


@pytest.mark.parametrize("how", ["csr", "float32", "soft", "unpenalised"])
def test_of_other_kinds(how):
    X, y = dataset("iris")
    X, y = X[:, :2] if how == "unpenalised" else X, np.where(y == 2, 1, 2 * y)  # 0, 2, 1
    weight, rows, options = without(y, 0), X, {}
    target = y
    if how == "csr":
        rows = sp.csr_array(X)
    elif how == "float32":
        rows = X.astype(np.float32)
    elif how == "soft":
        target, weight = np.eye(3)[y], None
        target[y == 0] = [0.0, 0.5, 0.5]
    else:
        options = {"C": np.inf}
    model = SoftmaxRegression(**options).fit(rows, target, sample_weight=weight)
    np.testing.assert_array_equal(model.predict_proba(rows)[:, 0], 0)
    assert np.all(np.isfinite(model.coef_))
    if how == "unpenalised":
        kept = y != 0
        best = SoftmaxRegression(C=np.inf).fit(X[kept], y[kept])
        assert model.objective_ == pytest.approx(best.objective_, rel=2e-6)


def test_of_two_classes_and_of_one_that_is_left():
    X, y = dataset("breast_cancer")
    for k in (0, 1):
        model = SoftmaxRegression().fit(X, y, without(y, k))
        np.testing.assert_array_equal(model.predict(X), 1 - k)
        np.testing.assert_array_equal(model.predict_proba(X)[:, k], 0)
        assert (model.objective_, model.duality_gap_) == (0, 0)
    X, y = dataset("iris")
    model = SoftmaxRegression().fit(X, y, (y == 1).astype(float))
    np.testing.assert_array_equal(model.predict_proba(X), np.tile([0.0, 1.0, 0.0], (150, 1)))


def test_labels_that_no_row_has_or_all_have():
    X, Y = multilabel()
    Y = np.column_stack((np.zeros(len(Y), int), Y, np.ones(len(Y), int)))
    model = SoftmaxRegression(loss="sigmoid", tol=TIGHT).fit(X, Y)
    between = SoftmaxRegression(loss="sigmoid", tol=TIGHT).fit(X, Y[:, 1:4])
    np.testing.assert_array_equal(model.predict(X)[:, [0, 4]], Y[:, [0, 4]])
    np.testing.assert_array_equal(model.coef_[[0, 4]], 0)
    np.testing.assert_allclose(model.coef_[1:4], between.coef_, atol=1e-5)
    assert model.objective_ == pytest.approx(between.objective_, rel=2 * TIGHT)


def test_where_the_intercept_is_not_free_there_is_an_optimum():
    X, y = dataset("wine")
    weight = without(y, 2)
    model = SoftmaxRegression(fit_intercept=False, tol=TIGHT).fit(X, y, weight)
    theirs = reference(X, y, weight=weight, fit_intercept=False)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-4)
    assert model.predict_proba(X)[:, 2].max() > 0
    X, y = dataset("breast_cancer")
    model = SoftmaxRegression(solver="liblinear", tol=TIGHT).fit(X, y, without(y, 1))
    assert 0 < model.predict_proba(X)[y == 0, 1].max() < 0.5


def test_warm_starts_batches_and_copies():
    X, y = dataset("wine")
    cold = SoftmaxRegression(tol=TIGHT).fit(X, y, without(y, 0))
    warm = SoftmaxRegression(tol=TIGHT, warm_start=True).fit(X, y)
    warm.fit(X, y, without(y, 0))
    np.testing.assert_array_equal(warm.predict_proba(X)[:, 0], 0)
    assert warm.objective_ == pytest.approx(cold.objective_, rel=2 * TIGHT)
    again = warm.fit(X, y)  # and the class may come back
    assert again.objective_ == pytest.approx(SoftmaxRegression(tol=TIGHT).fit(X, y).objective_, rel=2 * TIGHT)
    later = pickle.loads(pickle.dumps(cold)).partial_fit(X, y)
    assert later.score(X, y) > 0.95
    assert np.all(np.isfinite(later.intercept_))
