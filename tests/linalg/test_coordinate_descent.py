"""Law: coordinate descent ends at the minimum of its quadratic with absolute values, its zeros exact."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from fastsoftmax.linalg.coordinate_descent import Blocks


def draw(widths, rank=0, seed=0):
    """Blocks, a low rank that leaves them definite, and the dense matrix of both."""
    rng = np.random.default_rng(seed)
    squares = [a @ a.T + 0.1 * np.eye(len(a)) for a in (rng.normal(size=(w, w + 2)) for w in widths)]
    blocks = Blocks(np.cumsum([0, *widths]), np.concatenate([np.empty(0), *(s.ravel() for s in squares)]))
    dense = scipy.linalg.block_diag(*squares)
    low = 0.1 * rng.normal(size=(sum(widths), rank))
    return blocks, low, dense, rng


@pytest.mark.parametrize(("widths", "rank"), [([3, 0, 5, 1], 0), ([4, 7], 3), ([1] * 6, 0), ([1] * 6, 2)])
def test_the_minimum_by_its_own_conditions(widths, rank):
    blocks, low, dense, rng = draw(widths, rank)
    m = sum(widths)
    scaled = -low  # so that the low rank is added
    matrix = dense - low @ scaled.T
    slope, x0 = rng.normal(size=m), np.where(rng.random(m) < 0.5, rng.normal(size=m), 0.0)
    thresholds = np.where(np.arange(m) == 0, 0.0, np.where(np.arange(m) % 3 == 1, 9.0, 0.3))
    x = x0.copy()
    n_sweeps = blocks.minimise(low, scaled, slope, thresholds, x, 1e-24, 10_000)
    assert 1 < n_sweeps < 10_000
    grad = slope + matrix @ (x - x0)
    free = (x != 0.0) | (thresholds == 0.0)
    np.testing.assert_allclose((grad + thresholds * np.sign(x))[free], 0.0, atol=1e-9)
    assert (np.abs(grad[~free]) <= thresholds[~free] + 1e-9).all()
    assert 0 < np.count_nonzero(x) < m


def test_the_matrix_is_that_of_its_blocks():
    blocks, _, dense, rng = draw([3, 0, 5, 1])
    right = rng.normal(size=(9, 2))
    np.testing.assert_allclose(blocks.product(right), dense @ right, atol=1e-13)
    assert (blocks.diagonal() == dense.diagonal()).all()


def test_a_matrix_that_is_not_definite_is_refused():
    blocks, low, _, _ = draw([4], 1)
    low = low / np.linalg.norm(low)
    x = np.zeros(4)
    with pytest.raises(FloatingPointError, match="not positive definite"):
        blocks.minimise(low, 100.0 * low, x + 1.0, x, x, 0.0, 1)
