"""Law: the subclasses of scikit-learn's classes are those to `isinstance`, and ours in all that they do."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastsoftmax.sklearn
from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV
from tests.problems import dataset

CV = {
    "Cs": [0.01, 1.0],
    "cv": 3,
    "l1_ratios": (0.0, 1.0),
    "scoring": "accuracy",
    "use_legacy_attributes": False,
}
PAIRS = {
    "LogisticRegression": (SoftmaxRegression, {"l1_ratio": 0.5}),
    "LogisticRegressionCV": (SoftmaxRegressionCV, CV),
}


@pytest.mark.parametrize("name", PAIRS)
def test_they_are_both(name):
    kind, theirs, (ours, options) = (
        getattr(fastsoftmax.sklearn, name), getattr(sklearn.linear_model, name), PAIRS[name],
    )  # fmt: skip
    X, y = dataset("iris")
    model = clone(kind(**options)).fit(X, y)
    assert isinstance(model, theirs)
    assert isinstance(model, ours)
    same = ours(**options).fit(X, y)
    assert model.get_params() == same.get_params()
    np.testing.assert_array_equal(model.coef_, same.coef_)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), same.predict_proba(X))
    # scikit-learn's methods of fitting and prediction are none of theirs, but for what only they have
    for base in theirs.__mro__[: theirs.__mro__.index(sklearn.linear_model.LogisticRegression) + 1]:
        left = {
            name for name, value in vars(base).items() if getattr(kind, name) is value and callable(value)
        }
        assert left <= ({"set_callbacks"} if name.endswith("CV") else set())


def test_defaults_are_scikit_learns_where_they_warn():
    X, y = dataset("iris")
    model = fastsoftmax.sklearn.LogisticRegressionCV(Cs=2)
    theirs = sklearn.linear_model.LogisticRegressionCV().get_params()
    for name in ("l1_ratios", "scoring", "use_legacy_attributes"):
        assert model.get_params()[name] == theirs[name] == "warn"
    with pytest.warns(FutureWarning) as caught:
        assert set(model.fit(X, y).scores_) == {0, 1, 2}
    assert len(caught) == 3
    with pytest.warns(FutureWarning, match="'l1_ratios=None' was deprecated"):
        model.set_params(l1_ratios=None, scoring="accuracy", use_legacy_attributes=False).fit(X, y)


def test_in_a_search():
    X, y = dataset("iris")
    search = GridSearchCV(fastsoftmax.sklearn.LogisticRegression(), {"l1_ratio": [0.0, 1.0]}, cv=3).fit(X, y)
    assert type(search.best_estimator_) is fastsoftmax.sklearn.LogisticRegression
