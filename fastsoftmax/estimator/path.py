"""Regularisation paths: fits of the same rows for several C and l1_ratios, begun near the last optima."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts.wording import shown
from fastsoftmax.estimator import callbacks as observers
from fastsoftmax.estimator import cv_grid, fitting, hyperparameters, progress_line, streamed
from fastsoftmax.estimator.one_vs_rest import BalancedClasses
from fastsoftmax.estimator.path_starts import Starts
from fastsoftmax.runtime.scikit_learn import _fit_context

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Array, Record


@dataclass(frozen=True, slots=True)
class PathPoint:
    """The result of a fit with one C and l1_ratio.

    Attributes
    ----------
    C, l1_ratio : float
    coef_, intercept_, objective_, duality_gap_, n_iter_, history_
        As `SoftmaxRegression` has them after a fit.
    """

    C: float
    coef_: Array
    intercept_: Array
    objective_: float
    duality_gap_: float | None
    n_iter_: NDArray[np.int32]
    history_: list[Record]
    l1_ratio: float = 0.0


class RegularizationPath(BalancedClasses):
    """The mixin of SoftmaxRegression with `fit_path`."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_path(
        self,
        X: Any,
        y: Any,
        Cs: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        l1_ratios: ArrayLike | None = None,
    ) -> list[PathPoint]:
        """Return the fits of the rows for each C, and each l1_ratio. The estimator itself is not changed.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
        y : array_like, (n,) labels, or (n, K) probabilities (multi-label: labels in [0, 1])
        Cs : array_like (m,)
            Inverse strengths of the penalty, in any order; `inf` means none. The estimator's `C` is ignored.
        sample_weight : array_like (n,), optional
        l1_ratios : array_like (r,), optional
            Values of `l1_ratio`, in place of the estimator's.

        Returns
        -------
        points : list of PathPoint
            One for each C, in the order of `Cs`, each certified to `tol` as a separate fit would be; those of
            the first l1_ratio, of the second …

        Raises
        ------
        ValueError
            As from `fit`; or if `Cs` is not a list of positive numbers, or `l1_ratios` none of numbers from
            0 to 1, or `penalty` is None.

        Warns
        -----
        ConvergenceWarning
            Once for all C whose tolerance was not reached; of each l1_ratio, and of each class where
            one against the rest is balanced.

        Notes
        -----
        X and y are validated once, for each l1_ratio. The most penalised fit comes first; each later one
        starts at the last optimum, or with absolute values on the line through the last two, if F is lower
        there; of the squared norm with the Hessian's blocks (or the rows' principal axes) summed there: the
        path holds one more copy of them, 40 MiB at most. `callbacks` get the records of all fits in turn;
        scikit-learn's own callbacks and `checkpoint` are not used. With `l1_ratio` above 0
        that of C = `inf` starts at the last one with absolute values; rows are validated again for it.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastsoftmax import SoftmaxRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> path = SoftmaxRegression().fit_path(X, y, [0.01, 1, 100])
        >>> [(point.C, round(point.objective_, 2)) for point in path]
        [(0.01, 0.75), (1.0, 0.19), (100.0, 0.05)]
        """
        if l1_ratios is not None:
            ratios = cv_grid.ratios_of(l1_ratios).tolist()
            return [
                point
                for ratio in ratios
                for point in _with_ratio(self, ratio).fit_path(X, y, Cs, sample_weight)
            ]
        strengths = _strengths(Cs)
        if self._balances_each():
            rows, labels_of_rows, weight = streamed.arrays_of(X, y, sample_weight)
            return self._path_each(rows, labels_of_rows, Cs, weight)
        model: Any = copy.copy(self)  # the copy gets the fitted attributes
        if model.penalty is None:
            raise ValueError("fit_path needs a penalty whose strength C is; got penalty=None")
        settings = hyperparameters.settle(model, max(strengths))
        finite = [C for C in strengths if np.isfinite(C)]
        ends_without = len(finite) < len(strengths)  # a penalty
        if ends_without and finite and hyperparameters.settle(model, max(finite)).is_sparse:
            settings = hyperparameters.settle(model, max(finite))
        points, short = {}, {}
        with progress_line.shown(model.verbose) as line:
            fit, labels = model._prepared(X, y, sample_weight, settings)
            starts = Starts(fitting.start_of(model, fit, labels))
            for C in sorted(set(strengths)):
                if settings.is_sparse and not np.isfinite(C):  # smooth, and so of another solver
                    fit, _ = model._prepared(X, y, sample_weight, hyperparameters.settle(model, C))
                    starts = Starts(fit.parameters_of(model.coef_, model.intercept_))
                fit = fit.at(C)
                x = starts.at(C, fit.objective)
                models = model._models_of(fit, fit.solver)
                solution = model._minimize(fit.solver, fit.objective, x, line, model_at=models)
                starts.note(C, fit.objective, solution)
                model._keep(solution, fit, fit.solver)
                if not solution.converged and solution.message != observers.ASKED:
                    short[C] = fit.solver, solution
                points[C] = PathPoint(
                    C,
                    model.coef_,
                    model.intercept_,
                    model.objective_,
                    model.duality_gap_,
                    model.n_iter_,
                    model.history_,
                    settings.l1_ratio,
                )
        if short:
            model._warn_of_path(short, len(points))
        return [points[C] for C in strengths]


def _with_ratio(model: Any, l1_ratio: float) -> Any:
    """Return a copy of a model with another l1_ratio."""
    other = copy.copy(model)
    other.l1_ratio = l1_ratio
    return other


def _strengths(Cs: ArrayLike) -> list[float]:
    """Return the values of C as floats; ValueError unless they are a list of positive numbers."""
    array = np.asarray(Cs)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iuf" or not np.all(array > 0):
        raise ValueError(f"Cs must be a list of positive numbers; got {shown(Cs)}")
    return [float(C) for C in array]
