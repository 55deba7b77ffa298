"""Problems of passes over X: dense and sparse rows with parameters, and output layers over a vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from bench.problems.archives import archive, tfidf, unit_rows
from bench.problems.arrays import HeadData, PassData
from bench.problems.descriptions import SEED, Problem


@dataclass(frozen=True)
class Dense(Problem):
    """A dense design matrix at the point where a solver spends most of its passes: nonzero parameters."""

    n_rows: int = 0
    n_features: int = 0
    n_classes: int = 0

    def make(self) -> PassData:
        """Draw X standard normal; the parameters are scaled so that logits are of order one."""
        rng = np.random.default_rng(SEED)
        X = rng.standard_normal((self.n_rows, self.n_features), dtype=self.dtype)
        target = rng.integers(self.n_classes, size=self.n_rows)
        return with_parameters(rng, X, target, self.n_classes)


@dataclass(frozen=True)
class Head(Dense):
    """An output layer over a vocabulary: more classes than rows."""

    def make(self) -> HeadData:
        """Draw rows standard normal, and coefficients that make logits of order one."""
        rng = np.random.default_rng(SEED)
        X = rng.standard_normal((self.n_rows, self.n_features), dtype=self.dtype)
        coef = rng.standard_normal((self.n_classes, self.n_features), dtype=self.dtype)
        coef /= np.sqrt(self.n_features, dtype=self.dtype)
        return HeadData(X, rng.integers(self.n_classes, size=self.n_rows), coef, self.n_rows)


@dataclass(frozen=True)
class SyntheticCsr(Dense):
    """Text-like rows for a machine without the data folder: few entries a row, columns by Zipf's law."""

    per_row: int = 0

    def make(self) -> PassData:
        """Draw columns log-uniformly, then scale rows to unit length as TF-IDF does."""
        rng = np.random.default_rng(SEED)
        size = (self.n_rows, self.per_row)
        columns = (self.n_features ** rng.random(size)).astype(np.int32) - 1
        indptr = np.arange(0, columns.size + 1, self.per_row, dtype=np.int32)
        entries = rng.random(columns.size).astype(self.dtype)
        X = sp.csr_matrix((entries, columns.ravel(), indptr), shape=(self.n_rows, self.n_features))
        X.sum_duplicates()
        target = rng.integers(self.n_classes, size=self.n_rows)
        return with_parameters(rng, unit_rows(X), target, self.n_classes)


@dataclass(frozen=True)
class Text(Problem):
    """The training rows of a published text set, as TF-IDF."""

    real: ClassVar[bool] = True

    def make(self) -> PassData:
        """Read the counts, weigh them, and draw parameters."""
        z = archive(self.name)
        X, y = tfidf(z, "train").astype(self.dtype), z["y_train"].astype(np.int64)
        return with_parameters(np.random.default_rng(SEED), X, y, int(y.max()) + 1)


def with_parameters(rng: np.random.Generator, X: Any, target: np.ndarray, n_classes: int) -> PassData:
    """Add parameters and a direction, in the precision of X so that nobody is timed converting them."""
    norm = np.sqrt(X.shape[1]) if isinstance(X, np.ndarray) else 1.0
    coef, direction = rng.standard_normal((2, n_classes, X.shape[1])).astype(X.dtype) / X.dtype.type(norm)
    intercept, intercept_direction = rng.standard_normal((2, n_classes)).astype(X.dtype)
    return PassData(X, target, coef, intercept, direction, intercept_direction)
