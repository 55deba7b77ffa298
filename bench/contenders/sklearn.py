"""scikit-learn: the compiled loss under its estimators, the linear objective, and LogisticRegression."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgWarning
from scipy.optimize._linesearch import LineSearchWarning
from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.linear_model._linear_loss import LinearModelLoss

from bench.contenders import Call, Fitted, NotOfferedError, naive
from bench.contenders.budgets import budgeted
from bench.contenders.threads import THREADS

if TYPE_CHECKING:
    from bench.problems.arrays import FitData, PassData, RowData

SMALL_TOL = 1e-12  # of curves, which end by max_iter
LARGEST_HESSIAN = 5_000


def cross_entropy(data: RowData) -> Call:
    logits, out = data.logits, data.out
    n_rows, n_classes = logits.shape
    loss = HalfMultinomialLoss(n_classes=n_classes)
    losses = np.empty(n_rows, logits.dtype)
    target = data.target.astype(logits.dtype)

    def run() -> tuple[float, np.ndarray]:
        loss.loss_gradient(target, logits, loss_out=losses, gradient_out=out, n_threads=THREADS)
        np.divide(out, n_rows, out=out)  # as LinearModelLoss does: the loss itself gives a sum
        return losses.sum() / n_rows, out

    return Call(run)


def sigmoid_cross_entropy(data: RowData) -> Call:
    """Take every logit for a row of its own: the loss of two classes knows one target a row."""
    logits, target, out = (array.reshape(-1) for array in (data.logits, data.target, data.out))
    n_rows = len(data.logits)
    loss, losses = HalfBinomialLoss(), np.empty_like(logits)

    def run() -> tuple[float, np.ndarray]:
        loss.loss_gradient(target, logits, loss_out=losses, gradient_out=out, n_threads=THREADS)
        np.divide(out, n_rows, out=out)
        return losses.sum() / n_rows, data.out

    return Call(run)


def linear_loss(data: PassData) -> tuple[LinearModelLoss, np.ndarray, np.ndarray]:
    """Give the objective, its coefficients in the order it likes best, and the target as it wants it."""
    loss = LinearModelLoss(HalfMultinomialLoss(n_classes=len(data.coef)), fit_intercept=True)
    return loss, joined(data.coef, data.intercept), data.target.astype(data.X.dtype)


def joined(coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """Put the intercept after the features, (K, d + 1), in Fortran order."""
    return np.asfortranarray(np.column_stack([coef, intercept]))


def value_and_grad(data: PassData) -> Call:
    loss, coef, target = linear_loss(data)
    run = functools.partial(loss.loss_gradient, coef, data.X, target, n_threads=THREADS)
    return Call(run, lambda raw: (np.asarray(raw[0]), raw[1][:, :-1], raw[1][:, -1]))


def hessp(data: PassData) -> Call:
    """Time the product alone: the probabilities at this point are computed before, and kept."""
    loss, coef, target = linear_loss(data)
    _, product = loss.gradient_hessian_product(coef, data.X, target, n_threads=THREADS)
    direction = joined(data.coef_direction, data.intercept_direction).ravel(order="F")

    def read(raw: np.ndarray) -> tuple[np.ndarray, ...]:
        grad = raw.reshape(coef.shape, order="F")
        return grad[:, :-1], grad[:, -1]

    return Call(functools.partial(product, direction), read)


def predict(data: PassData) -> Call:
    model = LogisticRegression()
    model.coef_, model.intercept_ = data.coef, data.intercept
    model.classes_, model.n_features_in_ = np.arange(len(data.coef)), data.X.shape[1]
    return Call(functools.partial(model.predict, data.X), functools.partial(naive.chosen_logits, data))


def fit(data: FitData, solver: str = "lbfgs", tol: float = 1e-8, estimator: Any = LogisticRegression) -> Call:
    # Its default tolerance stops far from the optimum; here max_iter, and the precision of X, decide.
    model = estimator(C=data.C, solver=solver, tol=tol, max_iter=data.max_iter, random_state=0)

    def run() -> Any:
        with warnings.catch_warnings():
            for kind in (ConvergenceWarning, LineSearchWarning, LinAlgWarning):
                warnings.simplefilter("ignore", kind)  # the result says how far it came
            return model.fit(data.X, data.y)

    return Call(run, read_fit)


def read_fit(model: Any) -> Fitted:
    return Fitted(model.coef_, model.intercept_, int(model.n_iter_[0]))


def cholesky_fit(data: FitData) -> Call:
    size = (int(data.y.max()) + 1) * data.X.shape[1]
    if size >= LARGEST_HESSIAN:
        raise NotOfferedError(f"K · d = {size:,}: the Hessian is formed whole only below {LARGEST_HESSIAN:,}")
    return fit(data, "newton-cholesky", SMALL_TOL)


solvers = {
    name: budgeted(functools.partial(fit, solver=name, tol=SMALL_TOL))
    for name in ("lbfgs", "newton-cg", "saga")
} | {"newton-cholesky": budgeted(cholesky_fit)}

sparse_value_and_grad = value_and_grad
sparse_hessp = hessp
sparse_predict = predict
sparse_fit = fit
