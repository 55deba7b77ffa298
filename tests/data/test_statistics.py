"""The centre of columns that are far from zero, in every storage."""

import numpy as np
import pytest
import scipy.sparse

from fastsoftmax.contracts import Halves
from fastsoftmax.data import statistics, validation


def rows_of(X, storage):
    if storage == "sparse":
        return validation.design_matrix(scipy.sparse.csr_matrix(X))
    return validation.design_matrix(np.asfortranarray(X) if storage == "Fortran order" else X)


@pytest.mark.parametrize("storage", ["dense", "Fortran order", "sparse"])
@pytest.mark.parametrize("n_rows", [7, statistics.SAMPLE, 3 * statistics.SAMPLE + 1])
def test_centre_of_columns_that_are_far_from_zero(storage, n_rows):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.0, 1.0, (n_rows, 4)) + np.array([1e9, 0.0, 50.0, -1e4])
    centre = statistics.centre_of(rows_of(X, storage))
    np.testing.assert_array_equal(centre.columns, [0, 3])
    np.testing.assert_array_equal(centre.mean[[1, 2]], 0.0)
    deviation = 2.0 / np.sqrt(12.0)
    np.testing.assert_array_less(np.abs(centre.mean[[0, 3]] - [1e9, -1e4]), 1.0)
    np.testing.assert_allclose(np.sqrt(centre.variance), deviation, rtol=0.6)


def test_no_centre_of_columns_near_zero():
    X = np.random.default_rng(0).normal(size=(100, 3)) + 5.0
    assert statistics.centre_of(X) is None
    assert statistics.centre_of(validation.design_matrix(scipy.sparse.csr_matrix(X))) is None
    assert statistics.centre_of(np.zeros((4, 2))) is None


def test_a_full_column_of_sparse_rows_is_found_and_none_is_told_from_a_few_rows(monkeypatch):
    rng = np.random.default_rng(1)
    X = np.where(rng.random((3000, 6)) < 0.3, rng.normal(size=(3000, 6)), 0.0)
    read = []
    taken = statistics.devices.taken_to_host
    monkeypatch.setattr(
        statistics.devices,
        "taken_to_host",
        lambda rows, places: read.append(len(places)) or taken(rows, places),
    )
    assert statistics.centre_of(rows_of(X, "sparse")) is None
    assert read == [statistics.FEW]
    X[:, 4] = rng.normal(size=3000) + 1e6
    np.testing.assert_array_equal(statistics.centre_of(rows_of(X, "sparse")).columns, [4])


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_standardised_indicator_of_few_rows_is_not_far_from_zero(order):
    """The sample may have none of these rows; a column that is constant in more rows, too, is far."""
    X = np.zeros((3000, 3), order=order)
    X[[1, 2, 1501], 1] = 1.0  # the sample is every sixth row
    X[:, 2] = 7.0
    X[:, 1] = (X[:, 1] - X[:, 1].mean()) / X[:, 1].std()
    np.testing.assert_array_equal(statistics.centre_of(X).columns, [2])
    assert statistics.centre_of(X[:, :2]) is None


def test_constant_columns_and_halves():
    halves = np.full((9, 2), 3.0, np.float16)
    halves[:, 1] = np.arange(9)
    centre = statistics.centre_of(Halves(halves.view(np.uint16)))
    np.testing.assert_array_equal(centre.mean, [3.0, 0.0])
    assert centre.variance[0] == 0.0


@pytest.mark.parametrize(
    ("mean", "deviation", "expected"), [(1e5, 10.0, True), (500.0, 1.0, True), (7.0, 0.0, False)]
)
def test_float64_where_float32_would_hide_the_deviation(mean, deviation, expected):
    X = mean + deviation * np.linspace(-2.0, 2.0, 100)[:, np.newaxis]
    assert statistics.needs_float64(statistics.centre_of(X)) == expected


def test_squares_that_overflow_are_no_reason_to_centre():
    X = np.array([[1e200], [-1e200], [3e200]])
    assert statistics.centre_of(X) is None
