"""Predictions under scikit-learn's array_api_dispatch: arrays of the namespace of the rows where it is on."""

import importlib.util
import warnings

import numpy as np
import pytest
import sklearn

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset

METHODS = "decision_function", "predict", "predict_proba", "predict_log_proba"


class Other:
    """A library of arrays that is here always: its namespace has what hands results back, and no more."""

    class Array:
        """An array of it."""

        def __init__(self, rows):
            self.rows = rows

        def __dlpack__(self, **options):
            return self.rows.__dlpack__(**options)

        def __dlpack_device__(self):
            return self.rows.__dlpack_device__()

        def __array__(self, dtype=None, copy=None):
            return np.array(self.rows, dtype=dtype)

        def __array_namespace__(self, api_version=None):
            return Other

        shape = property(lambda self: self.rows.shape)
        device = "cpu"

    @staticmethod
    def asarray(rows, device=None):
        """Return an array of this library."""
        return Other.Array(rows)


@pytest.fixture(autouse=True)
def _allowed(monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # scikit-learn refuses to dispatch without


@pytest.fixture(params=["other", "torch", "array_api_strict"])
def xp(request):
    """A library."""
    return Other if request.param == "other" else pytest.importorskip(request.param)


def _fitted(names=None):
    X, y = dataset("iris")
    X = X.copy()  # PyTorch warns of what cannot be written
    return X, SoftmaxRegression().fit(X, y if names is None else np.array(names)[y])


@pytest.mark.parametrize("method", METHODS)
def test_results_are_of_the_rows_library_where_dispatch_is_on(xp, method):
    X, model = _fitted()
    rows = xp.asarray(X)
    wanted = getattr(model, method)(X)
    assert type(getattr(model, method)(rows)) is np.ndarray
    with sklearn.config_context(array_api_dispatch=True):
        got = getattr(model, method)(rows)
        assert type(getattr(model, method)(X)) is np.ndarray
        assert model.score(rows, model.predict(rows)) == 1.0
    assert type(got) is type(rows)
    np.testing.assert_array_equal(np.asarray(got), wanted)


def test_top_classes_and_labels_of_text(xp):
    X, model = _fitted(["x", "y", "z"])
    with sklearn.config_context(array_api_dispatch=True):
        labels, proba = model.predict_top_k(xp.asarray(X), 2)
    assert type(labels) is np.ndarray
    assert type(proba) is type(xp.asarray(X))


def test_frames_and_lists_are_answered_in_numpys_arrays():
    X, model = _fitted()
    rows = [X.tolist()]
    for library, table in (("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "table")):
        if importlib.util.find_spec(library) is not None:
            rows.append(
                getattr(importlib.import_module(library), table)({f"x{j}": X[:, j] for j in range(4)})
            )
    with sklearn.config_context(array_api_dispatch=True), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the fit had no names
        for each in rows:
            np.testing.assert_array_equal(model.predict(each), model.predict(X))
