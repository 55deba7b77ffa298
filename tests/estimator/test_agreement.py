"""Law: the optimum is LogisticRegression's, to 1e-4 in the coefficients and 1e-8 in the objective."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset, objective_of, reference

# F's curvature is at least l2, so coefficients are at most √(2 gap / l2) away: below 1e-4 for all of these at
# this relative gap but for the largest sets and C, where the data's own curvature does the rest.
TIGHT = 1e-12


def binary(name):
    """Rows and labels of two classes: the set's own, or whether a row belongs to its last class."""
    X, y = dataset(name)
    return X, (y == y.max()).astype(int)


def assert_agree(model, theirs, X, y, C, weight=None):
    best, reached = (objective_of(m, X, y, C, weight) for m in (theirs, model))
    assert abs(reached - best) <= 1e-8 * best
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-4)
    shift = model.intercept_ - theirs.intercept_
    # With K > 2 a constant added to all intercepts changes nothing; scikit-learn's sum to zero from zero.
    np.testing.assert_allclose(shift, shift.mean() if len(shift) > 1 else 0.0, atol=1e-4)


@pytest.mark.parametrize("C", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_every_class(name, C):
    X, y = dataset(name)
    assert_agree(SoftmaxRegression(C=C, tol=TIGHT).fit(X, y), reference(X, y, C=C), X, y, C)


@pytest.mark.parametrize("C", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("name", ["iris", "wine", "digits"])
def test_two_classes(name, C):
    X, y = binary(name)
    assert_agree(SoftmaxRegression(C=C, tol=TIGHT).fit(X, y), reference(X, y, C=C), X, y, C)


@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_weights(name):
    X, y = dataset(name)
    weight = np.arange(len(y)) % 4 / 2
    per_class = {0: 2.0, 1: 0.5}
    model = SoftmaxRegression(C=0.5, class_weight=per_class, tol=TIGHT).fit(X, y, sample_weight=weight)
    theirs = reference(X, y, weight=weight, C=0.5, class_weight=per_class)
    total = weight * np.array([per_class.get(k, 1.0) for k in y])
    assert_agree(model, theirs, X, y, 0.5, total)
    kept = weight > 0
    without = SoftmaxRegression(C=0.5, class_weight=per_class, tol=TIGHT)
    without.fit(X[kept], y[kept], sample_weight=weight[kept])
    np.testing.assert_allclose(without.coef_, model.coef_, atol=1e-4)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("scaling", [1, 20.0])
def test_liblinear_penalises_its_intercept(scaling, fit_intercept):
    X, y = binary("wine")
    X = X + 1.0  # so that there is an intercept to penalise
    options = {"solver": "liblinear", "intercept_scaling": scaling, "fit_intercept": fit_intercept, "C": 0.3}
    model = SoftmaxRegression(tol=TIGHT, **options).fit(X, y)
    theirs = LogisticRegression(tol=1e-10, max_iter=100_000, **options).fit(X, y)
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(model.intercept_, theirs.intercept_, atol=1e-5)
    assert model.solver_ == "lbfgs"
    assert model.coef_.shape == (1, X.shape[1])
    free = SoftmaxRegression(tol=TIGHT, C=0.3).fit(X, y)
    if fit_intercept and scaling == 1:
        assert np.abs(free.intercept_ - model.intercept_).max() > 0.01
