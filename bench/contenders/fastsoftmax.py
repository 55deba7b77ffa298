"""Our own, through its public names only and as its documentation says to call it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import fastsoftmax
from bench.contenders import Call, Fitted

if TYPE_CHECKING:
    import numpy as np

    from bench.problems import FitData, PassData, RowData


def softmax(data: RowData) -> Call:
    return Call(functools.partial(fastsoftmax.softmax, data.logits, axis=data.axis))


def softmax_out(data: RowData) -> Call:
    return Call(functools.partial(fastsoftmax.softmax, data.logits, axis=data.axis, out=data.out))


def log_softmax(data: RowData) -> Call:
    return Call(functools.partial(fastsoftmax.log_softmax, data.logits, axis=1))


def logsumexp(data: RowData) -> Call:
    return Call(functools.partial(fastsoftmax.logsumexp, data.logits, axis=1))


def cross_entropy(data: RowData) -> Call:
    both = fastsoftmax.cross_entropy_value_and_grad
    return Call(functools.partial(both, data.logits, data.target, out=data.out))


def sigmoid_cross_entropy(data: RowData) -> Call:
    both = fastsoftmax.sigmoid_cross_entropy_value_and_grad
    return Call(functools.partial(both, data.logits, data.target, out=data.out))


softmax_axis0 = softmax_out
narrow_softmax = softmax
narrow_softmax_out = softmax_out
narrow_logsumexp = logsumexp
narrow_cross_entropy = cross_entropy
narrow_sigmoid_cross_entropy = sigmoid_cross_entropy


def value_and_grad(data: PassData) -> Call:
    objective = fastsoftmax.SoftmaxObjective(data.X, data.target, n_classes=len(data.coef))
    params = objective.pack(data.coef, data.intercept)

    def read(raw: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        value, grad = raw
        return value, *objective.unpack(grad)

    return Call(functools.partial(objective.value_and_grad, params), read)


def hessp(data: PassData) -> Call:
    objective = fastsoftmax.SoftmaxObjective(data.X, data.target, n_classes=len(data.coef))
    params = objective.pack(data.coef, data.intercept)
    direction = objective.pack(data.coef_direction, data.intercept_direction)
    return Call(functools.partial(objective.hessp, params, direction), objective.unpack)


def fit(data: FitData) -> Call:
    model = fastsoftmax.SoftmaxRegression(C=data.C, tol=1e-6)
    return Call(functools.partial(model.fit, data.X, data.y), read_fit)


def read_fit(model: Any) -> Fitted:
    passes = model.history_[-1].passes
    return Fitted(model.coef_, model.intercept_, len(model.history_), passes)


sparse_value_and_grad = value_and_grad
sparse_hessp = hessp
sparse_fit = fit
