"""Fits of the same rows for several strengths of the penalty, each from where the one before ended."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import _fit_context

from fastsoftmax import parameters

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Record


@dataclass(frozen=True, slots=True)
class PathPoint:
    """What a fit with one C led to.

    Attributes
    ----------
    C : float
    coef_, intercept_, objective_, duality_gap_, n_iter_, history_
        As `SoftmaxRegression` has them after a fit.
    """

    C: float
    coef_: NDArray[Any]
    intercept_: NDArray[Any]
    objective_: float
    duality_gap_: float | None
    n_iter_: NDArray[np.int32]
    history_: list[Record]


class RegularizationPath:
    """The part of SoftmaxRegression that goes along a path over C."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_path(
        self, X: Any, y: Any, Cs: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> list[PathPoint]:
        """Fit the rows once for each C, and return every solution. The estimator stays as it was.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
        y : array_like, (n,) labels, or (n, K) probabilities (multi-label: labels in [0, 1])
        Cs : array_like (m,)
            Inverse strengths of the penalty, in any order; `inf` means none. `C` of the estimator is not
            looked at.
        sample_weight : array_like (n,), optional

        Returns
        -------
        points : list of PathPoint
            One for each C, in the order of `Cs`. Each is certified to `tol` as a fit of its own would be.

        Raises
        ------
        ValueError
            As from `fit`; or if `Cs` is not a list of positive numbers, or `penalty` is None.

        Warns
        -----
        ConvergenceWarning
            For each C whose tolerance was not reached.

        Notes
        -----
        X and y are checked once. The most penalised comes first, and each other starts where the one before
        it ended, with the blocks of the Hessian (or the axes of the rows) that were summed there: the path
        holds one copy more of them, 40 MiB at most. `callbacks` get the records of one after another;
        scikit-learn's own get nothing, and nothing goes to `checkpoint`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastsoftmax import SoftmaxRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> path = SoftmaxRegression().fit_path(X, y, [0.01, 1, 100])
        >>> [(point.C, round(point.objective_, 2)) for point in path]
        [(0.01, 0.75), (1.0, 0.19), (100.0, 0.05)]
        """
        strengths = _strengths(Cs)
        model: Any = copy.copy(self)  # what a fit leaves behind is the copy's
        if model.penalty is None:
            raise ValueError("fit_path needs a penalty whose strength C is; got penalty=None")
        settings = parameters.settle(model, max(strengths))
        fit, labels = model._prepared(X, y, sample_weight, settings)
        x = model._start(fit, labels)
        points = {}
        for C in sorted(set(strengths)):
            fit = fit.at(C)
            solution = model._minimize(fit.solver, fit.objective, x)
            x = solution.x
            model._keep(solution, fit, fit.solver)
            if not solution.converged:
                model._warn(solution, of=f" for C={C:g}")
            points[C] = PathPoint(
                C,
                model.coef_,
                model.intercept_,
                model.objective_,
                model.duality_gap_,
                model.n_iter_,
                model.history_,
            )
        return [points[C] for C in strengths]


def _strengths(Cs: ArrayLike) -> list[float]:
    """Return the values of C as floats, once it is sure that they are such."""
    array = np.asarray(Cs)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iuf" or not np.all(array > 0):
        raise ValueError(f"Cs must be a list of positive numbers; got {Cs!r}")
    return [float(C) for C in array]
