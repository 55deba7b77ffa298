"""Law: the elastic net's gradient, proximal map, conjugate and bounds are those of its value."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize

from fastsoftmax.linalg.vectors import Algebra
from fastsoftmax.penalties.elastic_net import ElasticNet
from tests import naive

K, D = 3, 5
RNG = np.random.default_rng(1)
W, R = RNG.normal(size=(2, K, D))
BY_FEATURE = np.tile(RNG.uniform(0.5, 2.0, D), (K, 1))
BY_COEF = RNG.uniform(0.5, 2.0, (K, D))
ALGEBRA = Algebra(1)
KINDS = {
    "elastic": ElasticNet(0.7, 0.4, BY_COEF),
    "absolute": ElasticNet(0.7, 1.0, BY_COEF),
    "grouped": ElasticNet(0.7, 0.4, BY_FEATURE, True),
    "norms": ElasticNet(0.7, 1.0, BY_FEATURE, True),
}


@pytest.fixture(params=KINDS)
def penalty(request):
    return KINDS[request.param]


def value(penalty, coef):
    return penalty.value(ALGEBRA, np.asarray(coef).ravel())


def test_the_value_is_the_oracles(penalty):
    expected = naive.elastic_net_penalty(W, 0.7, penalty.l1_ratio, penalty.weights, penalty.grouped)
    assert value(penalty, W) == pytest.approx(expected, rel=1e-14)
    assert value(penalty.with_strength(1.4), W) == pytest.approx(2 * expected, rel=1e-14)


def test_the_gradient_and_the_curvatures_are_the_derivatives(penalty):
    def slope(coef):
        return penalty.curvature * coef + penalty.slope(coef)

    step = 1e-6
    differences = (value(penalty, W + step * R) - value(penalty, W - step * R)) / (2 * step)
    assert differences == pytest.approx(np.sum(slope(W) * R), rel=1e-8)
    second = (slope(W + step * R) - slope(W - step * R)) / (2 * step)
    np.testing.assert_allclose(second, penalty.curvature * R + penalty.bend(W, R), atol=1e-8)


def test_the_proximal_map_minimises(penalty):
    steps = np.full((K, D), 0.8)
    found = penalty.prox(W, steps)
    assert np.count_nonzero(found) < K * D or penalty.grouped
    rng = np.random.default_rng(2)

    def total(V):
        return np.sum((V - W) ** 2 / (2 * steps)) + penalty.of_absolutes(V)

    for size in (1e-1, 1e-3, 1e-5):
        for _ in range(20):
            assert total(found + size * rng.normal(size=W.shape)) > total(found)


def test_the_least_subgradient_is_the_shortest(penalty):
    coef = np.where(np.arange(D) % 2, W, 0.0)
    rest = penalty.least_subgradient(coef, R)
    # −rest is the direction in which F falls fastest, by its length: the directional derivative
    step = 1e-7
    slope = (value(penalty, coef - step * rest) - value(penalty, coef)) / step
    slope -= np.sum((R - penalty.curvature * coef) * rest)
    assert slope == pytest.approx(-np.sum(rest**2), rel=1e-5)
    inside = R * 1e-3
    assert not penalty.least_subgradient(np.zeros((K, D)), inside).any()
    assert (penalty.excess(inside) < 1.0).all()


@pytest.mark.parametrize("kind", ["elastic", "grouped"])
def test_the_conjugate_is_the_largest_difference_from_the_value(kind):
    penalty = KINDS[kind]
    found = minimize(
        lambda w: value(penalty, w) - 3.0 * R.ravel() @ w, 0.1 * W.ravel(), method="Powell",
        options={"xtol": 1e-10, "ftol": 1e-14, "maxiter": 50_000},
    )  # fmt: skip
    assert penalty.conjugate(ALGEBRA, 6.0 * R.ravel(), 2.0) == pytest.approx(-found.fun, rel=1e-6)


def test_the_dual_bound_is_the_best_scale_of_a_dual_point(penalty):
    for size in (0.1, 1.0, 5.0):
        bound = penalty.dual_bound(1.3, size * R)
        scales = np.linspace(0.0, 1.0, 5001)
        of_scales = [1.3 * t - penalty.conjugate(ALGEBRA, t * size * R.ravel()) for t in scales]
        finite = [v for v in of_scales if np.isfinite(v)]
        assert max(finite) - 1e-12 <= bound <= max(finite) + 1.3 / 4999


@pytest.mark.parametrize(
    ("coef", "expected"),
    [
        ([-2.0, 0.0, 3.0], [-2.0, 0.0, 3.0]),  # the median is zero
        ([1.0, 2.0, 4.0], [-1.0, 0.0, 2.0]),
        ([-2.0, 0.0, 1.0, 3.0], [-2.0, 0.0, 1.0, 3.0]),  # any of [0, 1]: an end, and the nearer mean is 0.5
        ([0.0, 0.0, 1.0, 5.0], [0.0, 0.0, 1.0, 5.0]),  # more zeros
        ([-4.0, -1.0, 0.5, 1.0], [-3.0, 0.0, 1.5, 2.0]),  # no zero: the end of the smaller squares
        ([0.0, 0.0, 0.0, 7.0], [0.0, 0.0, 0.0, 7.0]),
    ],
)
def test_of_equal_minima_one_is_kept(coef, expected):
    column = np.array(coef)[:, np.newaxis]
    penalty = ElasticNet(1.0, 1.0, np.ones(column.shape))
    kept = penalty.representative(column)
    assert kept[:, 0].tolist() == expected
    assert value(penalty, kept) <= value(penalty, column)
    moved = penalty.representative(column + 0.25)  # the same minima, from another of them
    np.testing.assert_allclose(moved, kept, atol=1e-15)


def test_what_it_says_of_itself(penalty):
    assert not any((penalty.smooth, penalty.rotation_invariant, penalty.centres_classes))
    assert penalty.has_conjugate
    assert not penalty._replace(weights=np.where(W > 0, 1.0, 0.0)).has_conjugate
    again = pickle.loads(pickle.dumps(penalty))
    assert value(again, W) == value(penalty, W)
    with pytest.raises(ValueError, match="strength must be a finite number"):
        penalty.with_strength(-1.0)
