"""SciPy: the functions of `scipy.special`, and L-BFGS over a plain NumPy objective, as many people fit.

Declined: cross-entropies of one class a row, of which it has none, and 16 bits, where it sums in 16 bits too
(in bfloat16, a thousand terms are wrong by 5 %).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, special

from bench.contenders import Call, Fitted, naive

if TYPE_CHECKING:
    from bench.problems.arrays import FitData, RowData


def softmax(data: RowData) -> Call:
    return Call(functools.partial(special.softmax, data.logits, axis=data.axis))


def log_softmax(data: RowData) -> Call:
    return Call(functools.partial(special.log_softmax, data.logits, axis=1))


def logsumexp(data: RowData) -> Call:
    return Call(functools.partial(special.logsumexp, data.logits, axis=1))


def sigmoid_cross_entropy(data: RowData) -> Call:
    """Sum −log σ(−z) − t z; the derivative is σ(z) − t."""
    logits, target, out = data.logits, data.target, data.out
    n_rows = len(logits)

    def run() -> tuple[float, np.ndarray]:
        np.negative(logits, out=out)
        value = -(special.log_expit(out, out=out).sum(dtype=np.float64) + np.vdot(target, logits)) / n_rows
        special.expit(logits, out=out)
        np.subtract(out, target, out=out)
        return value, np.divide(out, n_rows, out=out)

    return Call(run)


softmax_axis0 = softmax


def fit(data: FitData) -> Call:
    X, y, C = data.X, data.y, data.C
    n_classes, n_features = int(y.max()) + 1, X.shape[1]
    l2 = 1 / (C * X.shape[0])

    def value_and_grad(params: np.ndarray) -> tuple[float, np.ndarray]:
        coef = params[:-n_classes].reshape(n_classes, n_features)
        logits = X @ coef.T.astype(X.dtype) + params[-n_classes:].astype(X.dtype)
        value, residual = naive.mean_loss_and_residual(logits, y)
        by_coef, by_intercept = naive.gradient(residual, X)
        grad = np.concatenate([(by_coef + l2 * coef).ravel(), by_intercept])
        return value + l2 / 2 * np.vdot(coef, coef), grad

    def read(raw: Any) -> Fitted:
        coef = raw.x[:-n_classes].reshape(n_classes, n_features)
        return Fitted(coef, raw.x[-n_classes:], int(raw.nit), int(raw.nfev))

    start = np.zeros(n_classes * (n_features + 1))
    limits = {"maxiter": data.max_iter, "maxfun": 2 * data.max_iter}
    options = {**limits, "maxcor": 20, "gtol": 1e-8, "ftol": 1e-12}
    run = functools.partial(
        optimize.minimize, value_and_grad, start, jac=True, method="L-BFGS-B", options=options
    )
    return Call(run, read)


sparse_fit = fit
