"""Law: a fit that is stopped, however often and wherever, ends with the bits of one that is not."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.contracts import State
from fastsoftmax.persistence import checkpoint as checkpoints
from tests.problems import dataset

KILLS = int(os.environ.get("FASTSOFTMAX_KILLS", "3"))
KILLED = 1 if sys.platform == "win32" else -9
THREADS = (1, 2, 4)
# What stands in the state, and what it leads to, differs with the form of the preconditioner.
KINDS = {
    "full": lambda: (*dataset("iris"), {}),
    "block diagonal": lambda: (*dataset("digits"), {"C": 30.0}),
    "one logit": lambda: (*dataset("breast_cancer"), {"C": 100.0}),
    "kronecker": lambda: (*drawn(450, 400, 80), {}),
    "diagonal": lambda: (sp.csr_array(drawn(300, 2500, 4, share=0.02)[0]), drawn(300, 2500, 4)[1], {}),
    "row space": lambda: (*drawn(90, 300, 4), {"C": 10.0}),
    "float64 products": lambda: (dataset("digits")[0].astype(np.float32), dataset("digits")[1], {"C": 10.0}),
    "no penalty": lambda: (*drawn(900, 30, 10), {"C": np.inf}),
    "soft labels": lambda: (drawn(200, 5, 3)[0].astype(np.float32), soft(), {}),
    "liblinear": lambda: (*dataset("breast_cancer"), {"solver": "liblinear"}),
    "newton-cg": lambda: (*dataset("digits"), {"solver": "newton-cg", "C": 1e3}),
    "absolute values": lambda: (*drawn(300, 400, 3), {"l1_ratio": 0.9, "C": 0.3}),
    "groups": lambda: (*dataset("wine"), {"l1_ratio": 0.9, "group_classes": True, "standardize": True}),
}
DEEP = {"tol": 1e-12}


class StoppedError(Exception):
    """The end of a fit before its time."""


def drawn(n, d, k, share=1.0):
    rng = np.random.default_rng(2)
    X = np.where(rng.random((n, d)) < share, rng.normal(size=(n, d)), 0.0)
    return X, rng.integers(0, k, n) if n < 4 * k else np.arange(n) % k


def soft():
    p = np.random.default_rng(4).random((200, 3)) ** 3
    return p / p.sum(axis=1, keepdims=True)


@pytest.fixture
def at_every_step(monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "TIME_FRACTION", np.inf)


def stopping(after):
    """A callback that raises at its `after`-th record."""
    seen = []

    def callback(record):
        seen.append(record)
        if len(seen) == after:
            raise StoppedError

    return callback


def stopped(model, X, y, after, **weights):
    with pytest.raises(StoppedError):
        model.set_params(callbacks=[stopping(after)]).fit(X, y, **weights)
    return model.set_params(callbacks=None)


def assert_same(model, other):
    assert model.coef_.tobytes() == other.coef_.tobytes()
    assert model.intercept_.tobytes() == other.intercept_.tobytes()
    for name in ("objective_", "duality_gap_", "n_iter_", "solver_"):
        assert getattr(model, name) == getattr(other, name), name
    assert [record[1:] for record in model.history_] == [record[1:] for record in other.history_]
    seconds = [record.seconds for record in model.history_]
    assert seconds == sorted(seconds)


@pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning"
)  # of what rounding leaves at 1e-12
@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_is_stopped_ends_with_the_same_bits(kind, at_every_step, tmp_path):
    X, y, options = KINDS[kind]()
    expected = SoftmaxRegression(**DEEP, **options).fit(X, y)
    path = tmp_path / "fit.safetensors"
    n_stops = 0
    while True:
        n_threads = THREADS[n_stops % len(THREADS)]
        model = SoftmaxRegression(**DEEP, **options, checkpoint=path, n_threads=n_threads)
        model.set_params(callbacks=[stopping(3 + n_stops % 6)])
        try:
            model.fit(X, y)
        except StoppedError:
            n_stops += 1
        else:
            break
    assert n_stops > 0
    assert_same(model, expected)
    assert list(tmp_path.iterdir()) == [], "a fit that has ended leaves nothing"


def test_finer_products_come_back(at_every_step, tmp_path):
    X, y, options = KINDS["float64 products"]()
    made = []

    class Noting(SoftmaxObjective):
        def in_float64(self):
            made.append(self)
            return super().in_float64()

    expected = SoftmaxRegression(**DEEP, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastsoftmax.estimator.fitting.SoftmaxObjective", Noting)
        expected.fit(X, y)
    assert made, "a case that float32 resolves proves nothing"
    last = len(expected.history_)
    model = SoftmaxRegression(**DEEP, **options, checkpoint=tmp_path / "fit")
    stopped(model, X, y, last - 1)
    assert_same(model.fit(X, y), expected)


def other_fits():
    X, y = dataset("wine")
    moved = X.copy()
    moved[17, 3] += 1e-9
    swapped = y.copy()
    swapped[[0, -1]] = swapped[[-1, 0]]
    weight = np.ones(len(y))
    weight[5] = 2.0
    return {
        "X": (moved, y, None, {}),
        "how X lies": (np.asfortranarray(X), y, None, {}),
        "fewer rows": (X[:-1], y[:-1], None, {}),
        "y": (X, swapped, None, {}),
        "names of classes": (X, y + 1, None, {}),
        "sample_weight": (X, y, weight, {}),
        "class_weight": (X, y, None, {"class_weight": {0: 2.0}}),
        "C": (X, y, None, {"C": 2.0}),
        "tol": (X, y, None, {"tol": 1e-7}),
        "max_iter": (X, y, None, {"max_iter": 7}),
        "solver": (X, y, None, {"solver": "newton-cg"}),
        "fit_intercept": (X, y, None, {"fit_intercept": False}),
    }


NAMED = {
    "how X lies": "X",
    "fewer rows": "X, y",
    "names of classes": "y",
    "sample_weight": "weights",
    "class_weight": "weights",
}


@pytest.mark.parametrize("what", other_fits())
def test_another_fit_does_not_go_on_from_it(what, at_every_step, tmp_path):
    path = tmp_path / "fit"
    stopped(SoftmaxRegression(checkpoint=str(path)), *dataset("wine"), 5)
    before = path.read_bytes()
    X, y, weight, options = other_fits()[what]
    model = SoftmaxRegression(checkpoint=str(path), **options)
    with pytest.raises(ValueError, match=rf"another fit: it had other {NAMED.get(what, what)}\b"):
        model.fit(X, y, sample_weight=weight)
    assert not hasattr(model, "coef_")
    assert path.read_bytes() == before


def test_another_penalty_is_another_fit(at_every_step, tmp_path):
    X, y = dataset("wine")
    options = {"checkpoint": tmp_path / "fit", "l1_ratio": 0.5, "penalty_weights": np.ones(13)}
    stopped(SoftmaxRegression(**options), X, y, 5)
    for name, other in (
        ("l1_ratio", {"l1_ratio": 0.6}), ("penalty_weights", {"penalty_weights": None}),
        ("group_classes", {"group_classes": True}),
        ("solver", {"l1_ratio": 0.0, "penalty_weights": None}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"another fit: it had other {name}"):
            SoftmaxRegression(**{**options, **other}).fit(X, y)


def test_another_start_is_another_fit(at_every_step, tmp_path):
    X, y = dataset("wine")
    model = SoftmaxRegression(C=0.1, warm_start=True).fit(X, y)
    model.set_params(C=1.0, checkpoint=tmp_path / "fit")
    stopped(model, X, y, 5)
    with pytest.raises(ValueError, match="starting point"):
        SoftmaxRegression(checkpoint=tmp_path / "fit").fit(X, y)
    model.fit(X, y)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["a model", "text", "cut short", "a bit flipped", "a folder"])
def test_a_file_that_is_no_checkpoint_is_left_alone(what, at_every_step, tmp_path):
    X, y = dataset("wine")
    path = tmp_path / "fit"
    model = SoftmaxRegression(checkpoint=path)
    if what == "a model":
        SoftmaxRegression().fit(X, y).save(path)
    elif what == "text":
        path.write_text("label,1,2\n")
    elif what == "a folder":
        path.mkdir()
    else:
        content = bytearray(stopped(model, X, y, 5) and path.read_bytes())
        content[-9] ^= 4
        path.write_bytes(content[:-20] if what == "cut short" else content)
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(ValueError, match="fit"):
        model.fit(X, y)
    assert path.is_dir() or path.read_bytes() == before


def test_a_folder_that_is_not_there_is_said_before_the_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        stopped(SoftmaxRegression(checkpoint=tmp_path / "no" / "fit"), *dataset("iris"), 1)


def test_what_a_killed_writer_left_goes_away(tmp_path):
    left, other = tmp_path / ".fit.0123abcd.tmp", tmp_path / ".fit.more.0123abcd.tmp"
    left.touch()
    other.touch()
    SoftmaxRegression(checkpoint=tmp_path / "fit").fit(*dataset("iris"))
    assert list(tmp_path.iterdir()) == [other]


def test_no_file_for_a_short_fit_and_none_for_others(tmp_path):
    X, y = dataset("iris")
    model = SoftmaxRegression(checkpoint=tmp_path / "fit")
    stopped(model, X, y, 6)  # ten seconds have not passed
    assert list(tmp_path.iterdir()) == []
    model.partial_fit(X, y, classes=[0, 1, 2])
    model.fit_path(X, y, [1.0, 2.0])
    assert list(tmp_path.iterdir()) == []


def test_a_model_file_does_not_hold_the_path(tmp_path):
    model = SoftmaxRegression(checkpoint=tmp_path / "fit").fit(*dataset("iris"))
    model.save(tmp_path / "model")
    assert SoftmaxRegression.load(tmp_path / "model").checkpoint is None


def test_how_often_it_is_written(tmp_path, monkeypatch, caplog):
    now, asked = 0.0, []
    monkeypatch.setattr(checkpoints, "time", SimpleNamespace(perf_counter=lambda: now))
    checkpoint = checkpoints.FitCheckpoint(tmp_path / "fit", {"X": "0"}, "library 1")
    assert checkpoint.state() is None
    cost = 0.0

    def state():
        nonlocal now
        asked.append(now)
        now += cost
        return State({"n": len(asked)}, {"x": np.arange(3.0)})

    for _ in range(int(3.5 * checkpoints.SECONDS)):
        now += 1.0
        checkpoint.offer(state)
    assert asked == [checkpoints.SECONDS * k for k in (1, 2, 3)]
    with caplog.at_level(logging.WARNING):
        kept = checkpoints.FitCheckpoint(tmp_path / "fit", {"X": "0"}, "library 1").state()
        assert caplog.messages == []
        checkpoints.FitCheckpoint(tmp_path / "fit", {"X": "0"}, "library 2")
    (message,) = caplog.messages
    assert "written by other kernels (library 1) than go on with it (library 2)" in message
    assert kept.numbers == {"n": 3}
    np.testing.assert_array_equal(kept.arrays["x"], np.arange(3.0))
    # a slow disk is written to less often
    cost = 2.0
    for _ in range(int(10 * cost / checkpoints.TIME_FRACTION)):
        now += 1.0
        checkpoint.offer(state)
    gaps = np.diff(asked[4:])
    assert len(gaps) > 5
    assert np.all(gaps >= cost / checkpoints.TIME_FRACTION)


CHILD = """
    import sys, time
    from fastsoftmax import SoftmaxRegression
    from fastsoftmax.persistence import checkpoint as checkpoints
    from tests.problems import dataset

    checkpoints.SECONDS, checkpoints.TIME_FRACTION = 0.0, float("inf")

    def slowly(record):
        print(record.passes, flush=True)
        time.sleep(0.01)

    X, y = dataset("digits")
    model = SoftmaxRegression(C=1e3, tol=1e-10, callbacks=[slowly], checkpoint=sys.argv[1])
    model.fit(X, y).save(sys.argv[2])
"""


def test_killed_at_random_it_ends_with_the_same_bits(tmp_path):
    # FASTSOFTMAX_KILLS=50 for as many as a release is tried with
    expected = SoftmaxRegression(C=1e3, tol=1e-10).fit(*dataset("digits"))
    rng = np.random.default_rng()
    folder, model = tmp_path / "folder", tmp_path / "model"
    folder.mkdir()
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(folder / "fit"), str(model)]
    n_kills = n_ends = 0
    while n_kills < KILLS or n_ends == 0:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            first = child.stdout.readline()  # it is at work
            assert first
            if n_kills < KILLS:
                time.sleep(rng.uniform(0.0, 0.15))
                child.kill()
                n_kills += child.wait() == KILLED
            else:
                child.communicate(timeout=120)
        assert child.returncode in (0, KILLED), "it failed by itself"
        if child.returncode == 0:
            n_ends += 1
            assert_same(SoftmaxRegression.load(model), expected)
            assert list(folder.iterdir()) == []
            model.unlink()
