"""scikit-learn-intelex: scikit-learn's names over oneDAL. Only what it does not hand back to scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearnex.linear_model import LogisticRegression

from bench.contenders import Call, NotOfferedError, sklearn
from bench.contenders.budgets import budgeted

if TYPE_CHECKING:
    from bench.problems.arrays import FitData


def fit(data: FitData) -> Call:
    if not isinstance(data.X, np.ndarray):
        raise NotOfferedError("scikit-learn-intelex hands sparse X back to scikit-learn")
    return sklearn.fit(data, "lbfgs", sklearn.SMALL_TOL, LogisticRegression)


solvers = {"lbfgs": budgeted(fit)}
