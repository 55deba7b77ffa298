"""Law: Newton's method comes to the optimum however its systems are solved, and in few steps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_iris, load_wine

from fastsoftmax import SoftmaxObjective, SoftmaxRegression

SETS = {"iris": load_iris, "wine": load_wine}  # columns of one unit, and of a thousand


@pytest.mark.parametrize("C", [0.01, 100.0])
@pytest.mark.parametrize("solver", ["newton-cg", "newton-cholesky"])
@pytest.mark.parametrize("name", SETS)
def test_the_optimum_is_that_of_the_other_solver(name, solver, C):
    X, y = SETS[name](return_X_y=True)
    other = SoftmaxRegression(C=C, tol=1e-10).fit(X, y)
    found = SoftmaxRegression(C=C, tol=1e-10, solver=solver).fit(X, y)
    assert found.solver_ == solver
    assert found.objective_ == pytest.approx(other.objective_, rel=2e-10)
    assert found.n_iter_[0] < 40


def test_with_the_hessian_itself_a_step_reads_the_rows_two_times():
    X, y = load_iris(return_X_y=True)
    found = SoftmaxRegression(solver="newton-cholesky", C=1e-3).fit(X, y)
    halved = found.history_[-1].passes - 2 * found.n_iter_[0]
    assert found.n_iter_[0] >= 2
    assert halved <= 1 + 2 * 3  # the start, and bounds of F*


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_the_inverse_is_that_of_the_hessian(l2, fit_intercept, loss):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    target = y if loss == "softmax" else np.eye(3)[y]
    objective = SoftmaxObjective(sp.csr_array(X), target, l2=l2, fit_intercept=fit_intercept, loss=loss)
    x = rng.normal(size=objective.n_params)
    v = objective.hessp(x, rng.normal(size=x.size))  # in the range of a Hessian that may be singular
    np.testing.assert_allclose(objective.hessp(x, objective.inverse_hessian(x)(v)), v, rtol=1e-8, atol=1e-10)


def test_of_many_parameters_conjugate_gradients_do_without_the_hessian():
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(3000, 700)).astype(np.float32), rng.integers(0, 3, 3000)
    model = SoftmaxRegression(solver="newton-cholesky", C=1e-3).fit(X, y)
    assert model.solver_ == "newton-cg"
    with pytest.raises(ValueError, match="too large"):
        SoftmaxObjective(X, y).inverse_hessian(np.zeros(3 * 701))
