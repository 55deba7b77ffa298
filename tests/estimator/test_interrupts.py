"""Law: an interrupted fit keeps the last point it reached if it was asked to, and nothing otherwise."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax import SoftmaxRegression
from fastsoftmax.persistence import checkpoint as checkpoints
from tests.problems import dataset, objective_of

KINDS = {
    "lbfgs": {"C": 100.0},
    "newton-cg": {"C": 100.0, "solver": "newton-cg"},
    "newton-cholesky": {"C": 100.0, "solver": "newton-cholesky"},
    "no penalty": {"C": np.inf, "max_iter": 50},
    "liblinear": {"C": 100.0, "solver": "liblinear"},
}


class Interrupts:
    """A callback that is Ctrl-C at a step, counted from 0, which is the start."""

    def __init__(self, step):
        self.steps_left = step

    def __call__(self, record):
        if self.steps_left == 0:
            raise KeyboardInterrupt
        self.steps_left -= 1


def data_for(kind):
    return dataset("breast_cancer" if kind == "liblinear" else "wine")


@pytest.mark.parametrize("step", [0, 1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_point_is_kept(kind, step):
    X, y = data_for(kind)
    options = {**KINDS[kind], "tol": 1e-14, "keep_on_interrupt": True}
    model = SoftmaxRegression(**options, callbacks=[Interrupts(step)])
    with pytest.warns(ConvergenceWarning, match=rf"was interrupted after {step} iteration\(s\)"):
        assert model.fit(X, y) is model
    assert model.n_iter_.tolist() == [step]
    assert len(model.history_) == step + 1
    assert model.objective_ == pytest.approx(model.history_[-1].objective, rel=1e-12)
    assert (model.duality_gap_ is None) == (model.history_[-1].gap is None)
    assert model.predict(X).shape == y.shape

    # It is where a fit stands that ends after so many steps.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        stopped = SoftmaxRegression(**options).set_params(max_iter=step).fit(X, y)
    np.testing.assert_array_equal(model.coef_, stopped.coef_)
    np.testing.assert_array_equal(model.intercept_, stopped.intercept_)
    assert [each.objective for each in model.history_] == [each.objective for each in stopped.history_]
    if kind != "liblinear":  # whose penalty is on the intercept as well
        assert model.objective_ == pytest.approx(objective_of(model, X, y, model.C), rel=1e-12)
    if kind != "no penalty":  # wine is separable
        model.set_params(callbacks=None, tol=1e-6, warm_start=True).fit(X, y)
        assert model.n_iter_[0] < 1000


def test_the_gap_is_known_as_far_as_it_is_certified():
    X, y = dataset("digits")
    whole = SoftmaxRegression(tol=1e-9).fit(X, y)
    first = next(step for step, record in enumerate(whole.history_) if record.gap is not None)
    model = SoftmaxRegression(tol=1e-9, keep_on_interrupt=True)
    for step, said in ((first - 1, "no bound of the gap is known yet"), (first, "relative duality gap")):
        with pytest.warns(ConvergenceWarning, match=said):
            model.set_params(callbacks=[Interrupts(step)]).fit(X, y)
        assert (model.duality_gap_ is None) == (step < first)
    assert model.objective_ - model.duality_gap_ <= whole.objective_ <= model.objective_


def test_otherwise_it_is_raised_and_nothing_changes():
    X, y = dataset("wine")
    model = SoftmaxRegression().fit(X, y)
    before = model.coef_.tobytes()
    model.set_params(callbacks=[Interrupts(2)], C=0.01)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    model.set_params(keep_on_interrupt=True)
    for call in (
        lambda: model.set_params(callbacks=[Interrupts(2)]).partial_fit(X, y),
        lambda: model.set_params(callbacks=[Interrupts(2)]).fit_path(X, y, [0.1, 1.0]),
        lambda: model.set_params(class_weight=Impatient()).fit(X, y),  # before the first point
    ):
        with pytest.raises(KeyboardInterrupt):
            call()
        assert model.coef_.tobytes() == before


class Impatient(dict):
    def __bool__(self):
        raise KeyboardInterrupt

    __len__ = items = __contains__ = __getitem__ = __iter__ = __bool__


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
def test_a_checkpoint_stays_and_the_next_fit_goes_on(solver, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "TIME_FRACTION", np.inf)
    X, y = dataset("digits")
    options = {"solver": solver, "C": 100.0, "tol": 1e-9}
    whole = SoftmaxRegression(**options).fit(X, y)
    model = SoftmaxRegression(**options, checkpoint=tmp_path / "state", keep_on_interrupt=True)
    reached = 0
    for step in (3, 2):  # the second goes on from the first, whose last state was that before its last step
        with pytest.warns(ConvergenceWarning, match="interrupted"):
            model.set_params(callbacks=[Interrupts(step)]).fit(X, y)
        assert (tmp_path / "state").exists()
        reached += step if reached == 0 else step - 1
        records = [each.objective for each in model.history_]
        assert records == [each.objective for each in whole.history_[: len(records)]]
        assert model.n_iter_[0] == len(records) - 1 == reached
    model.set_params(callbacks=None).fit(X, y)
    assert not (tmp_path / "state").exists()
    np.testing.assert_array_equal(model.coef_, whole.coef_)


def test_it_is_no_part_of_a_model(tmp_path):
    model = SoftmaxRegression(keep_on_interrupt=True).fit(*dataset("iris"))
    assert clone(model).keep_on_interrupt
    model.save(tmp_path / "m")
    assert not SoftmaxRegression.load(tmp_path / "m").keep_on_interrupt
    with pytest.raises(ValueError, match="keep_on_interrupt"):
        SoftmaxRegression(keep_on_interrupt="yes").fit(*dataset("iris"))


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX systems send them")
def test_a_real_interrupt_at_any_moment():
    """After the first record, whatever the fit was doing, records and point belong together."""
    assert threading.current_thread() is threading.main_thread()
    X, y = dataset("digits")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = np.random.default_rng(0)
    kept = 0
    try:
        for _ in range(20):
            begun, delay = threading.Event(), 0.2 * rng.random()
            model = SoftmaxRegression(
                C=1e4, tol=1e-14, keep_on_interrupt=True, callbacks=[lambda record, on=begun: on.set()]
            )

            def send(on=begun, seconds=delay):
                on.wait()
                time.sleep(seconds)
                _thread.interrupt_main()

            sender = threading.Thread(target=send)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                sender.start()
                try:
                    model.fit(X, y)
                    sender.join()
                except KeyboardInterrupt:  # after the minimisation
                    continue
            if "interrupted" in str(caught[-1].message if caught else ""):
                kept += 1
                assert model.objective_ == pytest.approx(model.history_[-1].objective, rel=1e-12)
                assert model.objective_ == pytest.approx(objective_of(model, X, y, 1e4), rel=1e-9)
    finally:
        sender.join()
        signal.signal(signal.SIGINT, before)
    assert kept > 5
