"""Law: minimisations that are advanced together go their own ways, each down to its minimum."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax.contracts import minimisations
from fastsoftmax.contracts.minimisations import CODE, EVALUATE, FAILED, MOVED, PROBE, PROBED, VALUE
from fastsoftmax.linalg.quasi_newton import Minimisations

K, D = 2, 3
SIZE = K * (D + 1)


def quadratics(m, seed=0):
    """Symmetric positive definite H (m, size, size) and g (m, size): F = x · H x / 2 + g · x."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(m, SIZE, SIZE))
    return roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(SIZE), rng.normal(size=(m, SIZE))


def run(H, g, l2=0.1, scale=0.5, n_calls=200):
    """Points and codes of the minimisations of scale · F + l2 / 2 ‖coef‖², all advanced together."""
    m = len(g)
    state = Minimisations(m, K, D)
    trial = np.zeros((m, K * D)), np.zeros((m, K))
    for i in range(m):
        moments = np.stack((np.full(D, 0.3), np.ones(D)))
        state.begin(i, np.zeros(SIZE), l2=l2, scale=scale, moments=moments, curvature=0.5)
    codes = []
    for _ in range(n_calls):
        x = np.concatenate(trial, axis=1)
        values = 0.5 * np.einsum("mi,mij,mj->m", x, H, x) + np.einsum("mi,mi->m", g, x)
        grad = np.einsum("mij,mj->mi", H, x) + g
        sums = values, np.ascontiguousarray(grad[:, : K * D]), np.ascontiguousarray(grad[:, K * D :])
        state.advance(0, m, sums, trial)
        for i in np.flatnonzero(state.counts[:, CODE] == PROBE):
            s = np.concatenate((trial[0][i], trial[1][i]))
            state.numbers[i, PROBED] = s @ H[i] @ s
            state.advance(i, i + 1, sums, trial)
        codes.append(state.counts[:, CODE].copy())
    return state, np.array(codes)


def minimum(H, g, l2=0.1, scale=0.5):
    penalty = np.diag(np.r_[np.full(K * D, l2), np.zeros(K)])
    return np.linalg.solve(scale * H + penalty, -scale * g)


def test_each_reaches_its_minimum():
    H, g = quadratics(5)
    state, _ = run(H, g, n_calls=60)
    for i in range(5):
        np.testing.assert_allclose(state.x[i], minimum(H[i], g[i]), rtol=1e-6, atol=1e-8)


def test_none_depends_on_the_others():
    H, g = quadratics(4)
    together, _ = run(H, g, n_calls=15)
    for i in range(4):
        alone, _ = run(H[i : i + 1], g[i : i + 1], n_calls=15)
        np.testing.assert_array_equal(together.x[i], alone.x[0])


def test_a_step_never_raises_F():
    H, g = quadratics(1, seed=3)
    values = []
    for n_calls in range(2, 20):
        state, _ = run(H, g, n_calls=n_calls)
        values.append(state.numbers[0, VALUE])
    assert np.all(np.diff(values) <= 1e-7 * np.abs(values[1:]))


def test_the_first_step_ends_at_the_minimum_of_its_line():
    """The probe says how F curves along it; here by half of H, the curvature that is given."""
    H, g = quadratics(1)
    state, codes = run(H, g, n_calls=2, scale=1.0)
    assert codes[0, 0] == EVALUATE  # the probe is answered within the first call
    assert codes[1, 0] in (MOVED, EVALUATE)
    H, g = 0.5 * np.eye(SIZE)[np.newaxis], g
    state, codes = run(2.0 * H, g, n_calls=2, scale=0.5, l2=0.0)
    if codes[1, 0] == MOVED:
        direction = state.x[0]
        assert abs(direction @ (0.5 * (2.0 * H[0] @ state.x[0] + g[0]))) < np.abs(direction @ g[0])


def test_a_function_without_a_minimum_fails():
    """F falls for ever along a line: no length meets the conditions, and the others go on."""
    H, g = quadratics(2)
    H[0] = 0.0
    state, codes = run(H, g, n_calls=60, l2=0.0)
    assert codes[-1, 0] == FAILED
    np.testing.assert_allclose(state.x[1], minimum(H[1], g[1], l2=0.0), rtol=1e-5, atol=1e-7)


def test_a_state_can_be_kept_and_restored():
    H, g = quadratics(1)
    state, _ = run(H, g, n_calls=7)
    kept = {name: array.copy() for name, array in state.arrays().items()}
    other = Minimisations(1, K, D)
    other.restore(kept, np.stack((np.full(D, 0.3), np.ones(D))), 0.5)
    for name, array in other.arrays().items():
        np.testing.assert_array_equal(array, kept[name])
    np.testing.assert_array_equal(other._inverse, state._inverse)


@pytest.mark.parametrize("n_together", [1, 3])
def test_a_copy_takes_everything(n_together):
    H, g = quadratics(n_together + 1)
    state, _ = run(H, g, n_calls=5)
    state.copy(n_together, 0)
    for array in state.arrays().values():
        np.testing.assert_array_equal(array[0], array[n_together])


def test_places_do_not_overlap():
    places = [minimisations.__dict__[name] for name in (
        "VALUE", "SLOPE", "LENGTH", "DECREMENT", "GRAD_SQUARE", "COEF_SQUARE", "L2", "SCALE", "CURVATURE",
        "PROBED",
    )]  # fmt: skip
    places += [start + i for start in (minimisations.LOW, minimisations.HIGH) for i in range(3)]
    assert sorted(places) == list(range(minimisations.N_NUMBERS))


def test_what_goes_on_with_another_penalty_has_its_pairs():
    """Of a quadratic, a pair of the new F is H times the step; and it goes on to the new minimum."""
    H, g = quadratics(2, seed=5)
    state, _ = run(H, g, n_calls=40, l2=1.0)
    state.go_on(0, 0.4)
    n_coef = K * D
    penalty = np.r_[np.full(n_coef, 0.4), np.zeros(K)]
    s, y = state._s[0], state._y[0]
    np.testing.assert_allclose(y, s @ (0.5 * H[0]) + penalty * s, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(state._rho[0] * np.einsum("pj,pj->p", s, y), 1.0)
    trial = state.x[:, :n_coef].copy(), state.x[:, n_coef:].copy()
    for _ in range(40):
        x = np.concatenate(trial, axis=1)
        values = 0.5 * np.einsum("mi,mij,mj->m", x, H, x) + np.einsum("mi,mi->m", g, x)
        grad = np.einsum("mij,mj->mi", H, x) + g
        state.advance(0, 1, (values, grad[:, :n_coef].copy(), grad[:, n_coef:].copy()), trial)
    np.testing.assert_allclose(state.x[0], minimum(H[0], g[0], l2=0.4), rtol=1e-6, atol=1e-7)
