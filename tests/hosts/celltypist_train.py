"""CellTypist's training, one-against-rest, and its annotation of cells that lack some of the genes.

CellTypist asks for `multi_class="ovr"`, which scikit-learn has no more from 1.8 on; theirs is its advice
then: OneVsRestClassifier of the same LogisticRegression.
"""

from __future__ import annotations

import sys

import anndata
import celltypist
import celltypist.classifier
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from fastsoftmax import SoftmaxRegression
from tests.hosts.replaced import replaced

CALL = "train(max_iter=1000), multi_class='ovr', 3000 x 800, 12 types; scores with half the genes"
OURS = SoftmaxRegression
CELLS, GENES, TYPES = 3000, 800, 12


class OneAgainstRest(OneVsRestClassifier):
    """Scikit-learn's own way of what `multi_class="ovr"` was, with the attributes that CellTypist edits."""

    def __init__(self, C=1.0, solver="lbfgs", max_iter=100, multi_class="ovr", n_jobs=None):
        self.C, self.solver, self.max_iter, self.multi_class = C, solver, max_iter, multi_class
        super().__init__(LogisticRegression(C=C, solver=solver, max_iter=max_iter), n_jobs=n_jobs)

    def fit(self, X, y):
        """Fit, and gather coefficients."""
        super().fit(X, y)
        self.coef_ = np.vstack([each.coef_ for each in self.estimators_])
        self.intercept_ = np.hstack([each.intercept_ for each in self.estimators_])
        return self

    def decision_function(self, X):
        """Return logits by the coefficients as they are now."""
        return X @ self.coef_.T + self.intercept_

    def predict_proba(self, X):
        """Return sigmoids that sum to one."""
        p = 1 / (1 + np.exp(-self.decision_function(X)))
        return p / p.sum(axis=1, keepdims=True)


def data():
    """Return cells in log counts of 10,000 and their types, and others that lack every second gene."""
    rng = np.random.default_rng(0)
    types = rng.integers(0, TYPES, 2 * CELLS)
    rates = rng.gamma(0.5, 1.0, (TYPES, GENES)) * 0.15 + rng.gamma(0.5, 1.0, GENES)
    counts = rng.poisson(rates[types]).astype(np.float32)
    logs = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    cells = anndata.AnnData(logs)
    cells.var_names = np.char.mod("gene%d", np.arange(GENES))
    labels = np.char.mod("type%02d", types)
    return cells[:CELLS].copy(), labels[:CELLS], cells[CELLS:, ::2].copy(), labels[CELLS:]


def in_place(kind):
    """Let CellTypist find this class under the name of LogisticRegression; None for scikit-learn's way."""
    return replaced(
        "LogisticRegression", OneAgainstRest if kind is None else kind, sys.modules["celltypist.train"]
    )


def fit(cells, labels):
    """Return the trained model."""
    return celltypist.train(cells, labels=labels, max_iter=1000, check_expression=False, n_jobs=1)


def scores(model, cells, labels):
    """Return scores of other cells, annotated by half the genes: coef_ is cut for that."""
    annotated = celltypist.classifier.Classifier(filename=_checked(cells), model=model).celltype()
    decided = annotated.predicted_labels["predicted_labels"].to_numpy(str)
    return {
        "accuracy": float(np.mean(decided == labels)),
        "mean_decision": float(annotated.decision_matrix.to_numpy().mean()),
        "mean_best_probability": float(annotated.probability_matrix.to_numpy().max(axis=1).mean()),
        "coef_norm": float(np.linalg.norm(model.classifier.coef_)),
    }  # fmt: skip


def _checked(cells):
    """Return cells such that CellTypist takes them: sums of 10,000 over the genes that are there."""
    counts = np.expm1(cells.X)
    again = cells.copy()
    again.X = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    return again
