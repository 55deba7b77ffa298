"""Small real problems for the classifier, and its objective in plain NumPy."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import scipy.sparse as sp
from scipy.special import expit, logsumexp
from sklearn import datasets
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler


@functools.cache
def dataset(name):
    """Rows and labels of one of scikit-learn's embedded sets: standardised, digits scaled to [0, 1]."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = X / 16 if name == "digits" else StandardScaler().fit_transform(X)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def mean_loss(X, target, coef, intercept, weight=None):
    """Weighted mean cross-entropy in float64; one row of coefficients is the binary model."""
    X = X.toarray() if sp.issparse(X) else np.asarray(X)
    z = X.astype(np.float64) @ np.asarray(coef, dtype=np.float64).T + np.asarray(intercept, dtype=np.float64)
    z = np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z
    target = np.asarray(target)
    p = np.eye(z.shape[1])[target] if target.ndim == 1 else target
    losses = (p * (logsumexp(z, axis=1, keepdims=True) - z)).sum(axis=1)
    return np.average(losses, weights=weight)


def objective(X, target, coef, intercept, C=1.0, weight=None):
    """F = Σ w l / Σ w + ‖coef‖² / (2 C Σ w)."""
    total = X.shape[0] if weight is None else np.sum(weight)
    penalty = 0 if np.isinf(C) else np.sum(np.asarray(coef, dtype=np.float64) ** 2) / (2 * C * total)
    return mean_loss(X, target, coef, intercept, weight) + penalty


def objective_of(model, X, target, C=1.0, weight=None):
    """F at what a classifier, ours or scikit-learn's, has found."""
    return objective(X, target, model.coef_, model.intercept_, C, weight)


def reference(X, y, weight=None, **options):
    """scikit-learn's classifier at its most exact."""
    model = LogisticRegression(solver="newton-cg", tol=1e-10, max_iter=500, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its line search may give up at the last digits
        return model.fit(X, y, sample_weight=weight)


def tfidf(archive, part, dtype=np.float32):
    """Term counts times idf, rows of length one."""
    names = ("data", "indices", "indptr")
    counts = sp.csr_array(tuple(archive[f"{part}_{n}"] for n in names), shape=tuple(archive[f"{part}_shape"]))
    A = sp.csr_array(counts.astype(dtype) @ sp.diags_array(archive["idf"].astype(dtype)))
    length = np.sqrt(np.asarray(A.multiply(A).sum(axis=1)).ravel())
    length[length == 0] = 1
    return sp.csr_array(sp.diags_array(1 / length) @ A).astype(dtype)


def multilabel(n=201, d=7, k=3):
    """Rows with any number of labels each, not separable."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(n, d))
    return X, (rng.random((n, k)) < expit(X @ rng.normal(size=(d, k)))).astype(int)
