"""Law: arrays of other libraries in host memory are read where they are, and results are of their kind."""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV, devices
from tests.problems import dataset


class Exchanged:
    """An array that others see through DLPack alone."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Namespaced(Exchanged):
    """One with a namespace of the array API."""

    def __array_namespace__(self, api_version=None):
        return self

    def asarray(self, values):
        return Namespaced(np.asarray(values))


def test_they_are_read_where_they_are():
    X = np.ones((3, 2))
    found = devices.guest("X", Exchanged(X))
    assert np.shares_memory(found.array, X)
    assert devices.hosted("X", X) is X
    for other in ([1.0], 1.0, X, X[0, 0], None, "text"):
        assert devices.guest("X", other) is None


@pytest.mark.parametrize("call", [fastsoftmax.softmax, fastsoftmax.log_softmax, fastsoftmax.logsumexp])
def test_results_are_of_their_kind(call):
    x = np.random.default_rng(0).normal(size=(4, 6))
    assert isinstance(call(Exchanged(x), axis=1), np.ndarray)
    result = call(Namespaced(x), axis=1)
    assert isinstance(result, Namespaced)
    np.testing.assert_array_equal(result.array, call(x, axis=1))


def test_every_argument_may_be_one():
    X, y = dataset("wine")
    weight = np.arange(len(y)) + 1.0
    model = SoftmaxRegression().fit(Exchanged(X), Exchanged(y), Exchanged(weight))
    np.testing.assert_array_equal(model.coef_, SoftmaxRegression().fit(X, y, weight).coef_)
    np.testing.assert_array_equal(model.predict_proba(Exchanged(X)), model.predict_proba(X))
    assert model.score(Exchanged(X), y) == model.score(X, y)
    options = {"Cs": [0.1], "cv": 2, "use_legacy_attributes": False, "tol": 1e-2}
    validated = SoftmaxRegressionCV(**options).fit(Exchanged(X), Exchanged(y), Exchanged(weight))
    np.testing.assert_array_equal(validated.coef_, SoftmaxRegressionCV(**options).fit(X, y, weight).coef_)
    z, targets = X[:, :3], np.eye(3)[y]
    for loss, target in (("cross_entropy", y), ("sigmoid_cross_entropy", targets)):
        call = getattr(fastsoftmax, loss)
        assert call(Exchanged(z), Exchanged(target)) == call(z, target)
    scaled = fastsoftmax.logsumexp(z, axis=1, b=Exchanged(np.arange(3.0)))
    np.testing.assert_array_equal(scaled, fastsoftmax.logsumexp(z, axis=1, b=np.arange(3.0)))
    both = fastsoftmax.linear_cross_entropy(Exchanged(X), Exchanged(np.ones((3, 13))), Exchanged(y))
    assert both == fastsoftmax.linear_cross_entropy(X, np.ones((3, 13)), y)


def test_what_cannot_be_read_says_so():
    class Broken(Exchanged):
        def __dlpack__(self, **options):
            raise BufferError("it is sparse")

    class Nowhere(Broken):
        def __dlpack_device__(self):
            raise ValueError("unknown device")

    for kind in (Broken, Nowhere):
        message = rf"x: no array of numbers can be made of {kind.__name__} \(it is sparse\)"
        with pytest.raises(TypeError, match=message):
            fastsoftmax.softmax(kind(np.ones(3)))


def test_rows_of_bfloat16_are_those_of_float32():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    X, y = dataset("wine")
    narrow = X.astype(ml_dtypes.bfloat16)
    model = SoftmaxRegression().fit(narrow, y)
    same = SoftmaxRegression().fit(narrow.astype(np.float32), y)
    np.testing.assert_array_equal(model.coef_, same.coef_)
    np.testing.assert_array_equal(model.predict(narrow), same.predict(narrow.astype(np.float32)))
