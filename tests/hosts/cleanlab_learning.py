"""cleanlab's CleanLearning: probabilities out of five folds, labels that look wrong, a fit without them."""

from __future__ import annotations

import cleanlab.classification
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from fastsoftmax import SoftmaxRegression
from tests.hosts.replaced import replaced

CALL = "CleanLearning(seed=0).fit(X, y), LogisticRegression(solver='lbfgs') of 5 folds and the rest; digits"
OURS = SoftmaxRegression


def data():
    """Return digits of which a tenth are mislabelled, and others to score."""
    X, y = load_digits(return_X_y=True)
    X_fit, X_test, y_fit, y_test = train_test_split(X / 16, y, random_state=0)
    rng = np.random.default_rng(0)
    wrong = rng.random(len(y_fit)) < 0.1
    y_fit = np.where(wrong, (y_fit + rng.integers(1, 10, len(y_fit))) % 10, y_fit)
    return X_fit, y_fit, X_test, y_test


def in_place(kind):
    """Let cleanlab find this class under its name of LogisticRegression; None for its own."""
    return replaced("LogReg", kind, cleanlab.classification)


def fit(X, y):
    """Return the fitted model."""
    return cleanlab.classification.CleanLearning(seed=0).fit(X, y)


def scores(model, X, y):
    """Return scores of other rows, and the number of labels that are taken for wrong."""
    return {
        "accuracy": model.score(X, y),
        "log_loss": log_loss(y, model.predict_proba(X)),
        "issues": int(model.get_label_issues()["is_label_issue"].sum()),
    }
