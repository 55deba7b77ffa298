"""Law: the classifier works inside scikit-learn and beside pandas as LogisticRegression does."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset


# Some checks compare predictions of two fits to 1e-7, for which the default tol (1e-6 of F) stops too early.
@parametrize_with_checks([SoftmaxRegression(tol=1e-10)])
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings of scikit-learn's own
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_pipeline_and_search():
    X, y = dataset("wine")
    scores = cross_val_score(make_pipeline(StandardScaler(), SoftmaxRegression()), X, y, cv=3)
    theirs = cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y, cv=3)
    np.testing.assert_allclose(scores, theirs, atol=0.02)
    search = GridSearchCV(SoftmaxRegression(), {"C": [1e-4, 1.0]}, cv=3).fit(X, y)
    assert search.best_params_ == {"C": 1.0}


def test_feature_names():
    pandas = pytest.importorskip("pandas")
    X, y = dataset("iris")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    model = SoftmaxRegression().fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])
    named = SoftmaxRegression().fit(frame, pandas.Series(y).map({0: "x", 1: "y", 2: "z"}))
    assert named.classes_.tolist() == ["x", "y", "z"]


def test_solvers_name_of_scikit_learn():
    X, y = dataset("wine")
    best = SoftmaxRegression().fit(X, y).objective_
    assert SoftmaxRegression(solver="lbfgs").fit(X, y).objective_ <= best * (1 + 1e-6)


@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_predictions_have_the_shapes_and_dtypes_of_logistic_regression(name):
    X, y = dataset(name)
    for rows in (X, X.astype(np.float32)):
        ours, theirs = SoftmaxRegression().fit(rows, y), LogisticRegression().fit(rows, y)
        for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
            with np.errstate(divide="ignore"):  # theirs takes the logarithm of probabilities of 0
                b = getattr(theirs, method)(rows)
            a = getattr(ours, method)(rows)
            assert (a.shape, a.dtype) == (b.shape, b.dtype), method
        for attribute in ("coef_", "intercept_", "classes_", "n_iter_"):
            a, b = getattr(ours, attribute), getattr(theirs, attribute)
            assert (a.shape, a.dtype.kind) == (b.shape, b.dtype.kind), attribute
