"""Law: on real data of every kind the optimum is LogisticRegression's: coefficients to 1e-4, F to 1e-8.

Both are taken to the optimum itself. F is strongly convex in the coefficients, by l2 = 1 / (C n), so that
‖W − W*‖² ≤ 2 (F − F*) / l2: for 1e-4 in every coefficient F has to be right to some 1e-12 of
itself. That asks for float64 rows, and of scikit-learn for problems on which its solvers come that far within
seconds. Hence the rows, scales and C below.
"""

from __future__ import annotations

import time
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from fastsoftmax import SoftmaxRegression
from tests.problems import tfidf

pytestmark = pytest.mark.data

TIGHT = 1e-13


class Case(NamedTuple):
    """How many of the training rows, C, and the solver of scikit-learn that gets to the optimum."""

    n_rows: int
    C: float
    solver: str


CASES = {
    # Few parameters: newton-cholesky ends within a dozen steps, however badly the columns are conditioned.
    "shuttle": Case(43_500, 1.0, "newton-cholesky"),
    "dry_bean": Case(10_890, 1.0, "newton-cholesky"),
    "steel_plates": Case(1_553, 1.0, "newton-cholesky"),
    # 1,166 parameters: a Hessian of all rows takes it seconds.
    "tep_faults": Case(3_000, 1.0, "newton-cholesky"),
    # More parameters than a Hessian may have: newton-cg. A C below 1 keeps its inner solves short.
    "fashion_mnist": Case(2_000, 0.1, "newton-cg"),
    "tox171": Case(137, 0.01, "newton-cg"),
    "newsgroups20": Case(1_000, 1.0, "newton-cg"),
    "ag_news_7600": Case(6_080, 1.0, "newton-cg"),
    "tweet_emoji20": Case(5_000, 1.0, "newton-cg"),
    "clinc150": Case(1_500, 1.0, "newton-cg"),
    "banking77": Case(1_500, 1.0, "newton-cg"),
}


def rows_of(archive, n_rows):
    """The first training rows in float64: TF-IDF, pixels / 255, or standardised columns; and their labels.

    Of sparse rows without the columns that none of them has: their coefficients are zero for any C.
    """
    y = archive["y_train"][:n_rows].astype(np.int64)
    if "idf" in archive:
        X = tfidf(archive, "train", np.float64)[:n_rows]
        return X[:, np.unique(X.indices)], y
    X = archive["X_train"][:n_rows].astype(np.float64)
    return (X / 255 if X.shape[1] == 784 else StandardScaler().fit_transform(X)), y


def objective(X, y, coef, intercept, C):
    """F = mean(logsumexp(z) − z_y) + ‖W‖² / (2 C n), and the largest element of its gradient."""
    n, z = len(y), X @ coef.T + intercept
    lse = logsumexp(z, axis=1, keepdims=True)
    value = np.mean(lse[:, 0] - z[np.arange(n), y]) + np.sum(coef**2) / (2 * C * n)
    residual = np.exp(z - lse)
    residual[np.arange(n), y] -= 1
    slopes = (X.T @ residual).T / n + coef / (C * n), residual.mean(axis=0)
    return value, max(np.abs(slope).max() for slope in slopes)


@pytest.mark.parametrize("name", CASES)
def test_optimum(name, data_dir):
    n_rows, C, solver = CASES[name]
    path = data_dir / f"{name}.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    with np.load(path, allow_pickle=False) as archive:
        X, y = rows_of(archive, n_rows)
    n_classes = len(np.unique(y))
    fits, seconds = [], []
    for model in (
        SoftmaxRegression(C=C, tol=TIGHT),
        LogisticRegression(C=C, solver=solver, tol=1e-10, max_iter=200),
    ):
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs gives up its line search at the last digits
            fits.append(model.fit(X, y))
        seconds.append(time.perf_counter() - start)
    ours, theirs = fits
    (reached, _), (best, slope) = (objective(X, y, m.coef_, m.intercept_, C) for m in fits)
    apart = np.abs(ours.coef_ - theirs.coef_).max()
    print(
        f"{name}: {X.shape[0]} x {X.shape[1]}, K {n_classes}, C {C:g}; coefficients {apart:.1e}, "
        f"objectives {reached / best - 1:+.1e}, seconds {seconds[0]:.2f} and {seconds[1]:.2f} ({solver})"
    )
    assert slope <= 1e-9, "the reference is not at the optimum"
    assert abs(reached - best) <= 1e-8 * best
    assert apart <= 1e-4
    shift = ours.intercept_ - theirs.intercept_  # a constant added to all of them changes nothing
    np.testing.assert_allclose(shift, shift.mean(), atol=1e-4)
    assert ours.objective_ == pytest.approx(reached, rel=1e-12)


def test_without_a_penalty_the_solvers_agree(data_dir):
    """Collinear columns: by the estimate of its pairs of steps alone, L-BFGS stopped at F* (1 + 2e-3)."""
    path = data_dir / "dry_bean.npz"
    if not path.exists():
        pytest.skip(f"no {path}")
    with np.load(path, allow_pickle=False) as archive:
        X, y = rows_of(archive, 10_890)
    best = SoftmaxRegression(C=np.inf, tol=1e-9, solver="newton-cholesky").fit(X, y)
    with warnings.catch_warnings():
        # It may say that float64 does not resolve the last digits.
        warnings.filterwarnings("ignore", ".*no step lowers the objective any more")
        model = SoftmaxRegression(C=np.inf).fit(X, y)
    assert best.objective_ * (1.0 - 1e-9) <= model.objective_ <= best.objective_ * (1.0 + 2e-5)
