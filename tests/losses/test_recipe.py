"""Law: a loss is one file and one line, which give it every storage, verb, solver and certificate."""

from __future__ import annotations

import sys
from typing import NamedTuple

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize

from fastsoftmax import SoftmaxObjective, losses
from fastsoftmax.contracts import Params, RowBlock
from fastsoftmax.kernels import cpu
from fastsoftmax.solvers import lbfgs, newton_cg, newton_cholesky
from tests.losses import poisson

N, D, K = 83, 5, 3
L2 = 0.05
STORAGES = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "float16": lambda X: X.astype(np.float16),
    "int8": lambda X: (10 * X).astype(np.int8),
    "by columns": np.asfortranarray,
    "CSR": lambda X: sp.csr_array(np.where(X > 0, X, 0.0)),
    "CSC": lambda X: sp.csc_array(np.where(X > 0, X, 0.0)),
}


@pytest.fixture(autouse=True)
def _added(monkeypatch):
    monkeypatch.setattr(losses, "_FAMILIES", dict(losses._FAMILIES))
    losses.add("poisson", poisson)


def draw(storage="float64"):
    rng = np.random.default_rng(9)
    X = STORAGES[storage](0.3 * rng.normal(size=(N, D)))
    if storage == "int8":
        X //= 4
    return X, rng.random((N, K)), rng.uniform(0.5, 2.0, N)


def plain(X, t, weight, x):
    """F and its gradient in plain NumPy."""
    X = X.toarray() if sp.issparse(X) else X
    ones = np.column_stack([X.astype(np.float64), np.ones(len(X))])
    W = np.column_stack([x[: K * D].reshape(K, D), x[K * D :]])
    z = ones @ W.T
    value = weight @ (np.exp(z) - t * z).sum(axis=1) / weight.sum() + 0.5 * L2 * np.sum(x[: K * D] ** 2)
    slope = ((np.exp(z) - t) * weight[:, np.newaxis]).T @ ones / weight.sum()
    return value, np.concatenate([slope[:, :-1].ravel() + L2 * x[: K * D], slope[:, -1]])


@pytest.mark.parametrize("storage", STORAGES)
def test_on_every_storage(storage):
    X, t, weight = draw(storage)
    objective = SoftmaxObjective(X, t, l2=L2, sample_weight=weight, loss="poisson")
    x, v = 0.2 * np.random.default_rng(1).normal(size=(2, objective.n_params))
    tolerance = 1e-5 if objective.is_float32 else 1e-11
    value, grad = objective.value_and_grad(x)
    wanted, slope = plain(X, t, weight, x)
    assert value == pytest.approx(wanted, rel=tolerance)
    np.testing.assert_allclose(grad, slope, rtol=0, atol=tolerance * np.abs(slope).max())
    product = (plain(X, t, weight, x + 1e-5 * v)[1] - plain(X, t, weight, x - 1e-5 * v)[1]) / 2e-5
    np.testing.assert_allclose(objective.hessp(x, v), product, rtol=0, atol=1e-4 * np.abs(product).max())
    units = np.eye(objective.n_params)
    columns = np.array([objective.hessian(x)(e) for e in units])
    np.testing.assert_allclose(objective.diagonal(x), np.diag(columns), rtol=1e-4)
    exact = objective.in_float64() or objective
    inverse = exact.inverse_hessian(x)
    np.testing.assert_allclose(inverse(exact.hessp(x, v)), v, rtol=1e-6, atol=1e-8)
    values, grads = objective.values_and_grads(np.stack([x, v]))
    assert values[0] == pytest.approx(value, rel=tolerance)
    np.testing.assert_allclose(grads[0], grad, rtol=0, atol=tolerance * np.abs(grad).max())


@pytest.mark.parametrize("storage", STORAGES)
def test_as_a_model_stores_it(storage):
    X, t, weight = draw(storage)
    objective = SoftmaxObjective(X, t, l2=L2, sample_weight=weight, loss="poisson").storing(np.float32)
    x = 0.2 * np.random.default_rng(1).normal(size=objective.n_params)
    own, grad = objective.value_and_grad(x)
    value, hidden = objective.as_stored(x, own, grad)
    if objective.is_float32:
        t = t.astype(np.float32)
    wanted = plain(X, t, weight, x.astype(np.float32).astype(np.float64))[0]
    assert value == pytest.approx(wanted, rel=1e-13)
    slope = plain(X, t, weight, x)[1] if objective.is_float32 else grad
    assert hidden == pytest.approx(objective.likely_gap(slope) - objective.likely_gap(grad), abs=1e-13)


@pytest.mark.parametrize("solver", [lbfgs, newton_cg, newton_cholesky])
@pytest.mark.parametrize("storage", ["float64", "float32", "CSR"])
def test_to_a_certified_minimum(storage, solver):
    X, t, weight = draw(storage)
    objective = SoftmaxObjective(X, t, l2=L2, sample_weight=weight, loss="poisson")
    found = solver.minimize(objective, np.zeros(objective.n_params), tol=1e-6)
    best = minimize(
        lambda x: plain(X, t, weight, x), np.zeros(objective.n_params), jac=True, options={"gtol": 1e-12}
    )
    assert found.converged
    assert found.gap is not None
    assert best.fun - 1e-9 <= found.value <= best.fun + found.gap + 1e-7
    assert found.gap <= 1e-6 * found.value


class Unknown(NamedTuple):
    """Numbers of a loss that nothing is registered for."""

    class_weight: np.ndarray


def test_an_unknown_loss_is_refused_by_its_name():
    rows = RowBlock(np.ones((2, 1)), np.zeros((2, 2)), np.ones(2))
    here = Params(np.zeros((2, 1)), np.zeros(2))
    with pytest.raises(TypeError, match="row functions of the loss Unknown"):
        cpu.loss_grad(Unknown(np.ones(2)), here, rows)
    with pytest.raises(TypeError, match="unknown loss Unknown"):
        cpu.target_sum(Unknown(np.ones(2)), rows)
    with pytest.raises(ValueError, match="loss must be one of 'softmax', 'sigmoid', 'poisson'; got 'hinge'"):
        SoftmaxObjective([[1.0]], [[1.0]], loss="hinge")


def test_the_module_of_the_loss_says_all_that_is_asked():
    from fastsoftmax.contracts.protocols import LossFamily

    asked = {name for name in [*LossFamily.__annotations__, *vars(LossFamily)] if not name.startswith("_")}
    for name in losses.names():
        family = losses.family(name)
        assert asked <= set(vars(family)), name
        assert family.__name__ in sys.modules
