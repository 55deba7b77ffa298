"""Models that are quick to make and draw, a history, and a picture's pixels."""

from __future__ import annotations

import io

import numpy as np

from fastsoftmax.contracts import Record

HISTORY = [
    Record(0.0, 2.30, 1.0, 2.0, 1),
    Record(0.1, 0.90, 0.3, 0.5, 4),
    Record(0.2, 0.60, 0.01, 0.01, 9),
    Record(0.3, 0.595, 0.001, 0.0, 12),
]


class Nearest:
    """A classifier by the nearest mean: enough of one to be drawn, and nothing to converge."""

    def __init__(self, X, y):
        self.classes_ = np.unique(y)
        self.means = np.stack([X[y == label].mean(axis=0) for label in self.classes_])
        self.coef_ = self.means - self.means.mean(axis=0)

    def predict(self, X):
        return self.classes_[((X[:, None] - self.means) ** 2).sum(axis=2).argmin(axis=1)]


class Oracle:
    """A classifier whose probabilities are the rows themselves."""

    def __init__(self, classes):
        self.classes_ = np.array(classes)

    def predict_proba(self, X):
        return np.asarray(X)


class Fitted(Nearest):
    """One that has come to its end in four steps."""

    history_ = HISTORY


def rendered(figure):
    """The picture as pixels, drawn without a display."""
    from matplotlib.image import imread

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    return imread(buffer)
