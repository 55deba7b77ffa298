"""How well a model labels rows whose labels are known."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.cli.matching import check_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.blocks.block import Block
    from fastsoftmax.data.blocks.row_set import RowSet
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


def measure_rows(model: SoftmaxRegression, rows: RowSet, *, weighted: bool = False) -> tuple[int, int, float]:
    """Return the numbers of rows and of those labelled right, and the mean of −ln p(label), in nats.

    One reading; the next blocks are read while one is measured. Raises ValueError, naming file and row, for
    a label that is none of the model's. `weighted` leaves out rows whose weight is zero.
    """
    from fastsoftmax.estimator import streamed_prediction
    from fastsoftmax.runtime.read_ahead import read_ahead

    plain = streamed_prediction.without_names(model, rows)
    with read_ahead(functools.partial(streamed_prediction.checked, rows, model.n_features_in_)) as blocks:
        return measure_blocks(plain, blocks, weighted=weighted)


def measure_blocks(
    model: SoftmaxRegression, blocks: Iterator[Block], *, weighted: bool = False
) -> tuple[int, int, float]:
    """Return what `measure_rows` does, of blocks."""
    from fastsoftmax.contracts.storages import storage_of
    from fastsoftmax.data.blocks.labels import Encoder
    from fastsoftmax.data.blocks.row_set import as_array

    encoder = Encoder(np.asarray(model.classes_))
    n_rows, right, total = 0, 0, 0.0
    for block in blocks:
        chosen = np.arange(block.n_rows)
        if weighted and block.weight is not None:
            chosen = np.flatnonzero(block.weight > 0)
        if not len(chosen):
            continue
        whole = len(chosen) == block.n_rows
        X = as_array(block.X if whole else storage_of(block.X).take(block.X, chosen))
        n_rows += len(chosen)
        if isinstance(block.y, np.ndarray) and block.y.ndim == 2 and block.y.shape[1] > 1:
            n_right, mean = measure(model, X, block.y[chosen])
            right, total = right + n_right, total + mean * len(chosen)
            continue
        at = encoder.codes(block)[chosen]
        log_proba = np.asarray(model.predict_log_proba(X), dtype=np.float64)
        right += int((log_proba.argmax(axis=1) == at).sum())
        total -= float(log_proba[np.arange(len(at)), at].sum())
    return n_rows, right, total / max(1, n_rows)
