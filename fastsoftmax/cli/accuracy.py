"""How well a model labels rows whose labels are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.cli.matching import check_labels

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array
    from fastsoftmax.data.readers import Features
    from fastsoftmax.estimator import SoftmaxRegression

_BLOCK_ROWS = 4096  # measured at a time


def measure(model: SoftmaxRegression, X: Features, y: Array) -> tuple[int, float]:
    """Return the number of rows labelled right, and the mean over the rows of −ln p(label), in nats."""
    classes = np.asarray(model.classes_)
    classes = classes if classes.dtype.kind in "biufU" else classes.astype(str)
    if y.ndim == 1:
        check_labels(y, classes)
    elif y.shape[1] != len(classes):
        raise ValueError(
            f"the labels are a matrix of {y.shape[1]} columns, the model has {len(classes)} classes"
        )
    order = np.argsort(classes)  # those of soft labels in a frame stand in the order of its columns
    right, total = 0, 0.0
    for start in range(0, len(y), _BLOCK_ROWS):
        block, label = X[start : start + _BLOCK_ROWS], y[start : start + _BLOCK_ROWS]
        if label.ndim == 2 and model.loss == "sigmoid":
            logits = np.asarray(model.decision_function(block), dtype=np.float64)
            right += int(((logits > 0) == (label > 0.5)).all(axis=1).sum())
            total += float((np.logaddexp(0, logits) - label * logits).sum())
            continue
        log_proba = np.asarray(model.predict_log_proba(block), dtype=np.float64)
        at = order[np.searchsorted(classes, label, sorter=order)] if label.ndim == 1 else label.argmax(axis=1)
        right += int((log_proba.argmax(axis=1) == at).sum())
        target = np.eye(len(classes))[at] if label.ndim == 1 else label
        total -= float(np.where(target > 0, target * log_proba, 0).sum())
    return right, total / len(y)
