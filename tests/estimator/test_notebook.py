"""Law: a notebook shows scikit-learn's diagram, and of a fitted model how far it is from the optimum."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset


def shown(model):
    html = model._repr_html_()
    assert model._repr_mimebundle_()["text/html"].count("fastsoftmax-certificate") == html.count(
        "fastsoftmax-certificate"
    )
    return html


def test_a_fitted_model_says_how_far_it_is_from_the_optimum():
    X, y = dataset("wine")
    model = SoftmaxRegression()
    assert "fastsoftmax-certificate" not in shown(model)
    html = shown(model.fit(X, y))
    assert "sk-top-container" in html
    gap = model.duality_gap_ / model.objective_
    assert f"at most {gap:.2g} of the objective (certified, tol = 1e-06)" in html
    assert f"{model.n_iter_[0]:,} step" in html
    assert "3 classes, 13 features" in html
    assert "(above tol, tol = 1e-14)" in shown(model.set_params(tol=1e-14))

    model = SoftmaxRegression(C=np.inf, tol=1e-3).fit(*dataset("iris"))
    assert ("no bound" in shown(model)) == (model.duality_gap_ is None)
    n_used = int((SoftmaxRegression(l1_ratio=1.0).fit(X, y).coef_ != 0).sum())
    assert f"{n_used} of 39 coefficients" in shown(SoftmaxRegression(l1_ratio=1.0).fit(X, y))


def test_elsewhere_it_is_as_any_estimator():
    X, y = dataset("wine")
    model = SoftmaxRegression().fit(X, y)
    assert "SoftmaxRegression" in make_pipeline(StandardScaler(), model)._repr_html_()
    with sklearn.config_context(display="text"):
        assert not hasattr(model, "_repr_html_")
        assert list(model._repr_mimebundle_()) == ["text/plain"]
    with pytest.raises(AttributeError):
        SoftmaxRegression().shown_nowhere  # noqa: B018
