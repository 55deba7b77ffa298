"""Law: an overview chooses its pictures by the rows, and every picture takes models as they come."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fastsoftmax import SoftmaxRegression, plot
from fastsoftmax.data.readers import read
from fastsoftmax.plot.canvas import new_figure
from tests.plot.models import Fitted, rendered

pytest.importorskip("matplotlib")


def _assert_descent(figure):
    """The two axes on the right show the history in any case."""
    upper, lower = (axes for axes in figure.axes if axes.get_ylabel().startswith(("objective", "distance")))
    np.testing.assert_array_equal(
        upper.lines[0].get_xydata(), np.c_[[1, 4, 9, 12], [2.30, 0.90, 0.60, 0.595]]
    )
    assert lower.get_yscale() == "log"
    return upper, lower


def test_overview_of_two_features(iris):
    X = iris.X[:, 2:]
    names = {"class_names": iris.class_names, "feature_names": ("length", "width")}
    for rows in (X, sp.csr_array(X), X.tolist()):
        figure = plot.overview(Fitted(X, iris.y), rows, iris.y, **names, title="flowers")
        axes = figure.axes[0]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == list(iris.class_names)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("length", "width")
        assert "Regions of 3 classes, 120 points" in axes.get_title()
        _assert_descent(figure)
    assert figure.get_suptitle() == "flowers"
    rendered(figure)


@pytest.mark.parametrize("store", [np.asarray, sp.csr_array])
def test_overview_of_images(store):
    digits = read("digits")
    model = Fitted(digits.X, digits.y)
    figure = plot.overview(model, store(digits.X), digits.y, class_names=[f"digit {k}" for k in range(10)])
    images = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title() for axes in images] == [f"digit {k}" for k in range(10)]
    np.testing.assert_array_equal(images[7].images[0].get_array(), model.coef_[7].reshape(8, 8))
    _assert_descent(figure)
    rendered(figure)


def test_overview_of_anything_else(iris):
    model = Fitted(iris.X, iris.y)
    for tested, title in (
        ({}, "of 120 training rows right"),
        ({"X_test": iris.X_test, "y_test": iris.y_test}, "of 30 test rows right"),
    ):
        figure = plot.overview(model, iris.X, iris.y, **tested, class_names=iris.class_names)
        axes = figure.axes[0]
        assert title in axes.get_title()
        assert [text.get_text() for text in axes.get_yticklabels()] == list(iris.class_names)
        _assert_descent(figure)
    rendered(figure)


def test_overview_of_labels_that_are_a_matrix(iris):
    figure = plot.overview(Fitted(iris.X, iris.y), iris.X, np.eye(3)[iris.y], title="soft")
    assert [axes.get_xlabel() for axes in figure.axes[2:]] == ["passes over the data", "seconds"]
    assert figure.get_suptitle() == "soft"


def test_pipelines_and_fitted_models():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression()).fit(X[:, 2:], names)
    model = pipeline[-1]
    search = GridSearchCV(pipeline, {"softmaxregression__C": [0.1, 1.0]}, cv=2).fit(X[:, 2:], names)
    for source in (model, pipeline, model.history_):
        objective = plot.loss_curve(source).axes[0].lines[0].get_ydata()
        np.testing.assert_array_equal(objective, [record.objective for record in model.history_])
    np.testing.assert_array_equal(
        plot.coefficients(pipeline).axes[0].images[0].get_array(), model.coef_.astype(float)
    )
    for source in (pipeline, search):
        assert plot.loss_curve(source).axes
        assert len(plot.boundary_and_loss(source, X[:, 2:], names).axes) == 2
        assert plot.decision_regions(source, X[:, 2:], names).axes
        assert plot.confusion(source, X[:, 2:], names).axes
        assert plot.reliability(source, X[:, 2:], names).axes
        assert len(plot.overview(source, X[:, 2:], names).axes) == 3
    words = pd.DataFrame({"a": X[:, 0], "kind": np.array(["u", "v"])[y % 2], "c": X[:, 2]})
    encoder = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    mixed = make_pipeline(encoder, SoftmaxRegression()).fit(words, y)
    assert plot.overview(mixed, words, y).axes[0].get_xlabel() == "predicted class"
    images = np.tile(np.arange(64.0), (150, 1)) + X[:, :1]
    cut = make_pipeline(PCA(3), SoftmaxRegression()).fit(images, y)
    assert plot.overview(cut, images, y).axes[0].get_xlabel() == "predicted class"


def test_what_has_no_history():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(TypeError, match="history must be records or a model with history_; got a Logistic"):
        plot.loss_curve(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y))
    for model in (SoftmaxRegression(), make_pipeline(StandardScaler(), SoftmaxRegression())):
        with pytest.raises(NotFittedError):
            plot.loss_curve(model)


def test_pictures_of_one_axes_go_where_they_are_told():
    X, y = load_iris(return_X_y=True)
    model = SoftmaxRegression().fit(X[:, 2:], y)
    figure = new_figure(12, 4)
    left, right = figure.subfigures(1, 2)
    places = [left.subplots(), *right.subplots(1, 2)]
    assert plot.decision_regions(model, X[:, 2:], y, ax=places[0]) is figure
    assert plot.confusion(model, X[:, 2:], y, ax=places[1]) is figure
    assert plot.coefficients(model, ax=places[2]) is figure
    assert [each.get_xlabel() for each in places] == ["feature 0", "predicted class", "feature"]
    rendered(figure)
    with pytest.raises(ValueError, match="does not go with ax"):
        plot.coefficients(model, (1, 2), ax=places[2])


def test_regions_of_classes_that_are_not_sorted():
    X, y = load_iris(return_X_y=True)
    soft = pd.DataFrame(np.eye(3)[y], columns=["z", "a", "m"])
    model = SoftmaxRegression().fit(X[:, 2:], soft)
    image = plot.decision_regions(model, X[:, 2:], np.array(["z", "a", "m"])[y]).axes[0].images[0]
    known = plot.decision_regions(SoftmaxRegression().fit(X[:, 2:], y), X[:, 2:], y).axes[0].images[0]
    assert (image.get_array() == known.get_array()).all(axis=-1).mean() > 0.999


def test_square_images_are_told_by_their_neighbours(monkeypatch):
    digits = read("digits").X
    assert plot.square_side(digits) == plot.square_side(sp.csr_array(digits)) == 8
    assert plot.square_side(digits.astype(np.uint8)) == 8
    rng = np.random.default_rng(0)
    noise = rng.random((300, 64))
    for others in (
        digits[:, :63],  # no square number
        digits[:, rng.permutation(64)],  # no longer beside each other
        digits[:, :49],  # 7 x 7: so few may be anything
        noise,
        np.cumsum(noise, axis=1),  # a series: smooth along it, but not from line to line
        np.ones((9, 64)),
        sp.random_array((50, 144), density=0.1, rng=0, format="csr"),
    ):
        assert plot.square_side(others) is None
    # blurred noise is an image; of many rows and pixels some are looked at
    blurred = np.cumsum(np.cumsum(rng.normal(size=(90, 30, 30)), axis=1), axis=2).reshape(90, -1)
    monkeypatch.setattr("fastsoftmax.plot.fit_overview.SAMPLE_SIZE", 5000)
    assert plot.square_side(blurred) == 30
