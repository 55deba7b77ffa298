"""Law: a fit ends where a callback or its time limit says so, with the certificate of what it reached."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from fastsoftmax import EarlyStopping, SoftmaxRegression, SoftmaxRegressionCV
from fastsoftmax.persistence import checkpoint as checkpoints
from tests.problems import dataset, objective_of

KINDS = {
    "auto": {"C": 100.0},
    "lbfgs": {"C": 100.0, "tol": 1e-9},
    "newton-cg": {"C": 100.0, "solver": "newton-cg"},
    "newton-cholesky": {"C": 100.0, "solver": "newton-cholesky"},
    "absolute values": {"C": 1.0, "l1_ratio": 0.5},
}


class EndsAt:
    """A callback that ends the fit at a step, counted from 0, which is the start."""

    def __init__(self, step):
        self.steps_left = step

    def __call__(self, record):
        self.steps_left -= 1
        return self.steps_left < 0


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_callback_that_returns_true_ends_the_fit(kind, step):
    X, y = dataset("wine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was asked for
        model = SoftmaxRegression(**KINDS[kind], callbacks=[EndsAt(step), lambda record: 1]).fit(X, y)
    assert model.n_iter_.tolist() == [step]
    with pytest.warns(ConvergenceWarning):
        stopped = SoftmaxRegression(**KINDS[kind]).set_params(max_iter=step).fit(X, y)
    np.testing.assert_array_equal(model.coef_, stopped.coef_)
    assert model.duality_gap_ == stopped.duality_gap_
    if kind != "absolute values":
        assert model.objective_ == pytest.approx(objective_of(model, X, y, model.C), rel=1e-12)
    whole = SoftmaxRegression(**KINDS[kind]).fit(X, y)
    assert model.objective_ - model.duality_gap_ <= whole.objective_ <= model.objective_


def test_what_returns_another_true_value_does_not():
    X, y = dataset("wine")
    model = SoftmaxRegression(callbacks=[lambda record: "no", lambda record: np.False_]).fit(X, y)
    assert model.duality_gap_ <= model.tol * model.objective_


def test_a_time_limit_ends_it_and_the_same_fit_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "TIME_FRACTION", np.inf)
    X, y = dataset("digits")
    options = {"C": 100.0, "tol": 1e-9}
    whole = SoftmaxRegression(**options).fit(X, y)
    model = SoftmaxRegression(**options, max_seconds=0.0, checkpoint=tmp_path / "state")
    with pytest.warns(ConvergenceWarning, match="max_seconds=0 are over"):
        model.fit(X, y)
    assert model.n_iter_[0] == 0
    assert model.duality_gap_ >= model.objective_ - whole.objective_
    with pytest.raises(KeyboardInterrupt):
        model.set_params(max_seconds=None, callbacks=[Interrupt(3)]).fit(X, y)
    assert (tmp_path / "state").exists()
    with pytest.warns(ConvergenceWarning, match="are over"):
        model.set_params(max_seconds=0.0, callbacks=None).fit(X, y)
    assert 0 < model.n_iter_[0] < whole.n_iter_[0]
    assert (tmp_path / "state").exists()
    model.set_params(max_seconds=None).fit(X, y)
    np.testing.assert_array_equal(model.coef_, whole.coef_)
    assert not (tmp_path / "state").exists()
    model.set_params(max_seconds=5.0).save(tmp_path / "model")
    assert SoftmaxRegression.load(tmp_path / "model").max_seconds is None
    with pytest.raises(ValueError, match="max_seconds"):
        model.set_params(max_seconds=-1.0).fit(X, y)


class Interrupt:
    def __init__(self, step):
        self.steps_left = step

    def __call__(self, record):
        self.steps_left -= 1
        if self.steps_left < 0:
            raise KeyboardInterrupt


def test_early_stopping():
    X, y = dataset("digits")
    rng = np.random.default_rng(0)
    y = np.where(rng.random(len(y)) < 0.3, rng.permutation(y), y)  # noise to learn by heart
    stopping = EarlyStopping(X[::2], y[::2], np.ones(len(y[::2])), patience=2)
    model = SoftmaxRegression(C=1e6, callbacks=[stopping]).fit(X[1::2], y[1::2])
    scores = [-log_loss(y[::2], stopping.best_model_.predict_proba(X[::2]))]
    assert scores == pytest.approx([stopping.best_score_], rel=1e-6)
    assert stopping.best_score_ == max(stopping.scores_) == stopping.scores_[stopping.best_step_]
    assert model.n_iter_[0] == stopping.best_step_ + 2 == len(stopping.scores_) - 1
    best = stopping.best_model_
    assert best.n_iter_[0] == stopping.best_step_
    assert best.history_ == model.history_[: stopping.best_step_ + 1]
    assert best.objective_ == pytest.approx(objective_of(best, X[1::2], y[1::2], 1e6), rel=1e-9)

    # The same object for another fit begins anew, and in each fit of a path.
    model.set_params(C=1e-3).fit(X[1::2], y[1::2])
    assert len(stopping.scores_) == model.n_iter_[0] + 1
    path = SoftmaxRegression(callbacks=[stopping]).fit_path(X[1::2], y[1::2], [1e-3, 1e-2])
    assert len(stopping.scores_) == path[1].n_iter_[0] + 1


def test_early_stopping_refuses_what_makes_no_sense():
    X, y = dataset("wine")
    for options in ({"patience": 0}, {"patience": 1.5}, {"min_delta": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            EarlyStopping(X, y, **options)
    with pytest.raises(TypeError, match="fit and fit_path"):
        SoftmaxRegression(callbacks=[EarlyStopping(X, y)]).partial_fit(X, y, classes=np.unique(y))
    balanced = SoftmaxRegression(multi_class="ovr", class_weight="balanced", callbacks=[EarlyStopping(X, y)])
    for fit in (balanced.fit, lambda X, y: balanced.fit_path(X, y, [1.0])):
        with pytest.raises(TypeError, match="one class after another"):
            fit(X, y)
    assert "callbacks" not in SoftmaxRegressionCV().get_params()
