"""Many fits of the same rows with different weights: bootstrap samples, folds, cross-fitting."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import validation
from fastsoftmax.estimator import counts, hyperparameters, progress_line
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.estimator.fitting import LOOSE, Fit, features_of
from fastsoftmax.estimator.one_vs_rest import BalancedClasses
from fastsoftmax.runtime import blas, library
from fastsoftmax.runtime.executor import available_threads
from fastsoftmax.runtime.scikit_learn import _fit_context
from fastsoftmax.solvers import many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Array, MatrixLike, Vector
    from fastsoftmax.estimator.hyperparameters import Settings


@dataclass(frozen=True, slots=True)
class ManyFits:
    """The results of `fit_many`: arrays over the m fits, and each of them as a fitted model by its index.

    Attributes
    ----------
    coef_ : ndarray (m, K, d), or (m, 1, d) for two classes
    intercept_ : ndarray (m, K), or (m, 1)
    objective_, duality_gap_ : ndarrays (m,), float64
        F of each fit at its coefficients, in nats, and an upper bound of F − min F; NaN without a penalty.
    n_iter_ : ndarray (m,), int32
    converged_ : ndarray (m,), bool
        Whether the tolerance was reached.
    model : SoftmaxRegression
        A fitted model of the same rows, of which those of single fits are copies.
    C : ndarray (m,)
    """

    coef_: Array
    intercept_: Array
    objective_: Vector
    duality_gap_: Vector
    n_iter_: NDArray[np.int32]
    converged_: NDArray[np.bool_]
    C: Vector
    model: Any

    def __len__(self) -> int:
        return len(self.objective_)

    def __getitem__(self, i: int) -> Any:
        """Return fit i as a fitted SoftmaxRegression; its `history_` is empty. Raises IndexError."""
        model = copy.copy(self.model)
        gap = float(self.duality_gap_[i])
        model.__dict__.update(
            C=float(self.C[i]), coef_=self.coef_[i].copy(), intercept_=self.intercept_[i].copy(),
            objective_=float(self.objective_[i]), duality_gap_=None if np.isnan(gap) else gap,
            n_iter_=self.n_iter_[i : i + 1].copy(), history_=[],
        )  # fmt: skip
        return model

    def replace(self, i: int, fitted: Any) -> None:
        """Replace fit i by a model that was fitted by itself."""
        self.coef_[i], self.intercept_[i] = fitted.coef_, fitted.intercept_
        found = _numbers(fitted)
        self.objective_[i], self.duality_gap_[i], self.n_iter_[i], self.converged_[i] = found

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


class ManyFitting(BalancedClasses):
    """The mixin of SoftmaxRegression with `fit_many`."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_many(
        self, X: MatrixLike, y: ArrayLike, sample_weights: ArrayLike, *, Cs: ArrayLike | None = None
    ) -> ManyFits:
        """Return the fits of the same rows with each of many weights. The estimator itself is not changed.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
        y : array_like, (n,) labels, or (n, K) probabilities (multi-label: labels in [0, 1])
        sample_weights : array_like (m, n)
            The weights of each fit: how often a bootstrap sample has a row, 1 and 0 for those inside and
            outside a fold's training set. A row of weight zero has no effect.
        Cs : array_like (m,), optional
            The inverse strength of the penalty of each fit; by default the estimator's `C`.

        Returns
        -------
        fits : ManyFits
            Each certified to `tol`, as a separate fit would be.

        Raises
        ------
        ValueError
            As from `fit`; or if the weights are no matrix with a column for each row, or `Cs` not a list of
            positive numbers, one for each.

        Warns
        -----
        ConvergenceWarning
            Once, if some fits did not reach the tolerance; the message gives their number.

        Notes
        -----
        X and y are validated once. Small problems (a pass over the rows of at most some milliseconds, with
        a penalty) are minimised some at a time in each thread: dense X is read once for up to 16 of them.
        Larger ones, and those with `l1_ratio` above 0 or `penalty_weights`, are fitted one after the other,
        with all threads. Results do not depend on `n_threads`.
        With `standardize` each fit has the deviations by its own weights.
        A class that has no row in some fit stays in `classes_`, with a probability of 0 there. `callbacks`,
        `checkpoint` and `warm_start` are not used.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from fastsoftmax import SoftmaxRegression
        >>> X, y = load_iris(return_X_y=True)
        >>> rng = np.random.default_rng(0)
        >>> counts = rng.multinomial(len(X), np.full(len(X), 1 / len(X)), size=100)
        >>> fits = SoftmaxRegression().fit_many(X, y, counts)
        >>> fits.coef_.std(axis=0).shape
        (3, 4)
        >>> round(fits[0].score(X, y), 2)
        0.97
        """
        if self._balances_each():
            return self._many_each(X, y, sample_weights, Cs)
        model: Any = copy.copy(self)  # the copy gets the fitted attributes
        given = _matrix(sample_weights)
        strengths = _strengths(Cs, len(given), model.C)
        model.C = max(strengths)
        settings = hyperparameters.settle(model)
        fits = None
        if settings.intercept_scaling is None and np.isfinite(settings.C) and not settings.is_sparse:
            with progress_line.shown(model.verbose):
                fits = _together(model, model._given(X, y, None, reset=True), given, strengths, settings)
        if fits is None:
            each = [_alone(self, X, y, weight, C) for weight, C in zip(given, strengths, strict=True)]
            fits = _joined(each, strengths)
        elif not fits.converged_.all():
            # Too many steps for the solver of small problems: these few by the other.
            for i in np.flatnonzero(~fits.converged_).tolist():
                fits.replace(i, _alone(self, X, y, given[i], strengths[i]))
        short = int(np.count_nonzero(~fits.converged_))
        if short:
            warnings.warn(
                f"{short} of {len(fits)} fits failed to converge: see converged_ and duality_gap_. Increase "
                "the number of iterations (max_iter), scale the data, or raise tol.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return fits


def _matrix(sample_weights: Any) -> Vector:
    """Return the weights as float64 (m, n). Raises ValueError for another shape."""
    weights = validation.real("sample_weights", sample_weights)
    if weights.ndim != 2 or len(weights) == 0:
        raise ValueError(f"sample_weights must be a matrix (m, n), a row for each fit; got {weights.shape}")
    return weights


def _strengths(Cs: Any, m: int, C: float) -> list[float]:
    """Return the m values of C. Raises ValueError unless they are positive numbers, one for each fit."""
    if Cs is None:
        return [float(C)] * m
    array = np.asarray(Cs)
    if array.shape != (m,) or array.dtype.kind not in "iuf" or not np.all(array > 0):
        raise ValueError(f"Cs must be {m} positive numbers, one for each fit; got {shown(Cs)}")
    return [float(C) for C in array]


def _together(
    model: Any,
    given: tuple[Any, Any, Any],
    sample_weights: Vector,
    strengths: list[float],
    settings: Settings,
) -> ManyFits | None:
    """Return the fits by the solver of small problems, and leave the common attributes in `model`.

    Those that it has not certified are not converged. None where the problem is not small.
    """
    rows, y, _ = given
    if sample_weights.shape[1] != rows.shape[0]:
        raise ValueError(
            f"sample_weights must have {rows.shape[0]} columns, one for each row of X; "
            f"got {sample_weights.shape}"
        )
    labels = label_reader.read(y, rows, model.loss, multi_class=model.multi_class)
    weights = np.stack([label_reader.weights(y, weight, model.class_weight) for weight in sample_weights])
    row_weights = sample_weights * counts.totals(y)
    features = features_of(model, rows, row_weights[:1])
    fit = Fit(model, rows, labels, weights[0], settings, features=features)
    if fit.solver != "lbfgs" or model.tol < LOOSE or fit.is_rotated or fit.objective.direct is None:
        return None
    zero = np.zeros(fit.objective.n_params)
    starts = [fit.start(zero, label_reader.unobserved_classes(labels, weight)) for weight in weights]
    l2 = 1.0 / (np.array(strengths) * weights.sum(axis=1))
    features = features_of(model, rows, row_weights)
    task = fit.objective.direct.task_of(weights, l2, starts, features=features)
    threads = available_threads() if model.n_threads is None else model.n_threads
    with blas.one_thread():
        found = many.minimize(task, tol=model.tol, max_iter=model.max_iter, n_threads=threads)
    coef, intercept = fit.attributes_of_many(found.x, features)
    model.__dict__.update(labels.attributes, _float64_products=False)
    model.solver_, model.device_ = fit.ran(fit.solver), fit.device
    model.kernels_, model._precision = library.identity(), None
    return ManyFits(
        coef, intercept, found.value, found.gap, found.n_steps, found.certified, np.array(strengths), model,
    )  # fmt: skip


def _alone(model: Any, X: Any, y: Any, sample_weight: Vector, C: float) -> Any:
    """Return a model fitted by itself; `converged_` tells whether it reached its tolerance."""
    fitted = copy.copy(model)
    fitted.C, fitted.callbacks, fitted.checkpoint, fitted.warm_start = C, None, None, False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        fitted.fit(X, y, sample_weight)
    for warning in caught:
        if not issubclass(warning.category, ConvergenceWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    fitted.converged_ = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return fitted


def _numbers(fitted: Any) -> tuple[float, float, int, bool]:
    """Return F, its gap (NaN if there is none), the steps, and whether the tolerance was reached."""
    gap = np.nan if fitted.duality_gap_ is None else fitted.duality_gap_
    return fitted.objective_, gap, int(fitted.n_iter_[0]), fitted.__dict__.pop("converged_")


def _joined(each: list[Any], strengths: list[float]) -> ManyFits:
    """Return the results of models that were fitted by themselves."""
    value, gap, n_iter, converged = zip(*map(_numbers, each), strict=True)
    return ManyFits(
        np.stack([validation.real("coef_", fitted.coef_) for fitted in each]),
        np.stack([validation.real("intercept_", fitted.intercept_) for fitted in each]),
        np.array(value), np.array(gap), np.array(n_iter, np.int32), np.array(converged),
        np.array(strengths), each[0],
    )  # fmt: skip
