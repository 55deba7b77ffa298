"""A Hessian that is kept maps the last step to the change of the gradient on it, of all features or some."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastsoftmax.solvers.known_hessian import Known
from fastsoftmax.solvers.subspace import Reached


def quadratic(matrix, squares, carried):
    """Return what `Known` asks of an objective with this Hessian, `squares` included."""
    return SimpleNamespace(
        size=len(matrix),
        carried=carried,
        has_lower_bound=True,
        curvature=squares,
        is_free=lambda x: np.ones(len(x), bool),
        nearness=lambda x, grad: np.abs(grad),
        reduced_hessian=lambda x, places: matrix[np.ix_(places, places)],
    )


@pytest.mark.parametrize("of_whole", [None, np.array([0, 2, 3, 5, 6])])
def test_a_corrected_hessian_maps_the_last_step_to_its_change(of_whole):
    """Of all seven parameters, and of five of them, with squares of another strength."""
    rng = np.random.default_rng(0)
    A, B = (rng.normal(size=(12, 7)) for _ in range(2))
    first, second = A.T @ A, A.T @ A + 0.3 * B.T @ B
    ones = np.ones(7)
    known = Known.of(quadratic(first, 0.5 * ones, {"growth": 1.1}), ones)
    assert not known.is_ahead
    places = np.arange(7)
    matrix = known.take(quadratic(first, 0.5 * ones, None), Reached(ones, 1.0, ones), places, None, 7)
    np.testing.assert_array_equal(matrix, first)
    own = places if of_whole is None else of_whole
    n = len(own)
    later = quadratic(second[np.ix_(own, own)] + 0.25 * np.eye(n), 0.75 * np.ones(n), {"growth": 1.1})
    step = rng.normal(size=n)
    change = later.reduced_hessian(None, np.arange(n)) @ step
    known.learn(later, step, change, of_whole)
    assert known.serves(later, np.arange(n), of_whole)
    corrected = known.among(later, np.arange(n), of_whole)
    np.testing.assert_allclose(corrected @ step, change, rtol=1e-10)
    assert np.linalg.eigvalsh(corrected).min() > 0.0
    other = 0.5 * rng.normal(size=n)  # the squares of another strength are in it, not those of the first
    gap = known.among(quadratic(first, 1.75 * np.ones(n), None), np.arange(n), of_whole) - corrected
    np.testing.assert_allclose(gap @ other, other, rtol=1e-10)
