"""Problems of fits: training and test rows of real sets, scaled as is natural for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.problems.archives import archive, tfidf
from bench.problems.arrays import FitData
from bench.problems.descriptions import Problem


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
