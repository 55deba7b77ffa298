"""Law: a picture shows the numbers it was given, is unknown to pyplot, and needs no display."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fastsoftmax import plot
from fastsoftmax.contracts import Record
from fastsoftmax.data.readers import read
from tests.plot.models import HISTORY, Nearest, Oracle, rendered

pytest.importorskip("matplotlib")


def _line(axes, label):
    (line,) = [each for each in axes.lines if label in each.get_label()]
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_loss_curve_shows_the_history():
    figure = plot.loss_curve(HISTORY, title="digits")
    axes = np.array(figure.axes).reshape(2, 2)
    for column, at in enumerate(([1, 4, 9, 12], [0.0, 0.1, 0.2, 0.3])):
        (objective,) = axes[0, column].lines
        np.testing.assert_array_equal(objective.get_xydata(), np.c_[at, [2.30, 0.90, 0.60, 0.595]])
        x, gap = _line(axes[1, column], "certified gap")
        np.testing.assert_array_equal(x, at)
        # the best lower bound is 0.595, from the last record, whose own gap of zero has no logarithm
        np.testing.assert_allclose(gap, [1.705, 0.305, 0.005, np.nan])
        np.testing.assert_array_equal(_line(axes[1, column], "gradient norm")[1], [1.0, 0.3, 0.01, 0.001])
        assert [each.get_yscale() for each in axes[:, column]] == ["linear", "log"]
    assert [each.get_xlabel() for each in axes[1]] == ["passes over the data", "seconds"]
    assert figure.get_suptitle() == "digits"
    assert rendered(figure).shape[:2] == (760, 1200)


def test_loss_curve_keeps_the_digits_of_a_small_gap():
    tiny = [Record(0.0, 2.0, 1.0, 1.5, 1), Record(0.1, 0.7, 1e-9, 3e-18, 2)]
    assert _line(plot.loss_curve(tiny).axes[2], "gap")[1][1] == 3e-18


def test_loss_curve_without_a_gap():
    axes = plot.loss_curve([record._replace(gap=None) for record in HISTORY]).axes
    for lower in axes[2:]:
        assert [line.get_label() for line in lower.lines] == ["gradient norm ‖∇F‖"]


def test_loss_curve_of_one_record():
    assert rendered(plot.loss_curve(HISTORY[:1])).std() > 0


def test_loss_curve_of_nothing():
    with pytest.raises(ValueError, match="history is empty"):
        plot.loss_curve([])


def test_decision_regions_are_the_predictions(iris):
    X, y = iris.X[:, 2:], np.array(iris.class_names)[iris.y]
    figure = plot.decision_regions(Nearest(X, y), X, y)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == sorted(iris.class_names)
    shades = axes.images[0].get_array().reshape(-1, 3)
    assert len(np.unique(shades, axis=0)) == 3
    assert sum(len(points.get_offsets()) for points in axes.collections) == len(X)
    rendered(figure)


def test_decision_regions_of_many_classes():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 2)), np.arange(90) % 45
    figure = plot.decision_regions(Nearest(X, y), X, y)
    assert figure.axes[0].get_legend() is None
    rendered(figure)


@pytest.mark.parametrize(("columns", "rows"), [(4, 120), (2, 119)])
def test_decision_regions_refuses_other_shapes(iris, columns, rows):
    model = Nearest(iris.X[:, :2], iris.y)
    with pytest.raises(ValueError, match=r"has shape \((120, 4|119,)\)"):
        plot.decision_regions(model, iris.X[:, :columns], iris.y[:rows])


def test_decision_regions_of_a_frame_keep_its_names(iris):
    frames = pytest.importorskip("pandas")
    X = frames.DataFrame(iris.X[:, 2:], columns=["length", "width"])
    model = LogisticRegression().fit(X, iris.y)  # warns, which is an error here, of points without names
    axes = plot.decision_regions(model, X, iris.y).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("length", "width")


def test_boundary_and_loss(iris):
    X, y = iris.X[:, 2:], iris.y
    model = Nearest(X, y)
    model.history_ = HISTORY
    figure = plot.boundary_and_loss(model, X, y)
    left, right = figure.axes
    alone = plot.decision_regions(model, X, y).axes[0]
    np.testing.assert_array_equal(left.images[0].get_array(), alone.images[0].get_array())
    assert len(left.get_legend().get_texts()) == 3
    np.testing.assert_array_equal(right.lines[0].get_xydata()[:, 0], [1, 4, 9, 12])
    np.testing.assert_array_equal(right.lines[0].get_xydata()[:, 1], [2.30, 0.90, 0.60, 0.595])
    assert rendered(figure).shape[:2] == (500, 1200)


def test_confusion_counts(iris):
    model = Nearest(iris.X, iris.y)
    figure = plot.confusion(model, iris.X_test, iris.y_test)
    axes = figure.axes[0]
    counts = np.zeros((3, 3), dtype=int)
    for text in axes.texts:
        column, row = text.get_position()
        counts[int(row), int(column)] = int(text.get_text())
    expected = np.zeros((3, 3), dtype=int)
    np.add.at(expected, (iris.y_test, model.predict(iris.X_test)), 1)
    np.testing.assert_array_equal(counts, expected)
    assert f"{np.trace(expected) / expected.sum():.1%} of 30" in axes.get_title()


def test_confusion_of_many_classes_names_some_and_shows_no_numbers():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 150
    X = rng.normal(size=(300, 3)) + y[:, None]
    axes = plot.confusion(Nearest(X, y), X, y).axes[0]
    assert len(axes.texts) == 0
    assert len(axes.get_xticks()) <= 40


def _reliability(figure):
    """Points of the diagram (one not of the diagonal), and the heights of the bars."""
    upper, lower = figure.axes
    (curve,) = [line for line in upper.lines if line.get_marker() != "None"]
    return curve.get_xydata(), [bar.get_height() for bar in lower.patches]


def test_reliability_of_two_classes_is_of_the_second():
    second = np.array([0.1, 0.1, 0.1, 0.3, 0.9, 0.9])
    y = np.array(["no", "no", "yes", "no", "yes", "yes"])
    figure = plot.reliability(Oracle(["no", "yes"]), np.c_[1 - second, second], y, n_bins=5)
    points, counts = _reliability(figure)
    np.testing.assert_allclose(points, [[0.1, 1 / 3], [0.3, 0], [0.9, 1]])
    assert counts == [3, 1, 2]  # of the bins that have rows
    (bars,) = [each for each in figure.axes[0].collections if len(each.get_segments())]
    ends = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(ends[0], [0.0615, 0.7923], atol=1e-4)  # Wilson's, of 1 of 3
    # (3 · |1/3 − 0.1| + 1 · 0.3 + 2 · 0.1) / 6 = 1.2 / 6
    assert "6 rows, expected calibration error 0.2" in figure.axes[0].get_title()
    assert figure.axes[1].get_xlabel() == "mean probability of class yes"
    rendered(figure)


def test_reliability_of_many_classes_is_of_the_prediction():
    X = np.array([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    points, counts = _reliability(plot.reliability(Oracle([3, 5, 8]), X, [3, 8, 5, 8], n_bins=4))
    # 0.5 is on a border and goes below it, 1.0 into the last bin
    np.testing.assert_allclose(points, [[0.5, 0], [0.7, 0.5], [1.0, 1.0]])
    assert counts == [1, 2, 1]


def test_reliability_refuses_what_does_not_fit():
    model, X = Oracle([0, 1]), np.full((3, 2), 0.5)
    with pytest.raises(ValueError, match=r"y has shape \(2,\); X with 3 rows"):
        plot.reliability(model, X, [0, 1])
    with pytest.raises(ValueError, match=r"not among the model's classes: \[7\]"):
        plot.reliability(model, X, [0, 7, 1])


def test_coefficients(iris):
    model = Nearest(iris.X, iris.y)
    image = plot.coefficients(model).axes[0].images[0]
    np.testing.assert_array_equal(image.get_array(), model.coef_)
    low, high = image.get_clim()
    assert low == -high


def test_coefficients_name_the_features(iris):
    model = Nearest(iris.X, iris.y)
    model.feature_names_in_ = np.array(iris.feature_names)
    axes = plot.coefficients(model).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(iris.feature_names)


def test_coefficients_of_a_binary_model_and_of_zeros(iris):
    model = Nearest(iris.X[iris.y < 2], iris.y[iris.y < 2])
    model.coef_ = np.zeros((1, 4))
    axes = plot.coefficients(model).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1"]


def test_coefficients_as_images():
    digits = read("digits")
    model = Nearest(digits.X, digits.y)
    figure = plot.coefficients(model, (8, 8))
    images = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in images] == list("0123456789")
    np.testing.assert_array_equal(images[3].images[0].get_array(), model.coef_[3].reshape(8, 8))
    with pytest.raises(ValueError, match=r"image_shape \(8, 9\) has 72 pixels; the model has 64"):
        plot.coefficients(model, (8, 9))


def test_no_figure_is_left_with_pyplot(iris):
    from matplotlib import pyplot

    model = Nearest(iris.X[:, :2], iris.y)
    plot.loss_curve(HISTORY)
    plot.decision_regions(model, iris.X[:, :2], iris.y)
    plot.confusion(model, iris.X[:, :2], iris.y)
    plot.coefficients(model)
    plot.reliability(Oracle([0, 1]), [[0.2, 0.8], [0.6, 0.4]], [1, 1])
    assert pyplot.get_fignums() == []


def test_matplotlib_is_imported_on_use_and_its_lack_is_said():
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from fastsoftmax import plot; from fastsoftmax.contracts import Record\n"
        "try: plot.loss_curve([Record(0.0, 1.0, 1.0, None, 1)])\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == 'pictures need matplotlib: pip install "fastsoftmax[plot]"\n'
