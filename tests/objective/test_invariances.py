"""Law: the invariances of the objective hold on drawn problems of any size, storage and weights."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import fastsoftmax
from fastsoftmax import SoftmaxObjective

# What rounding leaves of an identity between two sums of at most 60 rows of logits of about 10.
TOL = 1e-12


class Problem:
    """A drawn problem: rows, labels of one kind, whole-number weights, a point and a direction."""

    def __init__(self, seed, n, d, k, storage, kind, scale):
        rng = np.random.default_rng(seed)
        self.k, self.storage, self.kind = k, storage, kind
        self.X = np.where(rng.random((n, d)) < 0.4, 0, rng.normal(size=(n, d)))
        self.weight = rng.integers(0, 4, n).astype(float)
        self.weight[0] = 1
        self.y = rng.integers(0, k, n) if kind == "index" else rng.dirichlet(np.ones(k), size=n)
        self.coef, self.intercept = scale * rng.normal(size=(k, d)), scale * rng.normal(size=k)
        self.v = rng.normal(size=k * d + k)
        self.rng = rng

    def objective(self, rows=slice(None), l2=0.0, y=None, weight=None):
        """Objective of some of the rows."""
        X = self.X[rows]
        X = sp.csr_array(X) if self.storage == "csr" else X
        y = (self.y if y is None else y)[rows]
        weight = (self.weight if weight is None else weight)[rows]
        return SoftmaxObjective(X, y, l2=l2, sample_weight=weight, n_classes=self.k)

    def point(self, objective):
        """The parameters, flat."""
        return objective.pack(self.coef, self.intercept)


PROBLEMS = st.builds(
    Problem,
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 60),
    d=st.integers(1, 9),
    k=st.integers(2, 19),
    storage=st.sampled_from(["dense", "csr"]),
    kind=st.sampled_from(["index", "soft"]),
    scale=st.sampled_from([0.0, 0.1, 1.0, 3.0]),
)


@given(PROBLEMS)
def test_shifting_the_logits_of_a_row_changes_nothing(problem):
    objective = problem.objective()
    value, grad = objective.value_and_grad(problem.point(objective))
    coef = problem.coef + problem.rng.normal(size=problem.coef.shape[1])  # one vector to every class
    moved, moved_grad = objective.value_and_grad(objective.pack(coef, problem.intercept + 2.5))
    assert moved == pytest.approx(value, abs=TOL)
    np.testing.assert_allclose(moved_grad, grad, atol=TOL)


@given(PROBLEMS)
def test_permuting_the_classes_permutes(problem):
    order = problem.rng.permutation(problem.k)
    y = np.argsort(order)[problem.y] if problem.kind == "index" else problem.y[:, order]
    objective, turned = problem.objective(l2=0.1), problem.objective(l2=0.1, y=y)
    value, grad = objective.value_and_grad(problem.point(objective))
    same, turned_grad = turned.value_and_grad(turned.pack(problem.coef[order], problem.intercept[order]))
    assert same == pytest.approx(value, abs=TOL)
    for a, b in zip(objective.unpack(grad), turned.unpack(turned_grad), strict=True):
        np.testing.assert_allclose(a[order], b, atol=TOL)


@given(PROBLEMS, st.integers(0, 2**16))
def test_any_split_of_the_rows_gives_the_same_sums(problem, seed):
    rng = np.random.default_rng(seed)
    part = rng.integers(0, 3, len(problem.y))
    whole = problem.objective()
    x = problem.point(whole)
    value, grad = whole.value_and_grad(x)
    total, sums, grads, curves = 0.0, 0.0, 0.0, 0.0
    for p in range(3):
        weight = problem.weight[part == p].sum()
        if weight == 0:
            continue
        some = problem.objective(part == p)
        v, g = some.value_and_grad(x)
        total, sums, grads = total + weight, sums + weight * v, grads + weight * g
        curves = curves + weight * some.hessp(x, problem.v)
    assert sums / total == pytest.approx(value, abs=TOL)
    np.testing.assert_allclose(grads / total, grad, atol=TOL)
    np.testing.assert_allclose(curves / total, whole.hessp(x, problem.v), atol=TOL)


@given(PROBLEMS)
def test_whole_weights_are_repeated_rows(problem):
    objective = problem.objective(l2=0.2)
    rows = np.repeat(np.arange(len(problem.y)), problem.weight.astype(int))
    repeated = problem.objective(rows, l2=0.2, weight=np.ones(len(problem.y)))
    x = problem.point(objective)
    value, grad = objective.value_and_grad(x)
    same, same_grad = repeated.value_and_grad(x)
    assert same == pytest.approx(value, abs=TOL)
    np.testing.assert_allclose(same_grad, grad, atol=TOL)
    np.testing.assert_allclose(repeated.hessp(x, problem.v), objective.hessp(x, problem.v), atol=TOL)


@given(PROBLEMS, st.sampled_from([0.0, 0.01, 3.0]))
def test_gradients_of_the_classes_sum_to_the_penaltys(problem, l2):
    objective = problem.objective(l2=l2)
    coef, intercept = objective.unpack(objective.value_and_grad(problem.point(objective))[1])
    np.testing.assert_allclose(coef.sum(axis=0), l2 * problem.coef.sum(axis=0), atol=TOL)
    assert intercept.sum() == pytest.approx(0, abs=TOL)


@given(PROBLEMS, st.sampled_from([0.0, 0.01, 3.0]))
def test_the_hessian_is_positive_semidefinite(problem, l2):
    objective = problem.objective(l2=l2)
    curve = problem.v @ objective.hessp(problem.point(objective), problem.v)
    bent = l2 * np.sum(objective.unpack(problem.v)[0] ** 2)
    assert curve >= bent - TOL * problem.v @ problem.v


@given(PROBLEMS)
def test_everything_is_finite_at_large_logits(problem):
    # rows far out, empty rows, weights of zero, one class only among the labels
    problem.X[::2] *= 1e4 / max(1.0, np.abs(problem.X).max())
    problem.X[1::3] = 0
    one = (
        np.zeros(len(problem.y), dtype=int)
        if problem.kind == "index"
        else np.eye(problem.k)[problem.y.argmax(1)]
    )
    for y in (problem.y, one):
        objective = problem.objective(l2=0.1, y=y)
        x = problem.point(objective)
        value, grad = objective.value_and_grad(x)
        assert np.isfinite(value)
        assert value >= 0
        assert np.all(np.isfinite(grad))
        assert np.all(np.isfinite(objective.hessp(x, problem.v)))


@given(PROBLEMS, st.sampled_from([0.0, 0.1]))
def test_the_objective_is_the_mean_cross_entropy(problem, smoothing):
    logits = problem.X @ problem.coef.T + problem.intercept
    value, residual = fastsoftmax.cross_entropy_value_and_grad(
        logits, problem.y, sample_weight=problem.weight, label_smoothing=smoothing
    )
    X = sp.csr_array(problem.X) if problem.storage == "csr" else problem.X
    objective = SoftmaxObjective(
        X, problem.y, sample_weight=problem.weight, n_classes=problem.k, label_smoothing=smoothing
    )
    same, grad = objective.value_and_grad(problem.point(objective))
    assert same == pytest.approx(value, abs=TOL)
    np.testing.assert_allclose(grad, objective.pack(residual.T @ problem.X, residual.sum(axis=0)), atol=TOL)
