"""Law: a row of counts is as many rows of one label each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastsoftmax import SoftmaxRegression


def problem(n_classes):
    rng = np.random.default_rng(n_classes)
    X = rng.normal(size=(40, 3))
    Y = rng.poisson(np.exp(0.7 * X @ rng.normal(size=(3, n_classes))))
    Y[3] = 0  # no row at all
    Y[5] = 1
    rows, codes = np.nonzero(Y)
    times = Y[rows, codes]
    return X, Y, X[np.repeat(rows, times)], np.repeat(codes, times)


@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"multi_class": "ovr"}])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_counts_are_repeated_rows(n_classes, options):
    X, Y, repeated, codes = problem(n_classes)
    names = ["oats", "barley", "wheat"][:n_classes]
    options = {"C": 2.0, "tol": 1e-12, **options}
    of_counts = SoftmaxRegression(**options).fit(X, pd.DataFrame(Y.astype(float), columns=names))
    of_rows = SoftmaxRegression(**options).fit(repeated, codes)
    np.testing.assert_allclose(of_counts.coef_, of_rows.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(of_counts.objective_, of_rows.objective_, rtol=1e-9)
    assert of_counts.classes_.tolist() == names


def test_weights_multiply_counts():
    X, Y, *_ = problem(3)
    weight = np.arange(40) % 3
    one, other = (
        SoftmaxRegression(tol=1e-12).fit(X, Y, weight),
        SoftmaxRegression(tol=1e-12).fit(X, Y * weight[:, np.newaxis]),
    )
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-6, atol=1e-7)


def test_inference_on_counts():
    X, Y, repeated, codes = problem(3)
    model = SoftmaxRegression(C=np.inf, tol=1e-13).fit(X, Y)
    one, other = model.inference(X, Y), model.inference(repeated, codes)
    np.testing.assert_allclose(one.cov, other.cov, rtol=1e-9)
    np.testing.assert_allclose([one.loglik, one.bic], [other.loglik, other.bic])
    assert one.nobs == len(repeated) == Y.sum()


def test_what_is_no_count_is_refused():
    X, Y, *_ = problem(3)
    for matrix, message in (
        (np.minimum(Y, 1), r'each row of probabilities must sum to 1.*loss="sigmoid"'),
        (Y + 0.5, r"y must hold numbers in \[0, 1\]"),
        (Y - 1, r"y must hold numbers in \[0, 1\]"),
        (np.where(Y > 2, np.inf, Y), r"y must hold numbers in \[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=message):
            SoftmaxRegression().fit(X, matrix)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        SoftmaxRegression(loss="sigmoid").fit(X, Y)
