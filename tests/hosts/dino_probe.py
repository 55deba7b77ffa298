"""The probe of DINOv2 and DINOv3's evaluation: 45 C from 1e-6 to 1e5 in float64, tol 1e-12, 1000 iterations.

On embeddings that are drawn, of unit length. Its grid, tolerance and number of iterations are those of the
public evaluation; each C is scored on held-out rows, and the best is fitted again on all of them.
"""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegression

from fastsoftmax import SoftmaxRegression

CALL = (
    "LogisticRegression(C=C, tol=1e-12, max_iter=1000) for 45 C, 1e-6 to 1e5; float64, 1000 x 64, 10 classes"
)
OURS = SoftmaxRegression
N, D, K = 1000, 64, 10
POWERS = np.linspace(-6, 5, 45)
KIND = LogisticRegression


def data():
    """Return embeddings and labels to fit, and others to score."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, 2 * N)
    X = 0.25 * rng.normal(size=(K, D))[y] + rng.normal(size=(2 * N, D))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return X[:N], y[:N], X[N:], y[N:]


@contextlib.contextmanager
def in_place(kind):
    """Fit this class; None for scikit-learn's."""
    global KIND
    KIND = LogisticRegression if kind is None else kind
    try:
        yield
    finally:
        KIND = LogisticRegression


def fit(X, y):
    """Return the best model, fitted again, and what was warned of."""
    train = np.arange(len(y)) % 5 != 0
    warned, best = 0, (-1.0, 0.0)
    for C in 10.0**POWERS:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = KIND(C=C, tol=1e-12, max_iter=1000).fit(X[train], y[train])
        warned += len(said)
        best = max(best, (float(model.score(X[~train], y[~train])), -C))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return KIND(C=-best[1], tol=1e-12, max_iter=1000).fit(X, y), warned


def scores(fitted, X, y):
    """Return the accuracy on other rows, the C that was chosen, and how many warnings 45 fits gave."""
    model, warned = fitted
    return {"accuracy": model.score(X, y), "C": model.C, "warnings": warned}
