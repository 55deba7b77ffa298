"""Law: arithmetic on long vectors is that of float64, in any place, of any length, on any threads."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax.linalg import vectors
from fastsoftmax.linalg.sizes import BLOCK
from fastsoftmax.linalg.vectors import Algebra

# Within a block, across blocks, across parts, and more elements than the most parts of the least length.
SIZES = [1, 7, BLOCK + 1, 2 * vectors.PART + 3, vectors.PART * vectors.MAX_PARTS + 5]
DTYPES = [np.float32, np.float64]


def close(actual, expected, scale):
    """Whether sums agree: `scale` is the sum of the magnitudes of their terms."""
    np.testing.assert_array_less(np.abs(np.asarray(actual) - expected), 1e-14 * np.asarray(scale) + 1e-300)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("places", [[], [2], [3, 0, 1], [5, 1, 0, 2], [4, 0, 5, 3, 1, 2]])
def test_rows_in_some_places(rng, size, dtype, places):
    """Products with them, and their combination: of none, of fewer than go together, and of more."""
    rows = rng.normal(size=(6, size)).astype(dtype)
    a, b, shares = rng.normal(size=size), rng.normal(size=size), rng.normal(size=len(places))
    chosen = rows[places].astype(np.float64)
    close(Algebra().dots(rows, b, places), chosen @ b, np.abs(chosen) @ np.abs(b))
    out, product = Algebra().combined(shares, rows, places, -1.5, a, b)
    np.testing.assert_allclose(out, -1.5 * a + shares @ chosen, rtol=0.0, atol=1e-13)
    close(product, out @ b, np.abs(out) @ np.abs(b))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_differences_and_their_products(rng, size, dtype):
    new, old = rng.normal(size=(2, 3, size))
    out = np.empty((3, size), dtype)
    products = Algebra().differences(tuple(new), tuple(old), tuple(out))
    np.testing.assert_array_equal(out, (new - old).astype(dtype))
    written = out.astype(np.float64)  # the products are those of what was written
    close(products, written @ written.T, np.abs(written) @ np.abs(written).T)
    np.testing.assert_array_equal(products, products.T)


@pytest.mark.parametrize("size", SIZES)
def test_what_else_there_is(rng, size):
    one = Algebra()
    a, b = rng.normal(size=(2, size))
    close(one.dot(a, b), a @ b, np.abs(a) @ np.abs(b))
    np.testing.assert_allclose(one.norm(a), np.linalg.norm(a), rtol=1e-14)
    np.testing.assert_allclose(one.moved(a, b, -0.3), a - 0.3 * b, rtol=0.0, atol=1e-14)
    copied = one.copied(a)
    np.testing.assert_array_equal(copied, a)
    assert not np.shares_memory(copied, a)
    sums = a.copy()
    square = one.penalise(sums, 0.5, 0.25, b)
    np.testing.assert_allclose(sums, 0.5 * a + 0.25 * b, rtol=0.0, atol=1e-14)
    np.testing.assert_allclose(square, b @ b, rtol=1e-13)


def test_the_bits_do_not_depend_on_the_threads(rng, monkeypatch):
    monkeypatch.setattr("fastsoftmax.runtime.executor.SMALL_WORK", 0)  # however short
    size = 5 * vectors.PART + 11
    rows, (new, old) = rng.normal(size=(6, size)).astype(np.float32), rng.normal(size=(2, 3, size))

    def results(n_threads):
        own = Algebra(n_threads)
        out = np.empty((3, size))
        combined, product = own.combined(np.arange(5.0), rows, [4, 0, 5, 3, 1], 2.0, new[0], new[1])
        products = own.differences(tuple(new), tuple(old), tuple(out))
        return own.dots(rows, new[0]), combined, product, products, out

    first = results(1)
    for n_threads in (2, 3):
        for one, other in zip(first, results(n_threads), strict=True):
            np.testing.assert_array_equal(one, other)
