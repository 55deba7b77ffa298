"""SetFit's default head: its model's `fit` with a body whose embeddings are there already, no model of text.

`num_epochs` 1 and the default head are SetFit's own path: `model_body.encode` and `model_head.fit`.
"""

from __future__ import annotations

import numpy as np
import setfit.modeling
import torch

from fastsoftmax import SoftmaxRegression
from tests.hosts.replaced import replaced

CALL = (
    "SetFitModel(body, LogisticRegression()).fit(texts, labels), predict_proba(texts); 2000 x 384, 20 classes"
)
OURS = SoftmaxRegression
N, D, K = 2000, 384, 20


class Embeddings(torch.nn.Module):
    """A body: row i of drawn embeddings of unit length for the text \"i\"."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows
        self.device = torch.device("cpu")

    def encode(self, texts, **_):
        """Return the embeddings of texts."""
        return self.rows[[int(text) for text in texts]]


def data():
    """Return texts with the embeddings, and labels, to fit, and others to score."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, K, 2 * N)
    rows = 0.15 * rng.normal(size=(K, D))[y] + rng.normal(size=(2 * N, D))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    texts = [str(i) for i in range(2 * N)]
    body = Embeddings(rows)
    return (body, texts[:N]), y[:N].tolist(), texts[N:], y[N:]


def in_place(kind):
    """Let SetFit find this class under the name of LogisticRegression; None for its own."""
    return replaced("LogisticRegression", kind, setfit.modeling)


def fit(body_and_texts, y):
    """Return the model with its fitted head."""
    body, texts = body_and_texts
    head = setfit.modeling.LogisticRegression()
    model = setfit.modeling.SetFitModel(model_body=body, model_head=head)
    model.fit(texts, y, num_epochs=1)
    return model


def scores(model, texts, y):
    """Return scores of other rows."""
    p = np.asarray(model.predict_proba(texts))
    return {
        "accuracy": float(np.mean(np.asarray(model.predict(texts)) == y)),
        "log_loss": float(-np.mean(np.log(p[np.arange(len(y)), y]))),
        "coef_norm": float(np.linalg.norm(model.model_head.coef_)),
    }
