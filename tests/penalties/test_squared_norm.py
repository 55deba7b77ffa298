"""Law: a penalty's gradient, curvature, conjugate and gap are those of its value."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize

from fastsoftmax.linalg.vectors import Algebra
from fastsoftmax.penalties.squared_norm import SquaredNorm

L2 = 0.7
RNG = np.random.default_rng(1)
W, R = RNG.normal(size=(2, 37))
ALGEBRA = Algebra(1)


def value(penalty, coef):
    return penalty.add_gradient(ALGEBRA, np.zeros_like(coef), 1.0, coef)


def test_the_gradient_and_the_curvature_are_the_derivatives():
    penalty = SquaredNorm(L2)
    assert value(penalty, W) == pytest.approx(0.5 * L2 * np.sum(W**2), rel=1e-14)
    assert penalty.value(ALGEBRA, W) == pytest.approx(value(penalty, W), rel=1e-14)
    grad = R.copy()
    penalty.add_gradient(ALGEBRA, grad, 3.0, W)
    np.testing.assert_allclose(grad, 3.0 * R + L2 * W, rtol=1e-14)
    step = 1e-4
    second = (value(penalty, W + step * np.eye(37)[5]) - 2 * value(penalty, W)) / step**2
    second += value(penalty, W - step * np.eye(37)[5]) / step**2
    assert second == pytest.approx(penalty.curvature, rel=1e-5)


def test_the_conjugate_is_the_largest_difference_from_the_value():
    penalty = SquaredNorm(L2)
    found = minimize(lambda w: value(penalty, w) - R @ w, np.zeros(37), tol=1e-12)
    assert penalty.conjugate(ALGEBRA, R) == pytest.approx(-found.fun, rel=1e-8)
    assert penalty.conjugate(ALGEBRA, 5.0 * R, 5.0) == pytest.approx(penalty.conjugate(ALGEBRA, R), rel=1e-14)


def test_the_gap_is_never_below_the_suboptimality():
    """Of f(w) = ½ wᵀ A w − b·w plus the penalty, whose minimum is known."""
    rng = np.random.default_rng(3)
    penalty = SquaredNorm(L2)
    for _ in range(50):
        root = rng.normal(size=(5, 7))
        A, b = root.T @ root, rng.normal(size=7)
        total = A + L2 * np.eye(7)
        best = -0.5 * b @ np.linalg.solve(total, b)
        w = rng.normal(size=7)
        grad = total @ w - b
        assert 0.5 * w @ total @ w - b @ w - best <= penalty.gap(ALGEBRA, grad) * (1 + 1e-12)


def test_what_it_says_of_itself():
    penalty, none = SquaredNorm(L2), SquaredNorm()
    assert penalty.smooth
    assert penalty.rotation_invariant
    assert (penalty.centres_classes, none.centres_classes) == (True, False)
    assert (penalty.has_conjugate, none.has_conjugate) == (True, False)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(37, 37)))[0]
    assert value(penalty, turn @ W) == pytest.approx(value(penalty, W), rel=1e-13)
    coef = W[:36].reshape(4, 9)
    assert value(penalty, (coef - coef.mean(axis=0)).ravel()) < value(penalty, coef.ravel())
    assert pickle.loads(pickle.dumps(penalty)) == penalty


@pytest.mark.parametrize("strength", [-1.0, np.inf, np.nan])
def test_a_strength_that_is_none(strength):
    with pytest.raises(ValueError, match="l2 must be a finite number"):
        SquaredNorm().with_strength(strength)
