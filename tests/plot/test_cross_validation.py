"""Law: pictures of a cross-validation show its means, their errors, its coefficients and its choice."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegressionCV

from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV, plot
from tests.plot.models import rendered

pytest.importorskip("matplotlib")
CS = [0.01, 10.0, 0.1]


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    X = X[::3, :8]
    return (X - X.mean(axis=0)) / X.std(axis=0), y[::3]


def bars(axes, ratio):
    (found,) = [each for each in axes.containers if each.get_label() == f"l1_ratio {ratio:g}"]
    return np.array(found.lines[0].get_ydata()), np.array(found.lines[2][0].get_segments())


@pytest.mark.parametrize("legacy", [False, True])
def test_scores_and_choice(cancer, legacy):
    given = {"Cs": CS, "l1_ratios": (0.5, 1.0), "scoring": "neg_log_loss", "cv": 4}
    model = SoftmaxRegressionCV(**given, use_legacy_attributes=legacy).fit(*cancer)
    plain = model if not legacy else SoftmaxRegressionCV(**given, use_legacy_attributes=False).fit(*cancer)
    figure = plot.cross_validation(model, title="cancer", feature_names=list("abcdefgh"))
    left, right = figure.axes[:2]
    scores = plain.scores_[:, :, np.argsort(CS)]
    for i, ratio in enumerate((0.5, 1.0)):
        mean, segments = bars(left, ratio)
        np.testing.assert_allclose(mean, scores[:, i].mean(axis=0))
        spread = scores[:, i].std(axis=0, ddof=1) / 2
        np.testing.assert_allclose(np.diff(segments[:, :, 1], axis=1)[:, 0] / 2, spread)
    (ring,) = [line for line in left.lines if line.get_markersize() == 11]
    np.testing.assert_allclose(ring.get_xydata(), [[plain.C_, scores.mean(axis=0).max()]])
    chosen = plain.coefs_paths_[:, list(plain.l1_ratios_).index(plain.l1_ratio_)][:, np.argsort(CS), 0, :-1]
    drawn = [line.get_ydata() for line in right.lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(
        sorted(map(tuple, drawn)), sorted(map(tuple, chosen.mean(axis=0).T[chosen.any(axis=(0, 1))]))
    )
    assert rendered(figure).std() > 0


def test_a_path_and_what_it_does_not_take(cancer):
    X, y = cancer
    path = SoftmaxRegression(l1_ratio=1.0).fit_path(X, y, [*CS, 0.001])
    figure = plot.coefficient_path(path, C=0.1)
    (upper,) = figure.axes[0].child_axes
    counts = sorted(int((point.coef_ != 0).sum()) for point in path)
    assert [int(label.get_text()) for label in upper.get_xticklabels()] == counts
    with pytest.raises(ValueError, match="one l1_ratio"):
        plot.coefficient_path(SoftmaxRegression().fit_path(X, y, CS, l1_ratios=(0, 1)))
    with pytest.raises(NotFittedError):
        plot.cv_scores(SoftmaxRegressionCV())


def test_several_classes_and_scikit_learns_own():
    X, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    for kind in (SoftmaxRegressionCV, LogisticRegressionCV):
        model = kind(Cs=[1.0, 0.1], l1_ratios=(0,), scoring="accuracy", use_legacy_attributes=True).fit(X, y)
        figure = plot.cross_validation(model, class_names=["a", "b", "c"])
        assert [text.get_text() for text in figure.axes[1].get_legend().get_texts()] == ["a", "b", "c"]
        assert figure.axes[0].get_ylabel() == "mean accuracy"
