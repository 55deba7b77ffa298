"""Matrices of counts as labels: a row that stands for as many rows, of one label each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastsoftmax.contracts import Vector


def are_counts(y: Any) -> bool:
    """Return whether a matrix (n, K) holds counts: whole numbers that are not negative, some above 1.

    A matrix of 0 and 1 alone is none: it holds labels, or what is meant for loss="sigmoid".
    """
    values = np.asarray(y)
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind not in "iuf" or values.size == 0:
        return False
    if not (values.max() > 1.0 and values.min() >= 0.0):  # false for NaN as well
        return False
    return values.dtype.kind != "f" or bool(np.isfinite(values).all() and (values == np.floor(values)).all())


def shares(y: Any) -> Any:
    """Return the shares of each row's classes, of counts; a matrix of probabilities as it is.

    The multinomial likelihood of counts is that of the shares, weighted by `totals`. Of a row without any,
    whose weight is zero, they are equal.
    """
    if not are_counts(y):
        return y
    counts = np.asarray(y, dtype=np.float64)
    number = counts.sum(axis=1, keepdims=True)
    return np.where(number > 0.0, counts, 1.0) / np.where(number > 0.0, number, counts.shape[1])


def totals(y: Any) -> Vector | float:
    """Return the numbers of rows (n,) that rows of counts stand for; 1 for any other labels."""
    return np.asarray(y).sum(axis=1, dtype=np.float64) if are_counts(y) else 1.0
