"""The arrays that a problem is made of: logits, rows of a design matrix, an output layer, training sets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class RowData(NamedTuple):
    """Logits (n, K), targets, memory of the logits' size to write results to, and the axis summed over.

    Targets are indices (n,), or labels (n, K) that do not exclude each other.
    """

    logits: np.ndarray
    target: np.ndarray
    out: np.ndarray
    axis: int = 1

    @property
    def longest_sum(self) -> int:
        """The terms of the longest sum that a result's entry depends on."""
        return self.logits.shape[self.axis]

    def astype(self, dtype: Any) -> RowData:
        """Give the same rows in another precision."""
        return self._replace(logits=self.logits.astype(dtype), out=np.empty(self.out.shape, dtype))


class PassData(NamedTuple):
    """A design matrix (n, d), index targets, parameters, and a direction of the parameters' shape."""

    X: Any
    target: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    coef_direction: np.ndarray
    intercept_direction: np.ndarray

    @property
    def longest_sum(self) -> int:
        """The terms of the longest sum that a result's entry depends on."""
        return max(self.X.shape)

    def astype(self, dtype: Any) -> PassData:
        """Give the same data in another precision."""
        return PassData(self.X.astype(dtype), self.target, *(a.astype(dtype) for a in self[2:]))


class HeadData(NamedTuple):
    """The output layer of a language model: rows (n, d), index targets, and coefficients (K, d).

    Whoever takes rows a few at a time takes `block_rows` of them; plain NumPy takes all at once.
    """

    X: np.ndarray
    target: np.ndarray
    coef: np.ndarray
    block_rows: int

    @property
    def longest_sum(self) -> int:
        """The terms of the longest sum that a result's entry depends on."""
        return max(*self.X.shape, len(self.coef))

    def astype(self, dtype: Any) -> HeadData:
        """Give the same data in another precision, a few rows at a time: their logits take gigabytes."""
        return HeadData(self.X.astype(dtype), self.target, self.coef.astype(dtype), 256)


class FitData(NamedTuple):
    """A training and a test set, the penalty, and the iterations that an open-ended solver may take."""

    X: Any
    y: np.ndarray
    X_test: Any
    y_test: np.ndarray
    C: float
    max_iter: int
