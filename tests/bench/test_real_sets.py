"""Law: on real data of the size that users have, the certified optimum is the optimum."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax import SoftmaxRegression
from tests.problems import mean_loss, tfidf

pytestmark = pytest.mark.data

# F* of the first 10,000 training rows, pixels / 255 in float64, C = 1: scikit-learn 1.9.1, lbfgs (tol 1e-7,
# 1551 iterations), then newton-cg to a largest gradient component of 5e-10. Digits beyond these are noise.
FASHION_MNIST = 0.2811453457
# F of all training rows, TF-IDF in float64, C = 10: scikit-learn 1.9.1, lbfgs, tol 1e-7, 218 iterations.
# It is an upper bound of F*.
NEWSGROUPS = 0.355125504496


def reached(model, X, y, C):
    """F in float64 at what the model found."""
    logits = X @ model.coef_.astype(np.float64).T  # 130,107 columns: never dense
    loss = mean_loss(logits, y, np.eye(logits.shape[1]), model.intercept_)
    return loss + np.sum(model.coef_.astype(np.float64) ** 2) / (2 * C * len(y))


def check(model, X, y, C, best):
    """The model is at the reference, knows it, and can prove it."""
    value = reached(model, X, y, C)
    assert value <= best * (1 + 1e-6)
    assert model.objective_ == pytest.approx(value, rel=1e-6)  # its sums of products are in single
    assert model.duality_gap_ <= 1e-6 * model.objective_


def test_fashion_mnist(data_dir):
    with np.load(data_dir / "fashion_mnist.npz") as archive:
        X, y = archive["X_train"][:10_000] / np.float32(255), archive["y_train"][:10_000].astype(np.int64)
        X_test, y_test = archive["X_test"] / np.float32(255), archive["y_test"]
    assert X.dtype == np.float32
    model = SoftmaxRegression().fit(X, y)
    check(model, X.astype(np.float64), y, 1.0, FASHION_MNIST)
    assert model.score(X_test, y_test) > 0.82


def test_newsgroups(data_dir):
    with np.load(data_dir / "newsgroups20.npz") as archive:
        X, X_test = tfidf(archive, "train"), tfidf(archive, "test")
        y, y_test = archive["y_train"].astype(np.int64), archive["y_test"]
    model = SoftmaxRegression(C=10).fit(X, y)
    check(model, X.astype(np.float64), y, 10, NEWSGROUPS)
    assert model.score(X_test, y_test) > 0.82
