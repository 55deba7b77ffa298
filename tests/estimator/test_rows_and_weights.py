"""Law: in every storage two classes are LogisticRegression's binary model, and a weight is so many rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset, multilabel, reference

TIGHT = 1e-13
C = 0.5
# F is below 2 and its curvature at least 1 / (C Σ w), Σ w < 270: a fit is within √(4 TIGHT C Σ w) = 8e-6 of
# the optimum.
AWAY = 2e-5


def wide_indices(X):
    """CSR with 64-bit indices."""
    A = sp.csr_array(X)
    return sp.csr_array((A.data, A.indices.astype(np.int64), A.indptr.astype(np.int64)), shape=A.shape)


STORAGES = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "csr": sp.csr_array,
    "csc": sp.csc_array,
    "csr64": wide_indices,
}


def problem(name):
    """Rows that are often zero, and their labels: those of two classes, or of more."""
    X, y = dataset("wine")
    X = np.where(np.abs(X) < 0.3, 0.0, X) + 0.0
    return X, (y == 1).astype(int) if name == "two" else y


def fit(X, y, weight=None, **options):
    return SoftmaxRegression(C=C, tol=TIGHT, **options).fit(X, y, sample_weight=weight)


def assert_same_optimum(model, other):
    """Coefficients and intercepts agree, but for a constant that all intercepts may have in common."""
    assert model.coef_.shape == other.coef_.shape
    np.testing.assert_allclose(model.coef_, other.coef_, rtol=0, atol=AWAY)
    shift = model.intercept_ - other.intercept_
    np.testing.assert_allclose(shift, shift.mean() if len(shift) > 1 else 0.0, rtol=0, atol=AWAY)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("storage", STORAGES)
def test_two_classes(storage, fit_intercept):
    X, y = problem("two")
    model = fit(STORAGES[storage](X), y, fit_intercept=fit_intercept)
    theirs = reference(X, y, C=C, fit_intercept=fit_intercept)
    assert model.coef_.shape == (1, X.shape[1])
    assert_same_optimum(model, theirs)
    np.testing.assert_allclose(model.predict_proba(X), theirs.predict_proba(X), atol=AWAY)


@pytest.mark.parametrize("name", ["two", "three"])
@pytest.mark.parametrize("storage", STORAGES)
def test_whole_weights_are_repeated_rows(storage, name):
    X, y = problem(name)
    times = np.arange(len(y)) % 4
    rows = np.repeat(np.arange(len(y)), times)
    store = STORAGES[storage]
    model = fit(store(X), y, times)
    assert_same_optimum(model, fit(store(X[rows]), y[rows]))
    assert_same_optimum(model, reference(X, y, weight=times, C=C))


@pytest.mark.parametrize("name", ["two", "three", "soft", "labels"])
@pytest.mark.parametrize("storage", STORAGES)
def test_a_row_of_weight_zero_is_not_there(storage, name):
    X, y = problem(name)
    options = {}
    if name == "soft":
        y = 0.7 * np.eye(3)[y] + 0.1
    elif name == "labels":
        options = {"loss": "sigmoid"}
        X, y = multilabel()
    weight = np.arange(len(y)) % 3 / 2
    kept = weight > 0
    store = STORAGES[storage]
    model = fit(store(X), y, weight, **options)
    assert_same_optimum(model, fit(store(X[kept]), y[kept], weight[kept], **options))
    # What stands in such rows is never read: not a bit of the model depends on it.
    other_X, other_y = X.copy(), y.copy()
    other_X[~kept] *= -1e6
    other_y[~kept] = other_y[~kept][::-1]
    other = fit(store(other_X), other_y, weight, **options)
    assert other.coef_.tobytes() == model.coef_.tobytes()
    assert other.intercept_.tobytes() == model.intercept_.tobytes()
    assert other.objective_ == model.objective_


@pytest.mark.parametrize("storage", ["C", "csr"])
def test_single_precision_drops_and_repeats_rows_too(storage):
    X, y = problem("three")
    X = X.astype(np.float32)
    times = np.arange(len(y)) % 4
    rows = np.repeat(np.arange(len(y)), times)
    store = STORAGES[storage]
    model = SoftmaxRegression(C=C).fit(store(X), y, sample_weight=times)
    other = SoftmaxRegression(C=C).fit(store(X[rows]), y[rows])
    # both are within 1e-6 of one optimum, and sums of 13 products in single err by less
    assert model.objective_ == pytest.approx(other.objective_, rel=2e-6)
