"""Two estimators at their defaults, ours and scikit-learn's, as who has a small problem calls them.

Both have `fit`, `predict`, `predict_proba` and `decision_function`, and are told nothing but how many threads
they may use.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from sklearn.linear_model import LogisticRegression

from bench.contenders import OURS, Call, Fitted
from bench.contenders.sklearn import read_fit
from fastsoftmax import SoftmaxRegression

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    from bench.problems.arrays import FitData

THEIRS = "sklearn"
AS_LOW = "sklearn as low"  # with a tolerance by which its F comes as low as ours
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)  # the first is its default
MAX_ITER = 10_000  # where it is to come as low


def estimators(n_threads: int | None) -> dict[str, Any]:
    """Give both, not fitted, ours first. scikit-learn's has no such number: its process has to be limited."""
    return {OURS: SoftmaxRegression(n_threads=n_threads), THEIRS: LogisticRegression()}


def stricter() -> Iterator[Any]:
    """Give scikit-learn's with ever smaller tolerances, and iterations enough."""
    return (LogisticRegression(tol=tol, max_iter=MAX_ITER) for tol in TOLERANCES)


def many_fits(data: FitData, sample_weights: np.ndarray, n_threads: int | None) -> dict[str, Call]:
    """Give both ways to fit the same rows with each of many weights, read as a model each.

    Ours has a method for it. scikit-learn's are fitted one after the other.
    """
    ours, theirs = estimators(n_threads).values()
    weights = list(sample_weights)

    def one_by_one() -> list[Any]:
        kind, settings = type(theirs), theirs.get_params()
        return [kind(**settings).fit(data.X, data.y, sample_weight=weight) for weight in weights]

    together = functools.partial(ours.fit_many, data.X, data.y, sample_weights)
    return {OURS: Call(together, list), THEIRS: Call(one_by_one, list)}


def fitted_of(model: Any) -> Fitted:
    """Read coefficients, a row for two classes, and the iterations."""
    return read_fit(model)
