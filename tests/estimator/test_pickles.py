"""Law: a pickle of an earlier version finds what it refers to, and a model that comes back is the same."""

from __future__ import annotations

import pickle
import pickletools

import numpy as np
import pytest

from fastsoftmax import SoftmaxRegression
from fastsoftmax.contracts import Record
from tests.problems import dataset

# What pickles of version 0.1.0 name, as they name it (pickle's oldest protocol is text).
NAMES = {
    b"cfastsoftmax.estimator\nSoftmaxRegression\n.": SoftmaxRegression,
    b"cfastsoftmax.contracts\nRecord\n.": Record,
}


@pytest.mark.parametrize("text", NAMES)
def test_names_of_an_earlier_version(text):
    assert pickle.loads(text) is NAMES[text]


def test_an_estimator_of_an_earlier_version():
    """Its state, and its history of records, under the names of then."""
    X, y = dataset("iris")
    model = SoftmaxRegression().fit(X, y)
    now, then = b"fastsoftmax.estimator.softmax_regression", b"fastsoftmax.estimator"
    records, before = b"fastsoftmax.contracts.values", b"fastsoftmax.contracts"
    text = pickle.dumps(model, protocol=0)  # lines, whose lengths are written nowhere
    old = text.replace(now + b"\n", then + b"\n").replace(records + b"\n", before + b"\n")
    assert old != text
    again = pickle.loads(old)
    assert again.history_ == model.history_
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    again.set_params(C=10.0).fit(X, y)


def test_a_pickle_holds_no_rows():
    X, y = dataset("breast_cancer")
    text = pickle.dumps(SoftmaxRegression().fit(X, y))
    assert len(text) < X.nbytes / 4
    globals_ = {argument for _, argument, _ in pickletools.genops(text) if isinstance(argument, str)}
    assert {name for name in globals_ if name.startswith("fastsoftmax")} == {
        "fastsoftmax.contracts.values",
        "fastsoftmax.estimator.softmax_regression",
    }
