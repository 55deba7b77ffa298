"""Law: SoftmaxRegression reaches scikit-learn's optimum, for every kind of labels, weights and rows."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset, multilabel, objective, objective_of, reference

NAMES = ["iris", "wine", "digits", "breast_cancer"]
# With F's curvature of at least l2 a gap bounds how far the coefficients are: at this one, about 1e-4.
TIGHT = 1e-10


def assert_at_the_optimum(model, X, target, best, C=1.0, weight=None, tol=1e-6):
    """What the model says it reached is what it reached, and no worse than tol above the best."""
    reached = objective_of(model, X, target, C, weight)
    # F is computed in float64 by both: they differ by the rounding of the sum only
    assert model.objective_ == pytest.approx(reached, rel=1e-9)
    assert reached <= best * (1 + tol)


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("name", NAMES)
def test_optimum(name, C):
    X, y = dataset(name)
    model, theirs = SoftmaxRegression(C=C).fit(X, y), reference(X, y, C=C)
    assert_at_the_optimum(model, X, y, objective_of(theirs, X, y, C), C)
    proba = theirs.predict_proba(X)
    top = np.sort(proba, axis=1)
    sure = top[:, -1] - top[:, -2] > 0.05
    np.testing.assert_array_equal(model.predict(X)[sure], theirs.predict(X)[sure])
    assert model.score(X, y) == pytest.approx(theirs.score(X, y), abs=0.01)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_coefficients(name, fit_intercept):
    X, y = dataset(name)
    model = SoftmaxRegression(C=0.5, fit_intercept=fit_intercept, tol=TIGHT).fit(X, y)
    theirs = reference(X, y, C=0.5, fit_intercept=fit_intercept)
    assert model.coef_.shape == theirs.coef_.shape
    assert model.intercept_.shape == theirs.intercept_.shape
    l2 = 1 / (0.5 * len(y))
    away = 2 * np.sqrt(2 * TIGHT * model.objective_ / l2) + 1e-6
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=away)
    shift = model.intercept_ - theirs.intercept_  # with K > 2 the intercepts have a common, free constant
    np.testing.assert_allclose(shift, shift.mean() if len(shift) > 1 else 0, atol=20 * away)
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=20 * away)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)), atol=1e-9)
    z = model.decision_function(X)
    assert z.shape == theirs.decision_function(X).shape
    np.testing.assert_allclose(z.reshape(len(y), -1), X @ model.coef_.T + model.intercept_, atol=1e-9)


@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_binary_model(name):
    X, y = dataset(name)
    X, y = X[y != 0] if name == "iris" else X, y[y != 0] if name == "iris" else y
    model = SoftmaxRegression().fit(X, y)
    assert model.coef_.shape == (1, X.shape[1])
    assert model.intercept_.shape == (1,)
    assert model.decision_function(X).shape == y.shape
    assert model.predict_proba(X).shape == (len(y), 2)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(
        model.predict(X), model.classes_[(model.decision_function(X) > 0).astype(int)]
    )
    index = np.searchsorted(model.classes_, y)
    assert_at_the_optimum(model, X, index, objective_of(reference(X, y), X, index))


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["setosa", "versicolor", "virginica"]),
        np.array(["b", "a", "c"], dtype=object),
        np.array([-5, 1000, 7]),
        np.array([0.0, 2.0, 1.0]),
        np.array([7, 200, 3], dtype=np.uint8),
    ],
    ids=["strings", "objects", "integers", "floats", "bytes"],
)
def test_kinds_of_labels(labels):
    X, y = dataset("iris")
    named, plain = SoftmaxRegression().fit(X, labels[y]), SoftmaxRegression().fit(X, y)
    theirs = LogisticRegression().fit(X, labels[y])
    np.testing.assert_array_equal(named.classes_, theirs.classes_)
    assert named.classes_.dtype == theirs.classes_.dtype
    assert named.predict(X).dtype == theirs.predict(X).dtype
    np.testing.assert_array_equal(named.predict(X), labels[plain.predict(X)])
    order = np.argsort(labels)
    np.testing.assert_allclose(named.coef_, plain.coef_[order], atol=0.01)


def test_booleans_and_lists():
    X, y = dataset("breast_cancer")
    model = SoftmaxRegression().fit(X, y == 1)
    assert model.predict(X).dtype == bool
    np.testing.assert_array_equal(model.classes_, [False, True])
    plain = SoftmaxRegression().fit(X.tolist(), y.tolist())
    np.testing.assert_array_equal(plain.predict(X) == 1, model.predict(X))


@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_soft_labels(name):
    X, y = dataset(name)
    n, k = len(y), y.max() + 1
    soft = 0.8 * np.eye(k)[y] + 0.2 * np.random.default_rng(9).dirichlet(np.ones(k), size=n)
    model = SoftmaxRegression(C=0.3).fit(X, soft)
    # a soft label is a row for each class, weighted by its probability
    theirs = reference(np.repeat(X, k, axis=0), np.tile(np.arange(k), n), weight=soft.ravel(), C=0.3)
    assert_at_the_optimum(model, X, soft, objective_of(theirs, X, soft, 0.3), 0.3)
    np.testing.assert_array_equal(model.classes_, np.arange(k))
    assert model.predict_proba(X).shape == (n, k)
    assert model.coef_.shape == theirs.coef_.shape


def test_soft_labels_of_zero_and_one_are_hard_ones():
    X, y = dataset("wine")
    hard, soft = SoftmaxRegression(tol=TIGHT).fit(X, y), SoftmaxRegression(tol=TIGHT).fit(X, np.eye(3)[y])
    assert soft.objective_ == pytest.approx(hard.objective_, rel=2 * TIGHT)
    np.testing.assert_array_equal(soft.predict(X), hard.predict(X))


@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_sample_weights_are_repeated_rows(name):
    X, y = dataset(name)
    times = np.arange(len(y)) % 4
    model = SoftmaxRegression(C=0.7).fit(X, y, sample_weight=times)
    rows = np.repeat(np.arange(len(y)), times)
    repeated = SoftmaxRegression(C=0.7).fit(X[rows], y[rows])
    best = objective_of(reference(X[rows], y[rows], C=0.7), X[rows], y[rows], 0.7)
    assert_at_the_optimum(model, X, y, best, 0.7, times)
    assert_at_the_optimum(repeated, X[rows], y[rows], best, 0.7)


@pytest.mark.parametrize("weights", ["balanced", {0: 1.0, 1: 0.2, 2: 5.0}, {1: 3.0}])
def test_class_weights(weights):
    X, y = dataset("iris")
    rows = np.r_[0:9, 50:90, 100:150]  # unbalanced
    X, y = X[rows], y[rows]
    model, theirs = SoftmaxRegression(class_weight=weights).fit(X, y), reference(X, y, class_weight=weights)
    counts = np.bincount(y)
    each = len(y) / (3 * counts) if weights == "balanced" else [weights.get(k, 1.0) for k in range(3)]
    weight = np.asarray(each)[y]
    assert_at_the_optimum(model, X, y, objective_of(theirs, X, y, weight=weight), weight=weight)
    both = SoftmaxRegression(class_weight=weights).fit(X, y, sample_weight=np.arange(len(y)) % 3 + 1)
    again = reference(X, y, weight=np.arange(len(y)) % 3 + 1.0, class_weight=weights)
    np.testing.assert_allclose(both.coef_, again.coef_, atol=0.02)


def test_multilabel():
    X, Y = multilabel()
    model = SoftmaxRegression(C=0.4, loss="sigmoid", tol=1e-8).fit(X, Y)
    each = [reference(X, Y[:, k], C=0.4) for k in range(3)]
    assert model.coef_.shape == (3, 7)
    assert model.intercept_.shape == (3,)
    # a sum over labels, so the sum of the binary objectives
    best = sum(objective_of(m, X, Y[:, k], 0.4) for k, m in enumerate(each))
    reached = sum(objective(X, Y[:, k], model.coef_[k : k + 1], model.intercept_[k], 0.4) for k in range(3))
    assert model.objective_ == pytest.approx(reached, rel=1e-9)
    assert reached <= best * (1 + 1e-6)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(proba, np.stack([m.predict_proba(X)[:, 1] for m in each], axis=1), atol=0.001)
    np.testing.assert_array_equal(model.predict(X), (proba > 0.5).astype(int))
    assert model.decision_function(X).shape == Y.shape


@pytest.mark.parametrize(
    "make", [sp.csr_array, sp.csc_array, sp.coo_array, sp.csr_matrix], ids=lambda f: f.__name__
)
def test_sparse(make):
    X, y = dataset("digits")
    model, dense = SoftmaxRegression().fit(make(X), y), SoftmaxRegression().fit(X, y)
    assert_at_the_optimum(model, X, y, dense.objective_)
    np.testing.assert_allclose(model.predict_proba(make(X)), model.predict_proba(X), atol=1e-9)
    np.testing.assert_array_equal(model.predict(make(X)), model.predict(X))


def test_sparse_with_wide_indices():
    X, y = dataset("digits")
    A = sp.csr_array(X)
    A.indices, A.indptr = A.indices.astype(np.int64), A.indptr.astype(np.int64)
    assert_at_the_optimum(SoftmaxRegression().fit(A, y), X, y, SoftmaxRegression().fit(X, y).objective_)
    assert A.indices.dtype == np.int64


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.uint8, np.int8, np.int16, bool])
def test_kinds_of_rows(kind):
    X, y = dataset("digits")
    X = (X > 0.3).astype(kind) if kind is bool else (16 * X).astype(kind)
    C = 1.0 if kind is bool else 0.001
    model, theirs = SoftmaxRegression(C=C).fit(X, y), reference(X.astype(float), y, C=C)
    best = objective_of(theirs, X, y, C)
    reached = objective_of(model, X, y, C)
    # sums of products in single: 64 terms, so about 8 eps of float32 on the logits
    assert model.objective_ == pytest.approx(reached, rel=1e-5)
    assert reached <= best * (1 + 2e-6)


@pytest.mark.parametrize("order", ["F", "strided", "memmap"])
def test_layouts(order, tmp_path):
    X, y = dataset("digits")
    if order == "F":
        other = np.asfortranarray(X)
    elif order == "strided":
        other = np.repeat(X, 2, axis=1)[:, ::2]
    else:
        np.save(tmp_path / "X.npy", X)
        other = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_at_the_optimum(SoftmaxRegression().fit(other, y), X, y, SoftmaxRegression().fit(X, y).objective_)


def test_no_penalty():
    X, y = dataset("iris")
    X, y = X[50:, :2], y[50:]  # two classes that overlap: the optimum is finite
    model, theirs = SoftmaxRegression(C=np.inf).fit(X, y), reference(X, y, C=np.inf)
    assert 0.0 <= model.duality_gap_ <= 1e-6 * model.objective_  # of so few rows it costs next to nothing
    assert_at_the_optimum(model, X, y - 1, objective_of(theirs, X, y - 1, np.inf), np.inf)


def test_no_penalty_and_separable_ends():
    X, y = dataset("iris")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SoftmaxRegression(C=np.inf).fit(X, y == 0)
    assert [w.category for w in caught] in ([], [ConvergenceWarning])
    assert np.all(np.isfinite(model.coef_))
    assert model.score(X, y == 0) == 1
    assert model.objective_ < 1e-3


def test_more_features_than_rows():
    rng = np.random.default_rng(10)
    X, y = rng.normal(size=(23, 211)), np.arange(23) % 3
    model = SoftmaxRegression(C=0.1).fit(X, y)
    assert_at_the_optimum(model, X, y, objective_of(reference(X, y, C=0.1), X, y, 0.1), 0.1)


def test_a_column_of_another_scale():
    # a badly conditioned problem: the certificate must not be taken for reached where it is not
    X, y = dataset("wine")
    X = X * np.geomspace(1e-3, 1e3, X.shape[1])
    model = SoftmaxRegression().fit(X, y)
    assert model.duality_gap_ <= 1e-6 * model.objective_
    assert_at_the_optimum(model, X, y, objective_of(reference(X, y), X, y))


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_a_penalty_too_small_for_a_certificate_ends_and_says_so(solver):
    X, y = dataset("iris")
    X, y = X[50:, :2], y[50:] - 1  # two classes that overlap: there is an optimum without a penalty
    with pytest.warns(ConvergenceWarning, match="precision of the products.*smaller C"):
        model = SoftmaxRegression(C=1e30, solver=solver).fit(X, y)
    free = SoftmaxRegression(C=np.inf, tol=TIGHT).fit(X, y)
    assert model.objective_ == pytest.approx(free.objective_, rel=2 * TIGHT)
    np.testing.assert_allclose(model.coef_, free.coef_, atol=1e-3)
    assert model.n_iter_[0] < 100
    # no loss is negative, so F itself bounds F − F*
    assert 0 <= model.duality_gap_ <= model.objective_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_hardly_any_penalty_and_separable_ends(solver):
    X, y = dataset("iris")
    model = SoftmaxRegression(C=1e30, solver=solver).fit(X, y == 0)
    assert model.n_iter_[0] < 1000
    assert model.score(X, y == 0) == 1
    assert 0 <= model.duality_gap_ <= model.objective_ < 1e-10


def test_fewer_rows_than_features_without_a_penalty():
    # there are many optima; what the rows leave open is left alone, whether a row is repeated or weighted
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(15, 10)), np.arange(15) % 3
    times = np.arange(15) // 3 % 3
    rows = np.repeat(np.arange(15), times)
    for solver in ("lbfgs", "newton-cg"):
        options = {"C": np.inf, "solver": solver, "tol": 1e-3}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the classes are separable
            weighted = SoftmaxRegression(**options).fit(X, y, sample_weight=times)
            repeated = SoftmaxRegression(**options).fit(X[rows], y[rows])
        np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)
