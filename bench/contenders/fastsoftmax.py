"""Our own, through its public names only and as its documentation says to call it.

Gram matrices have no public name: they are what preconditioners are made of, before they are factorised.
"""

from __future__ import annotations

import functools
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import fastsoftmax
from bench.contenders import Call, Fitted, TimeLimitError, naive
from fastsoftmax.contracts import Params, RowBlock
from fastsoftmax.data import validation
from fastsoftmax.kernels import cpu
from fastsoftmax.losses import softmax as softmax_loss

if TYPE_CHECKING:
    from bench.problems.arrays import FitData, HeadData, PassData, RowData

MAX_STEPS = 100_000  # more than anybody waits for
STEPS_AT_A_TIME = 200  # of a search for the optimum, between two looks at the clock


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


def objective_of(data: PassData, n_threads: int | None = None) -> tuple[Any, np.ndarray]:
    """Give the objective, and the parameters as it wants them."""
    objective = fastsoftmax.SoftmaxObjective(
        data.X, data.target, n_classes=len(data.coef), n_threads=n_threads
    )
    return objective, objective.pack(data.coef, data.intercept)


def value_and_grad(data: PassData, n_threads: int | None = None) -> Call:
    objective, params = objective_of(data, n_threads)

    def read(raw: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        value, grad = raw
        return value, *objective.unpack(grad)

    return Call(functools.partial(objective.value_and_grad, params), read)


def hessp(data: PassData) -> Call:
    objective, params = objective_of(data)
    direction = objective.pack(data.coef_direction, data.intercept_direction)
    return Call(functools.partial(objective.hessp, params, direction), objective.unpack)


def diagonal(data: PassData) -> Call:
    objective, params = objective_of(data)
    return Call(functools.partial(objective.diagonal, params), objective.unpack)


def gram(data: PassData) -> Call:
    rows = validation.design_matrix(data.X)
    block = RowBlock(rows, data.target, np.ones(rows.shape[0]))
    params = Params(data.coef.astype(np.float64), data.intercept.astype(np.float64))
    loss = softmax_loss.for_targets(data.target, len(data.coef))
    run = functools.partial(cpu.gram, loss, params, False, block, dtype=data.X.dtype)
    return Call(run, lambda sums: (np.tril(sums.coef),))  # nothing is promised above the diagonal


def predict(data: PassData) -> Call:
    n_classes = len(data.coef)
    n_rows = 3 * n_classes  # with less than two a class, labels would be taken for a regression's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nothing is to be learnt
        model = fastsoftmax.SoftmaxRegression(max_iter=0)
        model.fit(data.X[:n_rows], np.arange(n_rows) % n_classes)
    model.coef_, model.intercept_ = data.coef, data.intercept
    return Call(functools.partial(model.predict, data.X), functools.partial(naive.chosen_logits, data))


def linear_cross_entropy(data: HeadData) -> Call:
    return Call(functools.partial(fastsoftmax.linear_cross_entropy, data.X, data.coef, data.target))


def linear_cross_entropy_grad(data: HeadData) -> Call:
    both, wanted = fastsoftmax.linear_cross_entropy_value_and_grad, ("X", "weight")

    def read(raw: Any) -> tuple[Any, np.ndarray, np.ndarray]:
        value, grads = raw
        return np.asarray(value), grads.X, grads.weight

    return Call(functools.partial(both, data.X, data.coef, data.target, wrt=wanted), read)


def fit(data: FitData) -> Call:
    model = fastsoftmax.SoftmaxRegression(C=data.C, tol=1e-6)
    return Call(functools.partial(model.fit, data.X, data.y), read_fit)


def watched_fit(
    data: FitData, solver: str, tol: float, limit: float
) -> tuple[Fitted | None, list[tuple[float, Any]]]:
    """Fit for `limit` seconds at most, and give the records of the history with the time of each.

    Times count from the call, and what follows the last step is added to all: a fit that had stopped at one
    of them would have had to do that too. A fit whose time was up gives no parameters.
    """
    records: list[tuple[float, Any]] = []

    def watch(record: Any) -> None:
        records.append((time.perf_counter() - start, record))
        if records[-1][0] > limit:
            raise TimeLimitError

    model = fastsoftmax.SoftmaxRegression(
        C=data.C, solver=solver, tol=tol, max_iter=MAX_STEPS, callbacks=[watch]
    )
    start = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the curve says how far it came
            model.fit(data.X, data.y)
    except TimeLimitError:
        return None, records
    rest = time.perf_counter() - start - records[-1][0]
    return read_fit(model), [(seconds + rest, record) for seconds, record in records]


solvers = {name: functools.partial(watched_fit, solver=name) for name in ("auto", "lbfgs", "newton-cg")}


def optimum(data: FitData, tol: float, limit: float) -> tuple[Fitted, float | None]:
    """Fit float64 X as near to the optimum as can be had in about `limit` seconds.

    Returns the fit and the certified gap relative to F. Where the first solver comes no further, the other
    goes on from there.
    """
    model = fastsoftmax.SoftmaxRegression(C=data.C, tol=tol, max_iter=STEPS_AT_A_TIME, warm_start=True)
    X, deadline = data.X.astype(np.float64), time.perf_counter() + limit
    for solver in ("auto", "newton-cg"):
        before = np.inf
        model.set_params(solver=solver)
        while time.perf_counter() < deadline:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # the gap says how far it came
                model.fit(X, data.y)
            gap = None if model.duality_gap_ is None else model.duality_gap_ / model.objective_
            if gap is not None and gap <= tol:
                return read_fit(model), gap
            if not model.objective_ < before * (1 - tol / 100):
                break
            before = model.objective_
    return read_fit(model), gap


def read_fit(model: Any) -> Fitted:
    passes = model.history_[-1].passes
    return Fitted(model.coef_, model.intercept_, len(model.history_), passes)


sparse_value_and_grad = value_and_grad
sparse_hessp = hessp
sparse_diagonal = diagonal
sparse_gram = gram
sparse_predict = predict
sparse_fit = fit
