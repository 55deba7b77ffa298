"""causalml's propensity model: an elastic net of four C, four ratios and four folds, by saga."""

from __future__ import annotations

import contextlib

import causalml.propensity
import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from fastsoftmax import SoftmaxRegressionCV

CALL = "ElasticNetPropensityModel().fit(X, treatment), LogisticRegressionCV of 4 C x 4 l1_ratio x 4 folds"
OURS = SoftmaxRegressionCV
N, D = 4000, 30


def data():
    """Return rows and treatments to fit, and others to score."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * N, D))
    z = X[:, :5] @ np.array([0.8, -0.5, 0.4, 0.3, -0.2]) - 0.3
    w = (z + rng.logistic(size=2 * N) > 0).astype(int)
    return X[:N], w[:N], X[N:], w[N:]


@contextlib.contextmanager
def in_place(kind):
    """Let causalml find this class under the name of LogisticRegressionCV; None for its own."""
    own = causalml.propensity.LogisticRegressionCV
    causalml.propensity.LogisticRegressionCV = own if kind is None else kind
    try:
        yield
    finally:
        causalml.propensity.LogisticRegressionCV = own


def fit(X, w):
    """Return the fitted model."""
    model = causalml.propensity.ElasticNetPropensityModel(calibrate=False)
    model.fit(X, w)
    return model


def scores(model, X, w):
    """Return scores of other rows, and the choice."""
    p = model.predict(X)
    return {
        "log_loss": log_loss(w, p), "auc": roc_auc_score(w, p), "C": float(np.ravel(model.model.C_)[0]),
        "l1_ratio": float(np.ravel(model.model.l1_ratio_)[0]),
        "zeros": int((np.asarray(model.model.coef_) == 0.0).sum()),
    }  # fmt: skip
