"""imodels' rule fit: an L1 path of up to a hundred C with five folds each, by LIBLINEAR, until 30 rules."""

from __future__ import annotations

import contextlib

import imodels.util.score
import numpy as np
from imodels import RuleFitClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from fastsoftmax import SoftmaxRegression

CALL = "RuleFitClassifier(max_rules=30).fit(X, y), LogisticRegression(penalty='l1') of 100 C x (1 + 5 folds)"
OURS = SoftmaxRegression


def data():
    """Return rows and labels to fit, and others to score."""
    X, y = load_breast_cancer(return_X_y=True)
    X_fit, X_test, y_fit, y_test = train_test_split(X, y, random_state=0)
    return X_fit, y_fit, X_test, y_test


@contextlib.contextmanager
def in_place(kind):
    """Let imodels find this class under the name of LogisticRegression; None for its own."""
    own = imodels.util.score.LogisticRegression
    imodels.util.score.LogisticRegression = own if kind is None else kind
    try:
        yield
    finally:
        imodels.util.score.LogisticRegression = own


def fit(X, y):
    """Return the fitted model."""
    return RuleFitClassifier(max_rules=30, random_state=0).fit(X, y)


def scores(model, X, y):
    """Return scores of other rows, and the number of rules."""
    p = model.predict_proba(X)[:, 1]
    return {
        "accuracy": float(np.mean((p > 0.5) == y)), "auc": roc_auc_score(y, p),
        "rules": len(model.rules_),
    }  # fmt: skip
