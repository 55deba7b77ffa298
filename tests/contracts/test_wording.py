"""Law: no message shows how NumPy wraps a value."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax import SoftmaxObjective, SoftmaxRegression, plot
from fastsoftmax.contracts.wording import shown

X, Y = np.eye(4), np.array([0, 1, 2, 2])
Z = np.zeros((4, 3))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.str_("a"), "'a'"),
        (np.int64(-3), "-3"),
        (np.float32(0.5), "0.5"),
        (np.longdouble(2), "2.0"),
        (np.bool_(True), "True"),
        (np.bytes_(b"x"), "b'x'"),
        (np.datetime64("2026-01-02"), "'2026-01-02'"),
        ([np.float64(1e-6), None, "b"], "[1e-06, None, 'b']"),
        ((np.int8(1),), "(1,)"),
        ({np.str_("a")}, "{'a'}"),
        ({np.str_("a"): [np.int64(1)]}, "{'a': [1]}"),
        (np.array(["a", "b"]), "['a', 'b']"),
        (np.array([np.str_("a"), np.int64(3)], dtype=object), "['a', 3]"),
        (1e-6, "1e-06"),
        (object, "<class 'object'>"),
    ],
)
def test_shown(value, text):
    assert shown(value) == text


def fit(y=Y, **options):
    return SoftmaxRegression(**options).fit(X, y)


REFUSED = {
    "one class": lambda: fit(np.array(["a"] * 4)),
    "one class, objects": lambda: fit(np.array([np.str_("a")] * 4, dtype=object)),
    "l1_ratio": lambda: fit(l1_ratio=0.5, penalty_weights=[np.float64(-1.0), 1.0]),
    "Cs": lambda: SoftmaxRegression().fit_path(X, Y, [np.float64(-1.0)]),
    "k": lambda: fit().predict_top_k(X, np.int64(9)),
    "classes": lambda: fit(np.array(list("abcc"))).partial_fit(X, list("abcc"), [np.str_("a"), np.str_("z")]),
    "unknown": lambda: SoftmaxRegression().partial_fit(
        X, np.array([np.str_("d")] * 4, dtype=object), classes=["a", "b"]
    ),
    "l2": lambda: SoftmaxObjective(X, Y, l2=np.float64(-1)),
    "label_smoothing": lambda: SoftmaxObjective(X, Y, label_smoothing=np.float32(2)),
    "loss": lambda: SoftmaxObjective(X, Y, loss=np.str_("hinge")),
    "device": lambda: SoftmaxObjective(X, Y, device=np.str_("tpu")),
    "n_threads": lambda: SoftmaxObjective(X, Y, n_threads=np.int64(0)),
    "l2 of several": lambda: SoftmaxObjective(X, Y).values_and_grads(np.zeros((1, 15)), [np.float64(-1)]),
    "ignore_index": lambda: fastsoftmax.cross_entropy(Z, Y, ignore_index=np.float64(1)),
    "reduction": lambda: fastsoftmax.cross_entropy(Z, Y, reduction=np.str_("max")),
    "smoothing": lambda: fastsoftmax.cross_entropy(Z, Y, label_smoothing=np.float64(2)),
    "z_loss": lambda: fastsoftmax.cross_entropy(Z, Y, z_loss=np.float64(np.inf)),
    "softcap": lambda: fastsoftmax.cross_entropy(Z, Y, softcap=np.float64(-1)),
    "target": lambda: fastsoftmax.cross_entropy(Z, np.array([0, 1, 2, 9])),
    "weights": lambda: fastsoftmax.linear_cross_entropy(X, np.ones((3, 4)), Y, sample_weight=[1e-310] * 4),
    "wrt": lambda: fastsoftmax.linear_cross_entropy_value_and_grad(X, np.ones((3, 4)), Y, wrt=[np.str_("Z")]),
    "executor": lambda: fastsoftmax.set_executor(np.str_("gpu")),
    "labels in a picture": lambda: plot.reliability(fit(), X, np.array([np.str_("q")] * 4, dtype=object)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_no_message_shows_numpy(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((ValueError, TypeError)) as refusal:
            REFUSED[name]()
    assert "np." not in str(refusal.value), str(refusal.value)
    assert "dtype=object" not in str(refusal.value), str(refusal.value)
