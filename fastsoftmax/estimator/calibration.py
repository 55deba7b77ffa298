"""Calibrated probabilities: a map of a classifier's logits, fitted on rows that it has not seen."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import validation
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.estimator.fitting import kept_on_failure
from fastsoftmax.estimator.minimising import minimize, shortfall_of
from fastsoftmax.estimator.saving_calibrated import CalibratedPersistence
from fastsoftmax.estimator.softmax_regression import SoftmaxRegression
from fastsoftmax.objective.scaled_logits import ScaledLogits

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike, Vector

METHODS = ("temperature", "vector", "matrix")
# Steps of an exact Newton method cost little here; a whole matrix is fitted as any other model is.
TOL, MATRIX_TOL, MAX_ITER = 1e-10, 1e-8, 200


class CalibratedClassifier(CalibratedPersistence, ClassifierMixin, BaseEstimator):
    """A fitted classifier whose logits z (n, K) become z Aᵀ + b, with A and b of a few parameters [1]_.

    Parameters
    ----------
    estimator : classifier
        Fitted, with `decision_function` or `predict_proba`; `clone` copies it unfitted unless it is in
        scikit-learn's FrozenEstimator, as `SoftmaxRegression.calibrate` puts it.
    method : {"temperature", "vector", "matrix"}
        "temperature": z / T, one number, which changes no prediction; "vector": aₖ zₖ + bₖ for each class (of
        two, Platt's a z + b); "matrix": all of A and b, K² + K numbers, for which C should be finite.
    C : float, default inf
        Inverse strength of the penalty ‖A‖² / (2 C) of "matrix"; `inf` means none.

    Attributes
    ----------
    coef_ : ndarray (K, K), or (1, 1) for two classes
        A, for logits without their mean over classes.
    intercept_ : ndarray (K,), or (1,)
    temperature_ : float
        T, of the method "temperature".
    classes_ : ndarray (K,)

    Notes
    -----
    Fitted by the likelihood of the rows given to `fit`, by this package's objectives and solvers. Rows that
    the classifier was fitted on are of no use: its probabilities look right there.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastsoftmax import SoftmaxRegression
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SoftmaxRegression(C=100.0).fit(X[:600], y[:600])
    >>> calibrated = model.calibrate(X[600:1200], y[600:1200])
    >>> bool(calibrated.temperature_ > 1.0)  # the model was too sure of itself
    True
    """

    def __init__(self, estimator: Any = None, *, method: str = "temperature", C: float = np.inf) -> None:
        self.estimator = estimator
        self.method = method
        self.C = C

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags

        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.estimator is not None and get_tags(self.estimator).input_tags.sparse
        return tags

    def fit(self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the map of the logits to held-out rows; the classifier stays as it is.

        Parameters
        ----------
        X : array_like or sparse matrix (n, d)
        y : array_like (n,) labels among the classifier's, or (n, K) probabilities
        sample_weight : array_like (n,), optional

        Raises
        ------
        ValueError
            For other options, labels that are not among the classifier's classes, and logits that do not tell
            of the labels at all ("temperature").
        sklearn.exceptions.NotFittedError
            If the classifier is not fitted.
        """
        if self.method not in METHODS:
            raise ValueError(
                f"method must be one of {', '.join(map(repr, METHODS))}; got {shown(self.method)}"
            )
        if not self.C > 0.0:
            raise ValueError(f"C must be positive; got {shown(self.C)}")
        check_is_fitted(self.estimator)
        with kept_on_failure(self):
            self.classes_ = np.asarray(self.estimator.classes_)
            z = self._logits(X)
            labels = label_reader.read(y, z, "softmax", classes=self.classes_)
            weight = label_reader.weights(y, sample_weight, None)
            self._fit(z, labels.target, weight)
        return self

    def _fit(self, z: Vector, target: Any, weight: Vector) -> None:
        """Set the map of logits that is the most likely one."""
        n_outputs = z.shape[1]
        self._refuse_unobserved(target, weight)
        if n_outputs > 1 and self.method != "matrix":
            objective: Any = ScaledLogits(z, target, weight, shared=self.method == "temperature")
            start = np.ones(objective.size)
            start[n_outputs:] = 0.0
            solution = minimize(
                objective, start, "newton-cholesky", tol=TOL, max_iter=MAX_ITER, callback=None
            )
            if not solution.converged:
                warnings.warn(f"calibration: {shortfall_of(solution, TOL)}", ConvergenceWarning, stacklevel=4)
            slopes, self.intercept_ = objective.map_of(solution.x)
            self.coef_ = np.diag(slopes)
        else:
            shares = target if target.ndim == 2 else np.eye(n_outputs)[target]
            shares = np.hstack((1.0 - shares, shares)) if n_outputs == 1 else shares
            model = SoftmaxRegression(
                C=self.C if self.method == "matrix" and n_outputs > 1 else np.inf,
                fit_intercept=self.method != "temperature", tol=MATRIX_TOL,
            ).fit(z, shares, weight)  # fmt: skip
            self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.__dict__.pop("temperature_", None)
        if self.method == "temperature":
            if not self.coef_[0, 0] > 0.0:
                raise ValueError("the logits do not tell of these labels: no temperature above zero is best")
            self.temperature_ = float(1.0 / self.coef_[0, 0])
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator, name):
                setattr(self, name, getattr(self.estimator, name))

    def _refuse_unobserved(self, target: Any, weight: Vector) -> None:
        """Raise ValueError for a class without rows, of which a slope and a shift have no finite best."""
        if self.method == "temperature":
            return
        if target.ndim == 1:
            totals = np.bincount(target, weights=weight, minlength=len(self.classes_))
        else:
            totals = weight @ target
            totals = np.append(weight.sum() - totals, totals) if len(totals) == 1 else totals
        if not totals.all():
            raise ValueError(
                f"class {shown(self.classes_[np.flatnonzero(totals == 0)[0]])} has no row here; "
                "method='temperature' needs none of each"
            )

    def decision_function(self, X: MatrixLike) -> Vector:
        """Return the calibrated logits, (n, K), or (n,) for two classes."""
        logits = self._calibrated(X)
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_log_proba(self, X: MatrixLike) -> Vector:
        """Return the calibrated log-probabilities, (n, K)."""
        logits = self._calibrated(X)
        if logits.shape[1] == 1:
            logits = np.column_stack((np.zeros(len(logits)), logits[:, 0]))
        result: Vector = log_softmax(logits, axis=1)
        return result

    def predict_proba(self, X: MatrixLike) -> Vector:
        """Return the calibrated probabilities, (n, K), float64."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: MatrixLike) -> Any:
        """Return the most probable label of each row, (n,)."""
        logits = self._calibrated(X)
        best = (logits[:, 0] > 0).astype(np.intp) if logits.shape[1] == 1 else logits.argmax(axis=1)
        return self.classes_[best]

    def _calibrated(self, X: MatrixLike) -> Vector:
        check_is_fitted(self)
        return self._logits(X) @ self.coef_.T + self.intercept_

    def _logits(self, X: MatrixLike) -> Vector:
        """Return the classifier's logits as float64, without their mean over classes; (n, 1) for two."""
        if hasattr(self.estimator, "decision_function"):
            logits = validation.real("decision_function", self.estimator.decision_function(X))
        else:
            proba = validation.real("predict_proba", self.estimator.predict_proba(X))
            logits = np.log(np.maximum(proba, np.finfo(np.float64).tiny))
            logits = logits[:, 1] - logits[:, 0] if proba.shape[1] == 2 else logits
        n_outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        multilabel = getattr(self.estimator, "_multilabel", False)
        if logits.reshape(len(logits), -1).shape[1] != n_outputs or multilabel:
            raise ValueError(
                "calibration takes a classifier with one logit for each of its classes, and classes that "
                "exclude each other"
            )
        if n_outputs == 1:
            return logits.reshape(-1, 1)
        return logits - logits.mean(axis=1, keepdims=True)
