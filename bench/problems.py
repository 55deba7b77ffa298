"""What is computed: named problems with fixed seeds, and the arrays they are made of.

A problem is a small frozen description. Its arrays are made on the first `load` and kept until another
problem is loaded, so that a run over the whole grid never holds more than one of them.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import ml_dtypes  # noqa: F401 - from here on NumPy knows "bfloat16"
import numpy as np
import scipy.sparse as sp

SEED = 20_240_607


class DataMissingError(FileNotFoundError):
    """The folder of real data sets, or a file in it, is not there."""


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


@dataclass(frozen=True)
class Problem:
    """A description that can be hashed and printed; `make` is called by `load`, once."""

    name: str
    dtype: str
    quick: bool = field(default=True, kw_only=True)  # part of the default grid, or of the full one only
    rounds: int = field(default=5, kw_only=True)  # but fits that take long are timed once
    dear: tuple[str, ...] = field(default=(), kw_only=True)  # contenders left to the full grid
    real: ClassVar[bool] = False  # made of files that a checkout may lack

    @property
    def key(self) -> str:
        """The name in a test's id and in a result."""
        return f"{self.name}-{self.dtype}"

    def make(self) -> Any:
        """Make the arrays."""
        raise NotImplementedError


@functools.lru_cache(maxsize=1)
def load(problem: Problem) -> Any:
    """Give the arrays of a problem; those of the problem before are let go."""
    return problem.make()


def computed(dtype: str) -> str:
    """Name the precision that logits are computed with: 16 bits are for keeping them."""
    return dtype if dtype == "float64" else "float32"


@dataclass(frozen=True)
class Rows(Problem):
    """Random logits: what the row kernels are given."""

    n_rows: int = 0
    n_classes: int = 0

    def make(self) -> RowData:
        """Draw logits with the spread of a trained model's (a standard deviation of 4)."""
        rng = np.random.default_rng(SEED)
        logits = rng.standard_normal((self.n_rows, self.n_classes), dtype=computed(self.dtype))
        logits *= 4
        logits = logits.astype(self.dtype, copy=False)
        return RowData(logits, rng.integers(self.n_classes, size=self.n_rows), np.empty_like(logits))


@dataclass(frozen=True)
class Columns(Rows):
    """The same logits, each column of which is summed."""

    def make(self) -> RowData:
        """Draw logits; only the axis differs."""
        return super().make()._replace(axis=0)


@dataclass(frozen=True)
class LabelledRows(Rows):
    """The same logits, with labels that do not exclude each other."""

    def make(self) -> RowData:
        """Draw logits, and labels of which a tenth is on, in the precision that is computed with."""
        data = super().make()
        labels = np.random.default_rng(SEED + 1).random(data.logits.shape, "float32") < 0.1
        return data._replace(target=labels.astype(computed(self.dtype)))


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


@dataclass(frozen=True)
class Digits(Problem):
    """scikit-learn's embedded digits, four fifths to train on."""

    def make(self) -> FitData:
        """Pixels over 16; the rows are in no particular order already."""
        from sklearn.datasets import load_digits

        X, y = load_digits(return_X_y=True)
        X, cut = (X / 16).astype(self.dtype), 1437
        return FitData(X[:cut], y[:cut], X[cut:], y[cut:], C=1.0, max_iter=1000)


@dataclass(frozen=True)
class FashionMnist(Problem):
    """The first rows of Fashion-MNIST; as bytes they are pixels as stored, and C is in their units."""

    n_rows: int = 0
    max_iter: int = 0
    real: ClassVar[bool] = True

    def make(self) -> FitData:
        """Pixels over 255, unless bytes are wanted."""
        z = archive("fashion_mnist")
        whole = self.dtype == "uint8"
        scale = np.asarray(1 if whole else 1 / 255, self.dtype)
        X, X_test = z["X_train"][: self.n_rows] * scale, z["X_test"] * scale
        y, y_test = z["y_train"][: self.n_rows].astype(np.int64), z["y_test"].astype(np.int64)
        return FitData(X, y, X_test, y_test, C=1 / 255**2 if whole else 1.0, max_iter=self.max_iter)


@dataclass(frozen=True)
class Newsgroups(Problem):
    """20 Newsgroups, TF-IDF: more parameters than entries."""

    max_iter: int = 0
    real: ClassVar[bool] = True

    def make(self) -> FitData:
        """Weigh training and test counts alike."""
        z = archive("newsgroups20")
        X, X_test = (tfidf(z, part).astype(self.dtype) for part in ("train", "test"))
        y, y_test = z["y_train"].astype(np.int64), z["y_test"].astype(np.int64)
        return FitData(X, y, X_test, y_test, C=10.0, max_iter=self.max_iter)


@dataclass(frozen=True)
class RealSet(Problem):
    """A published set, scaled as is natural for it. C is replaced by whoever fits.

    `scaling` is "standard" (each feature of mean 0 and variance 1 over the training rows), "pixels" (over
    255), "tfidf", or "none". `file` is the archive's name where it is not the problem's.
    """

    scaling: str = "standard"
    file: str = ""
    real: ClassVar[bool] = True

    def make(self) -> FitData:
        """Scale training and test rows alike, in float64, and round to the precision asked for."""
        z = archive(self.file or self.name)
        if self.scaling == "tfidf":
            X, X_test = (tfidf(z, part) for part in ("train", "test"))
        else:
            X, X_test = (z[f"X_{part}"].astype(np.float64) for part in ("train", "test"))
            mean, deviation = self.moments(X)
            X, X_test = ((rows - mean) / deviation for rows in (X, X_test))
        y, y_test = (z[f"y_{part}"].astype(np.int64) for part in ("train", "test"))
        return FitData(X.astype(self.dtype), y, X_test.astype(self.dtype), y_test, C=1.0, max_iter=0)

    def moments(self, X: np.ndarray) -> tuple[np.ndarray | float, np.ndarray | float]:
        """Give what is subtracted, and what is then divided by; a constant feature becomes 0."""
        if self.scaling != "standard":
            return 0.0, {"pixels": 255.0, "none": 1.0}[self.scaling]
        deviation = X.std(axis=0)
        constant = deviation <= 1e-12 * np.abs(X).max(axis=0)  # rounding leaves a little
        return X.mean(axis=0), np.where(constant, 1.0, deviation)


def with_parameters(rng: np.random.Generator, X: Any, target: np.ndarray, n_classes: int) -> PassData:
    """Add parameters and a direction, in the precision of X so that nobody is timed converting them."""
    norm = np.sqrt(X.shape[1]) if isinstance(X, np.ndarray) else 1.0
    coef, direction = rng.standard_normal((2, n_classes, X.shape[1])).astype(X.dtype) / X.dtype.type(norm)
    intercept, intercept_direction = rng.standard_normal((2, n_classes)).astype(X.dtype)
    return PassData(X, target, coef, intercept, direction, intercept_direction)


def archive(name: str) -> Any:
    """Open a file of the data folder: FASTSOFTMAX_DATA, or ../shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    path = Path(os.environ.get("FASTSOFTMAX_DATA", beside)) / f"{name}.npz"
    if not path.exists():
        raise DataMissingError(f"needs {name}.npz in the folder of real data sets (FASTSOFTMAX_DATA)")
    return np.load(path, allow_pickle=False)


def tfidf(z: Any, part: str) -> sp.csr_matrix:
    """Weigh the raw counts of a sparse archive by idf and scale rows to unit length."""
    parts = (z[f"{part}_data"], z[f"{part}_indices"], z[f"{part}_indptr"])
    X = sp.csr_matrix(parts, shape=tuple(z[f"{part}_shape"]))
    X.data = X.data * z["idf"][X.indices]
    return unit_rows(X)


def unit_rows(X: sp.csr_matrix) -> sp.csr_matrix:
    """Divide each row by its Euclidean norm, in place; empty rows stay empty."""
    lengths = np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    X.data /= np.repeat(lengths, np.diff(X.indptr)).astype(X.dtype)
    return X
