"""Law: products of a tile with few classes are the products, whatever is left over at their edges."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax.simd.skinny_products import CLASSES, REGISTERS, ROWS, dots_to, outer_to
from tests.tolerance import assert_as_accurate

LANES = {"float32": 16, "float64": 8}


@pytest.mark.parametrize("dtype", LANES)
@pytest.mark.parametrize("n_classes", [1, 2, CLASSES - 1, CLASSES, CLASSES + 1, 2 * CLASSES + 1, 23])
@pytest.mark.parametrize("n_rows", [1, ROWS - 1, ROWS, 4 * ROWS + 3])
def test_both_products(n_rows, n_classes, dtype):
    rng = np.random.default_rng(n_rows * n_classes)
    block = REGISTERS * LANES[dtype]
    for n_features in (1, LANES[dtype] - 1, LANES[dtype] + 1, block, 2 * block + 5):
        X = rng.normal(size=(n_rows, n_features)).astype(dtype)
        W = rng.normal(size=(n_classes, n_features)).astype(dtype)
        buffer = np.full((n_rows + 1, n_classes), 7.0, dtype)
        dots_to(X, W, buffer[:n_rows])
        exact = X.astype(np.longdouble) @ W.T.astype(np.longdouble)
        assert_as_accurate(buffer[:n_rows], X @ W.T, exact, n_eps=2 * np.sqrt(n_features))
        assert np.all(buffer[n_rows:] == 7)
        M = rng.normal(size=(n_rows, n_classes)).astype(dtype)
        buffer = np.full((n_classes + 1, n_features), 7.0, dtype)
        outer_to(M, X, buffer[:n_classes])
        exact = M.T.astype(np.longdouble) @ X.astype(np.longdouble)
        assert_as_accurate(buffer[:n_classes], M.T @ X, exact, n_eps=2 * np.sqrt(n_rows))
        assert np.all(buffer[n_classes:] == 7)


def test_infinity_and_nan_go_where_they_belong():
    X = np.ones((5, 19), np.float32)
    X[1, 17], X[3, 2] = np.inf, np.nan
    out = np.empty((5, 3), np.float32)
    dots_to(X, np.ones((3, 19), np.float32), out)
    np.testing.assert_array_equal(out[:, 0], [19, np.inf, 19, np.nan, 19])
