"""Law: without a penalty, a bound by self-concordance is not above the least objective, and near it close."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.contracts import Centre
from fastsoftmax.objective import unpenalised
from fastsoftmax.objective.unpenalised import suboptimality
from fastsoftmax.solvers import newton_cg

N, D = 211, 3
KINDS = {"binary": 1, "labels": 3, "smoothed": 4, "probabilities": 3, "sigmoid": 4}  # K
PASSES = 10**9  # beside which nothing is dear


def problem(kind, seed, *, storage=np.asarray, fit_intercept=True):
    """An objective whose classes overlap, and its optimum as near as float64 has it."""
    rng = np.random.default_rng(seed)
    K = KINDS[kind]
    X = rng.normal(size=(N, D)) * rng.uniform(0.1, 3.0, D) + rng.normal(size=D)
    weight = np.where(np.arange(N) % 7 == 3, 0.0, rng.uniform(0.2, 3.0, N))
    logits = X @ rng.normal(size=(D, K)) + rng.gumbel(size=(N, K)) * 2.0
    options = {"sample_weight": weight, "fit_intercept": fit_intercept}
    if kind in ("binary", "sigmoid"):
        y, options["loss"] = (logits > rng.gumbel(size=(N, K))).astype(np.float64), "sigmoid"
    elif kind == "probabilities":
        y = rng.dirichlet(np.ones(K), N)
    else:
        y, options["n_classes"] = logits.argmax(axis=1), K
        options["label_smoothing"] = 0.1 if kind == "smoothed" else 0.0
    objective = SoftmaxObjective(storage(X), y, **options)
    best = newton_cg.minimize(objective, np.zeros(objective.n_params), tol=1e-14, max_iter=300)
    return objective, best


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_bound_is_below_the_least_objective(kind, fit_intercept, storage):
    found = 0
    for seed in range(5):
        objective, best = problem(kind, seed, storage=storage, fit_intercept=fit_intercept)
        direction = np.random.default_rng(seed).normal(size=best.x.size)
        for distance in (0.0, 1e-6, 1e-4, 1e-2, 0.1, 0.3, 1.0, 3.0):
            x = best.x + distance * direction
            value, grad = objective.value_and_grad(x)
            for goal in (0.0, np.inf):  # with the whole Hessian, and without
                bound = objective.unpenalised_bound(x, value, grad, goal, PASSES)
                if bound is None:
                    continue
                found += 1
                assert bound <= best.value * (1.0 + 1e-13)
                if distance <= 1e-4 and goal == 0.0:  # about the Newton decrement: F − F* itself
                    assert value - bound <= 1.1 * (value - best.value) + 1e-12
    assert found >= 30  # three of the distances, at least


def test_a_gap_next_to_the_minimum_is_the_newton_decrement():
    assert suboptimality(1e-4, 3.0) == pytest.approx(0.5e-8 * (1.0 + 1e-4), rel=1e-6)
    assert suboptimality(0.5, 2.0) == np.inf
    assert suboptimality(0.0, 2.0) == 0.0


@given(st.floats(1e-6, 1e3), st.floats(1e-9, 0.999))
@settings(max_examples=200, deadline=None)
def test_the_gap_is_the_minimum_of_what_bounds_f_from_below(reach, x):
    """λ s − (e^(−ρ s) + ρ s − 1) / ρ² is nowhere larger, and is that at its maximum, up to rounding."""
    decrement = x / reach
    gap = suboptimality(decrement, reach)
    best = -np.log1p(-x) / reach
    lengths = best * np.array([0.3, 0.9, 1.0, 1.1, 3.0])
    scaled = reach * lengths
    lower = np.where(
        scaled < 1e-4, scaled**2 * (0.5 - scaled / 6.0), np.expm1(-scaled) + scaled
    )  # the series where the difference is rounding
    fall = decrement * lengths - lower / reach**2
    tolerance = 1e-6 * gap
    assert (fall <= gap + tolerance).all()
    assert fall[2] >= gap - tolerance


@pytest.mark.parametrize("kind", ["labels", "binary"])
def test_separable_classes_and_dependent_columns_have_no_bound(kind, monkeypatch):
    objective, best = problem(kind, 0)
    value, grad = objective.value_and_grad(best.x)
    assert objective.unpenalised_bound(best.x, value, grad, 1e-6, PASSES) is not None
    with monkeypatch.context() as patch:
        patch.setattr(unpenalised, "FEW_FLOPS", 0.0)
        assert objective.unpenalised_bound(best.x, value, grad, 1e-6, 3) is None  # too dear beside 3 passes
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    X[:, 2] = X[:, 0] - X[:, 1]
    y = rng.integers(0, 2, (N, 1)).astype(float) if kind == "binary" else rng.integers(0, 3, N)
    options = {"loss": "sigmoid"} if kind == "binary" else {}
    dependent = SoftmaxObjective(X, y, **options)
    zero = np.zeros(dependent.n_params)
    assert dependent.unpenalised_bound(zero, *dependent.value_and_grad(zero), np.inf, PASSES) is None
    penalised = SoftmaxObjective(X, y, l2=1e-3, **options)
    assert penalised.unpenalised_bound(zero, *penalised.value_and_grad(zero), np.inf, PASSES) is None
    with pytest.warns(ConvergenceWarning, match="separable"):
        separable = SoftmaxRegression(C=np.inf).fit(X[:, :1], X[:, 0] > 0)
    assert separable.duality_gap_ is None


def test_the_bound_of_centred_rows_is_that_of_the_rows():
    rng = np.random.default_rng(4)
    rows, y = rng.normal(size=(N, D)), rng.integers(0, 3, N)
    mean = np.array([5.0, -2.0, 0.0])
    plain = SoftmaxObjective(rows, y)
    centred = plain.centred(Centre(mean, np.ones(D), np.array([0, 1])))
    best = newton_cg.minimize(plain, np.zeros(plain.n_params), tol=1e-12)
    x = best.x + 1e-4 * rng.normal(size=plain.n_params)
    coef, intercept = plain.unpack(x)
    there = centred.pack(coef, intercept)
    bounds = [
        objective.unpenalised_bound(at, *objective.value_and_grad(at), np.inf, PASSES)
        for objective, at in ((plain, x), (centred, there))
    ]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-9)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_fit_without_a_penalty_is_certified(solver, n_classes):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(800, 4))
    y = (X @ rng.normal(size=(4, n_classes)) + 2.0 * rng.gumbel(size=(800, n_classes))).argmax(axis=1)
    model = SoftmaxRegression(C=np.inf, solver=solver).fit(X, y)
    best = SoftmaxRegression(C=np.inf, solver="newton-cholesky", tol=1e-12).fit(X, y)
    assert model.duality_gap_ <= 1e-6 * model.objective_
    assert model.objective_ - model.duality_gap_ <= best.objective_
    assert model.history_[-1].gap == model.duality_gap_
