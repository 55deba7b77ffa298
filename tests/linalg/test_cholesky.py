"""Law: a factor exists for every finite symmetric matrix, and solves with it in any units."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax.linalg.cholesky import factor, solve
from fastsoftmax.preconditioners.block_diagonal import set_diagonal


def test_set_diagonal_keeps_a_matrix_positive():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(3, 7))
    matrix = A.T @ A
    matrix[2], matrix[:, 2] = 0.0, 0.0
    wanted = matrix.diagonal() * np.array([0.1, 10, 1, 0.5, 1, 1, 3]) + (np.arange(7) == 2)
    set_diagonal(matrix, wanted)
    np.testing.assert_allclose(matrix.diagonal(), wanted)
    assert np.linalg.eigvalsh(matrix)[0] > -1e-12


def solution_of(matrix, shift, b, dtype=np.float64):
    own = factor(matrix, shift)
    vectors = b[np.newaxis].copy()
    solve(own.lower[np.newaxis].astype(dtype), own.scale[np.newaxis], vectors, 1)
    return vectors[0]


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-9), (np.float32, 1e-5)])
def test_a_factor_does_not_mind_units_or_columns_without_curvature(dtype, rtol):
    rng = np.random.default_rng(1)
    A = rng.normal(size=(20, 5))
    A[:, 3] = 0.0
    units = np.array([1e-8, 1.0, 1e8, 1.0, 1e3])
    keep = [0, 1, 2, 4]
    b = rng.normal(size=5)
    exact = np.linalg.solve(A[:, keep].T @ A[:, keep], (b / units)[keep]) / units[keep]
    solution = solution_of((A * units).T @ (A * units), 1e-14, b, dtype)
    np.testing.assert_allclose(solution[keep], exact, rtol=rtol)


def test_a_factor_of_a_singular_or_indefinite_matrix_exists():
    ones = np.ones((4, 4))
    ones[0, 1] = ones[1, 0] = 1.0 + 1e-9  # by rounding not positive semidefinite
    solution = solution_of(ones, 1e-16, np.ones(4))
    assert np.all(np.isfinite(solution))


def test_a_factor_refuses_infinity():
    with pytest.raises(FloatingPointError, match="not finite"):
        factor(np.full((2, 2), np.inf), 1e-14)
