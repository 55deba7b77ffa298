"""Law: whatever a sample says, Newton's method with its Hessian ends at the certified optimum of all rows."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, rows_from
from fastsoftmax.solvers import accepting, sampled_newton

N, TOL = 6000, 1e-6


class Misled:
    """A plain objective with a model of other rows: its Hessian is wrong by `factor`, or of a few rows."""

    def __init__(self, objective, other, factor):
        self._objective, self._other, self._factor = objective, other, factor
        self.has_small_hessian = self.sums_hessian = False
        self.recipe = np.zeros((1, objective.size))

    def __getattr__(self, name):
        return getattr(self._objective, name)

    @property
    def offers(self):
        return self._objective.offers | {"model"}

    def value_grad_and_model(self, x, *, near=False):
        return *self._objective.value_and_grad(x), _Model(self._other, self._factor)

    def returns_to(self, x, value, grad):
        pass


class _Model:
    def __init__(self, other, factor):
        self._other, self._factor = other, factor

    def value_and_grad(self, x):
        value, grad = self._other.value_and_grad(x)
        return self._factor * value, self._factor * grad

    def hessian(self, x):
        product = self._other.hessian(x)
        return lambda v: self._factor * product(v)

    def inverse(self, x):
        inverse = self._other.inverse_hessian(x)
        return lambda v: inverse(v) / self._factor

    def solved(self, x, target, inverse):
        return x + inverse(target - self.value_and_grad(x)[1])

    def end(self, x, grad, steps):
        return steps[0]


@pytest.mark.parametrize("factor", [0.02, 1.0, 50.0])
def test_a_model_that_is_wrong(factor):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6))
    y = (X @ rng.normal(size=(6, 3)) + rng.gumbel(size=(300, 3))).argmax(axis=1)
    objective = SoftmaxObjective(X, y, l2=0.01)
    other = SoftmaxObjective(X[:40], (y[:40] + 1) % 3, l2=0.01, n_classes=3)
    solver = accepting("sampled-newton", Misled(objective, other, factor))
    found = solver.minimize(Misled(objective, other, factor), np.zeros(objective.size), tol=TOL)
    assert found.converged
    assert found.message == "certified"
    assert found.gap <= TOL * found.value


def test_a_plain_objective_is_refused():
    with pytest.raises(ValueError, match="a model of it by rows in memory"):
        accepting("sampled-newton", SoftmaxObjective([[1.0], [-1.0]], [0, 1]))
    assert "model" in sampled_newton.NEEDS


def data(kind):
    rng = np.random.default_rng(5)
    n_features, n_classes = 40, 8
    X = rng.normal(size=(N, n_features)) * rng.gamma(2.0, 0.5, size=(N, 1))
    W = rng.normal(size=(n_features, n_classes))
    y = (X @ W + rng.gumbel(size=(N, n_classes))).argmax(axis=1)
    if kind == "sorted":
        order = np.argsort(y, kind="stable")
        return X[order], y[order]
    if kind == "outliers":  # in three rows only, none of which a quarter is likely to have
        X[:, 0] = 0.0
        X[[7, 2000, 5999], 0] = 500.0
    elif kind == "rare":
        y[(y == 3) & (np.arange(N) > 60)] = 4
    return X, y


@pytest.mark.parametrize(("kind", "most"), [("plain", 12), ("sorted", 12), ("rare", 12), ("outliers", 30)])
def test_readings_are_few_and_the_optimum_is_that_of_arrays(kind, most):
    X, y = data(kind)

    def make():
        for start in range(0, N, 150):
            yield X[start : start + 150], y[start : start + 150]

    rows = rows_from(make, memory=6 * X.nbytes // 4 - 8)  # two thirds hold almost all
    found = SoftmaxRegression(tol=TOL).fit(rows)
    assert rows.look().kept is None
    assert found.solver_ == "sampled-newton"
    expected = SoftmaxRegression(tol=TOL).fit(X, y)
    assert found.duality_gap_ <= TOL * found.objective_
    assert abs(found.objective_ - expected.objective_) <= 2 * TOL * expected.objective_
    assert found.history_[-1].passes <= most
