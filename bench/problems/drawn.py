"""Problems drawn at random: rows without structure, and labels that a softmax model gave them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from bench.problems.arrays import FitData
from bench.problems.descriptions import SEED, Problem

SIGNAL = 2.0  # the standard deviation of the logits that labels are drawn by
N_TEST = 1_000


@dataclass(frozen=True)
class DrawnDense(Problem):
    """Dense standard normal rows, and labels of a softmax model; as many test rows as predictions take."""

    n_rows: int = 0
    n_features: int = 0
    n_classes: int = 0
    filled: ClassVar[float] = 1.0  # the share of entries that are not zero

    def make(self) -> FitData:
        """Draw the model, the rows, and their labels."""
        rng = np.random.default_rng(SEED)
        coef = rng.standard_normal((self.n_classes, self.n_features))
        coef *= SIGNAL / np.sqrt(self.filled * self.n_features)
        X, X_test = (self.rows(rng, n).astype(self.dtype) for n in (self.n_rows, N_TEST))
        y, y_test = (labels(rng, np.asarray(rows @ coef.T)) for rows in (X, X_test))
        return FitData(X, y, X_test, y_test, C=1.0, max_iter=0)

    def rows(self, rng: np.random.Generator, n: int) -> np.ndarray | sp.csr_matrix:
        """Draw n rows."""
        return dense_rows(rng, n, self.n_features)


@dataclass(frozen=True)
class DrawnCsr(DrawnDense):
    """The same of CSR rows with a tenth of the entries."""

    filled: ClassVar[float] = 0.1

    def rows(self, rng: np.random.Generator, n: int) -> np.ndarray | sp.csr_matrix:
        """Draw n rows."""
        return csr_rows(rng, n, self.n_features, self.filled)


def dense_rows(rng: np.random.Generator, n_rows: int, n_features: int) -> np.ndarray:
    """Draw independent standard normal entries, (n, d)."""
    return rng.standard_normal((n_rows, n_features))


def csr_rows(rng: np.random.Generator, n_rows: int, n_features: int, filled: float) -> sp.csr_matrix:
    """Draw which entries there are, each with the same probability; they are standard normal."""
    there = rng.random((n_rows, n_features), dtype=np.float32) < filled
    indptr = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    columns = np.nonzero(there)[1].astype(np.int32)
    entries = rng.standard_normal(len(columns))
    return sp.csr_matrix((entries, columns, indptr), shape=(n_rows, n_features))


def labels(rng: np.random.Generator, logits: np.ndarray) -> np.ndarray:
    """Draw labels by the softmax of logits (n, K): the largest after Gumbel noise is added to each.

    Where n ≥ K every class has a row: one that got none takes the row that it was nearest to getting, of a
    class that has several.
    """
    noisy = logits + rng.gumbel(size=logits.shape)
    target = noisy.argmax(axis=1)
    missing = set(range(logits.shape[1])) - set(target.tolist())
    for k in sorted(missing) if len(logits) >= logits.shape[1] else ():
        spare = np.bincount(target)[target] > 1
        target[np.argmax(np.where(spare, noisy[:, k] - noisy.max(axis=1), -np.inf))] = k
    return target


def bootstrap_counts(n_samples: int, n_rows: int) -> np.ndarray:
    """Draw how often each row is in a bootstrap sample, (samples, n)."""
    rng = np.random.default_rng(SEED)
    return rng.multinomial(n_rows, np.full(n_rows, 1 / n_rows), size=n_samples)
