"""AutoGluon's linear model: numbers and categories, one-hot and scaled."""

from __future__ import annotations

import numpy as np
import pandas as pd
import sklearn.linear_model
from autogluon.tabular.models import LinearModel
from sklearn.metrics import log_loss

from fastsoftmax import SoftmaxRegression
from tests.hosts.replaced import replaced

CALL = "LinearModel(problem_type='multiclass').fit(X, y, time_limit=60), 10000 x 12, 5 classes"
OURS = SoftmaxRegression
N, NUMBERS, LEVELS, K = 10000, 10, 30, 5


def data():
    """Return a table and labels to fit, and others to score."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(2 * N, NUMBERS)), columns=[f"x{j}" for j in range(NUMBERS)])
    levels = rng.integers(0, LEVELS, (2 * N, 2))
    z = table.to_numpy() @ rng.normal(size=(NUMBERS, K))
    for j in range(2):
        z += rng.normal(size=(LEVELS, K))[levels[:, j]]
        table[f"level{j}"] = pd.Categorical(np.char.mod("l%02d", levels[:, j]))
    y = pd.Series((z + rng.gumbel(size=z.shape)).argmax(axis=1))
    return table[:N], y[:N], table[N:], y[N:]


def in_place(kind):
    """Let AutoGluon find this class in scikit-learn, where it looks when it is called; None for its own."""
    return replaced("LogisticRegression", kind, sklearn.linear_model)


def fit(X, y):
    """Return the fitted model."""
    model = LinearModel(problem_type="multiclass", eval_metric="log_loss", path="")
    model.fit(X=X, y=y, num_classes=K, num_cpus=2, num_gpus=0, time_limit=60)
    return model


def scores(model, X, y):
    """Return scores of other rows."""
    p = model.predict_proba(X)
    return {"accuracy": float(np.mean(p.argmax(axis=1) == y)), "log_loss": log_loss(y, p)}
