"""Law: with standardize F is that of standardised rows, and derivatives are by parameters of X as it is."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.preprocessing import StandardScaler

from fastsoftmax import SoftmaxObjective, rows_from
from fastsoftmax.solvers import lbfgs
from tests import naive

N, D, K, L2 = 60, 4, 3, 0.03


def problem(loss="softmax"):
    rng = np.random.default_rng(0)
    X = np.where(rng.random((N, D)) < 0.7, rng.normal(size=(N, D)) + 1.0, 0.0) * [1e-2, 1.0, 30.0, 0.0]
    w = rng.integers(0, 3, N).astype(float)
    y = rng.integers(0, K, N) if loss == "softmax" else rng.integers(0, 2, (N, K)).astype(float)
    return X, y, w


def objective_of(kind, loss="softmax", **options):
    X, y, w = problem(loss)
    options = {"l2": L2, "loss": loss, "standardize": True, **options}
    if kind == "rows":

        def make():
            for start in range(0, N, 7):
                part = slice(start, start + 7)
                yield X[part], y[part], w[part]

        return SoftmaxObjective(rows_from(make, memory="8K"), **options)
    make = {"CSR": sp.csr_array, "F": np.asfortranarray}.get(kind, np.asarray)
    return SoftmaxObjective(make(X), y, sample_weight=w, **options)


def deviations():
    X, _, w = problem()
    return StandardScaler().fit(X, sample_weight=w).scale_


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", ["C", "F", "CSR", "rows"])
@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_value_gradient_and_product_are_those_of_the_oracle(kind, loss, fit_intercept):
    X, y, w = problem(loss)
    objective = objective_of(kind, loss, fit_intercept=fit_intercept)
    scale = deviations()
    rng = np.random.default_rng(1)
    coef, v_coef = rng.normal(size=(2, K, D)) / scale
    intercept, v_intercept = rng.normal(size=(2, K)) * fit_intercept
    params, direction = objective.pack(coef, intercept), objective.pack(v_coef, v_intercept)
    np.testing.assert_array_equal(params[: K * D], coef.ravel())
    options = {"l2": L2, "sample_weight": w, "loss": loss}
    value, by_coef, by_intercept = naive.objective(X / scale, y, coef * scale, intercept, **options)
    expected = objective.pack(np.array(by_coef) * scale, by_intercept)
    found, grad = objective.value_and_grad(params)
    assert found == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(grad, expected, rtol=1e-11, atol=1e-13)
    values, grads = objective.values_and_grads([params, 0 * params])
    assert values[0] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(grads[0], expected, rtol=1e-11, atol=1e-13)
    by_coef, by_intercept = naive.hessp(
        X / scale, coef * scale, intercept, v_coef * scale, v_intercept, **options
    )
    expected = objective.pack(np.array(by_coef) * scale, by_intercept)
    np.testing.assert_allclose(objective.hessp(params, direction), expected, rtol=1e-11, atol=1e-13)


def test_other_methods_are_by_the_same_parameters():
    objective = objective_of("C")
    rng = np.random.default_rng(2)
    params = rng.normal(size=objective.n_params) / np.append(np.tile(deviations(), K), np.ones(K))
    hessian = np.array([objective.hessp(params, unit) for unit in np.eye(objective.n_params)])
    np.testing.assert_allclose(objective.diagonal(params), hessian.diagonal(), rtol=1e-10)
    inverse = objective.inverse_hessian(params)
    vector = rng.normal(size=objective.n_params)
    vector[-K:] -= vector[-K:].mean()  # the Hessian is singular along a shift of all intercepts
    np.testing.assert_allclose(hessian @ inverse(vector), vector, rtol=1e-8, atol=1e-10)
    preconditioned = objective.preconditioner(params)
    np.testing.assert_allclose(hessian @ preconditioned(vector), vector, rtol=1e-8, atol=1e-10)
    assert objective.direct is None
    for wrong in ([1.0], np.zeros(objective.n_params + 1)):
        with pytest.raises(ValueError, match="params must have shape"):
            objective.value_and_grad(wrong)


@pytest.mark.parametrize("kind", ["C", "CSR"])
def test_no_bound_is_above_the_minimum(kind):
    objective = objective_of(kind)
    best = lbfgs.minimize(objective, np.zeros(objective.n_params), tol=1e-12)
    rng = np.random.default_rng(0)
    units = np.append(np.tile(1 / deviations(), K), np.ones(K))
    for distance in (1.0, 1e-2, 1e-4):
        x = best.x + distance * units * rng.normal(size=best.x.size)
        value, grad = objective.value_and_grad(x)
        bounds = [objective.lower_bound(x, value, grad), objective.corrected_bound(x, grad, np.inf, 1000)[0]]
        for bound in bounds:
            assert bound is None or bound <= best.value + 1e-13
    assert value - bounds[0] <= 1e-5
    assert bounds[1] is not None
    assert objective.likely_gap(grad) == pytest.approx(value - bounds[0], rel=0.5)


def test_without_a_penalty_nothing_changes():
    X, y, w = problem()
    plain = SoftmaxObjective(X, y, sample_weight=w)
    standardized = objective_of("C", l2=0.0)
    params = np.random.default_rng(3).normal(size=plain.n_params)
    np.testing.assert_allclose(
        standardized.value_and_grad(params)[1], plain.value_and_grad(params)[1], rtol=1e-10
    )


def test_other_strengths_are_of_the_same_parameters():
    objective = objective_of("C")
    params = np.ones(objective.n_params)
    stronger = objective.with_l2(1.0)
    penalty = 0.5 * (1.0 - L2) * K * (deviations() ** 2).sum()
    assert stronger.value(params) - objective.value(params) == pytest.approx(penalty, rel=1e-10)
