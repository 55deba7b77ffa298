"""Tables of coefficients: each number stands under its feature, beside its class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError

from fastsoftmax import SoftmaxRegression

pd = pytest.importorskip("pandas")


def test_to_frame_holds_coefficients_by_name():
    """Rows are classes, columns features and the intercept; two classes have the row of the second."""
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = np.array(["b", "a", "c"])
    model = SoftmaxRegression().fit(X, names[y])
    frame = model.to_frame()
    assert list(frame.index) == ["a", "b", "c"]
    assert list(frame.columns) == [*X.columns, "intercept"]
    np.testing.assert_array_equal(frame.to_numpy(), np.column_stack([model.coef_, model.intercept_]))
    binary = SoftmaxRegression().fit(X.to_numpy(), y == 2).sparsify().to_frame()
    assert list(binary.index) == [True]
    assert list(binary.columns) == ["x0", "x1", "x2", "x3", "intercept"]
    frame.iloc[0, 0] += 1.0
    assert frame.iloc[0, 0] != model.coef_[0, 0]  # the table is a copy


def test_to_frame_of_nothing():
    """A model that is not fitted has no table."""
    with pytest.raises(NotFittedError):
        SoftmaxRegression().to_frame()
