"""Families of problems that differ in one thing: sets that nobody tuned for, for the worst of each family.

They are made of the real sets (their rows, classes, projections and columns) or drawn at random. Real rows
are standardised, text is TF-IDF; `dtype` is float64 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bench.problems.arrays import FitData
from bench.problems.descriptions import SEED, Problem, load
from bench.problems.drawn import labels
from bench.problems.fits import RealSet

if TYPE_CHECKING:
    from collections.abc import Callable

N_TEST = 10


@dataclass(frozen=True)
class Part(Problem):
    """Some rows, classes or changed columns of a real set."""

    of: RealSet | None = None
    n_rows: int | None = None
    n_classes: int | None = None
    n_projected: int | None = None
    copies: float | None = None  # the deviation of the noise that a second copy of each column has
    n_noise: int = 0  # columns of noise besides
    skew: float = 1.0  # of the rows of class k, skew^k are kept

    def make(self) -> FitData:
        """Take the part, always the same."""
        rng = np.random.default_rng(SEED)
        assert self.of is not None
        whole = load(self.of)
        X, y = whole.X, whole.y
        if self.n_classes is not None or self.skew < 1.0:
            chosen = y < (self.n_classes or y.max() + 1)
            chosen &= rng.random(len(y)) < self.skew ** y.astype(float)
            X, y = X[chosen], np.unique(y[chosen], return_inverse=True)[1]
        if self.n_rows is not None:
            some = np.sort(rng.permutation(len(y))[: self.n_rows])
            X, y = X[some], np.unique(y[some], return_inverse=True)[1]
        if self.n_projected is not None:
            X = X @ rng.standard_normal((X.shape[1], self.n_projected)) / np.sqrt(X.shape[1])
        if self.copies is not None:
            X = np.hstack([X, X + self.copies * rng.standard_normal(X.shape)])
        if self.n_noise:
            X = np.hstack([X, rng.standard_normal((len(X), self.n_noise))])
        return FitData(X, y, X[:N_TEST], y[:N_TEST], C=1.0, max_iter=0)


@dataclass(frozen=True)
class Drawn(Problem):
    """Correlated normal rows, and labels by a softmax of logits with that deviation.

    `skew` lowers the intercept of class k by skew · k.
    """

    n_rows: int = 0
    n_features: int = 0
    n_classes: int = 0
    signal: float = 2.0
    skew: float = 0.0

    def make(self) -> FitData:
        """Draw a spectrum that falls like 1 / j, the model and the labels."""
        rng = np.random.default_rng(SEED)
        n, d, K = self.n_rows, self.n_features, self.n_classes
        scale = 1.0 / np.sqrt(np.arange(1, d + 1))
        X = (rng.standard_normal((n, d)) * scale) @ np.linalg.qr(rng.standard_normal((d, d)))[0]
        X /= X.std(axis=0)
        coef = rng.standard_normal((K, d))
        logits = X @ coef.T
        logits *= self.signal / max(logits.std(), 1e-12)
        y = labels(rng, logits - self.skew * np.arange(K))
        return FitData(X, y, X[:N_TEST], y[:N_TEST], C=1.0, max_iter=0)


def real(name: str, scaling: str = "standard") -> RealSet:
    """Describe a real set as the families take it."""
    return RealSet(name, "float64", scaling=scaling)


def part(name: str, of: RealSet, **changes: float) -> Part:
    """Describe a part of a set."""
    return replace(Part(name, "float64", of=of), **changes)


def drawn(n: int, d: int, K: int, signal: float = 2.0, skew: float = 0.0, note: str = "") -> Drawn:
    """Describe drawn rows, named by their sizes."""
    named = f"{n}x{d} K{K}{note}"
    return Drawn(named, "float64", n_rows=n, n_features=d, n_classes=K, signal=signal, skew=skew)


def families(quick: bool) -> dict[str, list[Problem]]:
    """Give the problems of each family; two of each, small ones, if quick."""
    some: Callable[[list[Problem]], list[Problem]] = (lambda listed: listed[:2]) if quick else list
    isolet, bean, tep = real("isolet1"), real("dry_bean"), real("tep_faults")
    clinc, agnews = real("clinc150", "tfidf"), real("ag_news_7600", "tfidf")
    return {
        "rows": some([
            part("isolet1, 300 rows", isolet, n_rows=300),
            part("tep_faults, 2,000 rows", tep, n_rows=2_000),
            part("fashion_mnist, 2,000 rows", real("fashion_mnist", "pixels"), n_rows=2_000),
            part("clinc150, 3,000 rows", clinc, n_rows=3_000),
            part("shuttle, 5,000 rows", real("shuttle"), n_rows=5_000),
        ]),
        "classes": some([
            part("isolet1, 2 classes", isolet, n_classes=2),
            part("isolet1, 8 classes", isolet, n_classes=8),
            part("clinc150, 10 classes", clinc, n_classes=10),
            part("clinc150, 50 classes", clinc, n_classes=50),
            part("tep_faults, 3 classes", tep, n_classes=3),
            drawn(5_000, 50, 100),
            drawn(10_000, 64, 500),
        ]),
        "projections": some([
            part("isolet1 on 100", isolet, n_projected=100),
            part("tep_faults on 20", tep, n_projected=20),
            part("fashion_mnist on 50", real("fashion_mnist", "pixels"), n_rows=10_000, n_projected=50),
            part("ag_news_7600 on 300", agnews, n_projected=300),
        ]),
        "columns": some([
            part("dry_bean, twice to 1e-3", bean, copies=1e-3),
            part("steel_plates and 100 of noise", real("steel_plates"), n_noise=100),
            part("tep_faults, twice to 1e-1", tep, copies=1e-1),
        ]),
        "n over d": some([
            drawn(50, 1_000, 5),
            drawn(500, 500, 5),
            drawn(2_000, 400, 10),
            drawn(20_000, 20, 5),
            drawn(50_000, 5, 3),
        ]),
        "separability": some([
            drawn(3_000, 50, 10, signal=0.0, note=", pure noise"),
            drawn(3_000, 50, 10, signal=20.0, note=", nearly separable"),
            drawn(1_500, 300, 20, signal=8.0, note=", nearly separable"),
            drawn(3_000, 50, 10, signal=0.5, note=", a weak signal"),
        ]),
        "unbalanced": some([
            part("tep_faults, classes by 0.8", tep, skew=0.8),
            drawn(5_000, 30, 10, skew=1.0, note=", by e"),
            part("ag_news_7600, classes by 0.3", agnews, skew=0.3),
        ]),
    }  # fmt: skip
