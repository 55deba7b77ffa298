"""Law: kernels and bounds hold beyond 2³¹ stored entries, elements, n·d and n·K.

The arrays are that long, and lie where nothing is written: only the pages at their ends ever exist.
"""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from fastsoftmax.contracts import Csr, Params, RowBlock
from fastsoftmax.kernels.cpu import csr, dense, partition, rows, shared_gradient
from fastsoftmax.kernels.cpu.verbs import Diagonal, LossGrad
from fastsoftmax.losses import softmax
from tests.tolerance import assert_close

FIRST = 2**31 + 11  # stored entries before those of the first row
N, D, K = 301, 7, 5


def long_array(tail, n_before):
    """An array of zeros that takes no memory, and then `tail`."""
    length = (n_before + len(tail)) * tail.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    array = np.frombuffer(mmap.mmap(-1, length, flags=flags), tail.dtype)
    array[n_before:] = tail
    return array


def structure(dense):
    """A dense matrix by rows, behind `FIRST` entries that belong to none of them."""
    rows, columns = np.nonzero(dense)
    indptr = FIRST + np.searchsorted(rows, np.arange(len(dense) + 1)).astype(np.int64)
    return Csr(
        long_array(dense[rows, columns], FIRST),
        long_array(columns.astype(np.int64), FIRST),
        indptr,
        dense.shape,
    )


@pytest.fixture(scope="module")
def matrix():
    """A small dense matrix, and the same as a `Csr` of long arrays."""
    if not hasattr(mmap, "MAP_ANONYMOUS") or np.dtype(np.intp).itemsize < 8:
        pytest.skip("this system has no anonymous maps of 64-bit sizes")
    rng = np.random.default_rng(13)
    X = np.where(rng.random((N, D)) < 0.5, 0, rng.normal(size=(N, D))).astype(np.float32)
    X[17] = 0
    try:
        stored = structure(X)._replace(transpose=structure(np.ascontiguousarray(X.T)))
    except (OSError, MemoryError, ValueError) as error:
        pytest.skip(f"the address space has no buffer for arrays of 2^31 entries: {error}")
    return X, stored


@pytest.mark.parametrize("n_threads", [1, 2])
def test_entries_beyond_the_reach_of_32_bits(matrix, n_threads):
    X, stored = matrix
    rng = np.random.default_rng(14)
    params = Params(rng.normal(size=(K, D)), rng.normal(size=K))
    y, weight = rng.integers(0, K, N), rng.uniform(0.1, 2, N)
    loss = softmax.for_targets(y, K)
    z = X.astype(np.float64) @ params.coef.T + params.intercept
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    slopes = weight[:, np.newaxis] * (p - np.eye(K)[y])
    curvature = weight[:, np.newaxis] * p * (1 - p)

    logits = csr.logits(params, stored, n_threads)
    assert_close(logits, z, dtype=np.float32, n_terms=D)
    block = RowBlock(stored, y, weight)
    found = csr.sums(LossGrad(), loss, (params,), block, n_threads)
    assert_close(found.value, -weight @ np.log(p[np.arange(N), y]), dtype=np.float32, n_terms=N)
    assert_close(found.coef, slopes.T @ X, dtype=np.float32, n_terms=N)
    diagonal = csr.sums(Diagonal(), loss, (params,), block, n_threads)
    assert_close(diagonal.coef, curvature.T @ X**2, dtype=np.float32, n_terms=N)
    turned = np.empty((D, N))
    csr.columns(stored, turned, n_threads)
    np.testing.assert_array_equal(turned, X.T)


def test_parts_are_balanced_beyond_32_bits(matrix):
    indptr = matrix[1].indptr
    bounds = csr.balanced_bounds(indptr, 8)
    np.testing.assert_array_equal(bounds, csr.balanced_bounds(indptr - FIRST, 8))
    assert len(bounds) == 9
    assert (bounds[0], bounds[-1]) == (0, N)
    # a row that costs as much as 2³¹ others has a part for itself
    steep = np.concatenate([np.arange(100), 2**31 + 100 + np.arange(100)])
    assert np.diff(csr.balanced_bounds(steep, 4)).min() >= 1


@pytest.fixture
def long_rows():
    """A function that makes zeros (n, d), d a power of two and n · d above 2³¹, with some last rows."""

    def make(last):
        n_before = 2**31 // last.shape[1]
        try:
            return long_array(np.ascontiguousarray(last).reshape(-1), n_before * last.shape[1])
        except (OSError, MemoryError, ValueError) as error:
            pytest.skip(f"the address space has no buffer for arrays of 2^31 entries: {error}")

    if not hasattr(mmap, "MAP_ANONYMOUS") or np.dtype(np.intp).itemsize < 8:
        pytest.skip("this system has no anonymous maps of 64-bit sizes")
    return make


@pytest.mark.parametrize("n_threads", [1, 2])
def test_dense_rows_beyond_the_reach_of_32_bits(long_rows, n_threads):
    rng = np.random.default_rng(15)
    last = rng.integers(0, 256, (5, 64), dtype=np.uint8)
    X = long_rows(last).reshape(-1, 64)
    n_rows = len(X)
    weight = long_array(rng.uniform(0.1, 2, 5), n_rows - 5)  # nothing is counted of the rows before
    y = long_array(np.array([1, 0, 1, 1, 0]), n_rows - 5)
    params = Params(rng.normal(size=(2, 64)) / 256, rng.normal(size=2))
    found = dense.sums(LossGrad(), softmax.for_targets(y, 2), (params,), RowBlock(X, y, weight), n_threads)
    z = last @ params.coef.T + params.intercept
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    slopes = weight[-5:, np.newaxis] * (p - np.eye(2)[y[-5:]])
    assert_close(found.value, -weight[-5:] @ np.log(p[range(5), y[-5:]]), dtype=np.float32, n_terms=64)
    assert_close(found.coef, slopes.T @ last, dtype=np.float32, n_terms=64)


def test_logits_beyond_the_reach_of_32_bits(long_rows):
    last = np.random.default_rng(16).normal(size=(3, 1024)).astype(np.float32)
    z = long_rows(last).reshape(-1, 1024)
    out = np.empty(len(z), np.float32)
    rows.logsumexp(z, out)
    assert_close(out[:-3], np.full(len(z) - 3, np.log(1024)), dtype=np.float32, n_terms=1024)
    assert_close(out[-3:], np.log(np.exp(last.astype(float)).sum(axis=1)), dtype=np.float32, n_terms=1024)


HUGE = [1, 10, 2**20 + 7, 2**31 - 1, 2**31 + 1, 2**33 + 5]


@pytest.mark.parametrize("n_classes", HUGE)
@pytest.mark.parametrize("n_features", HUGE)
def test_bounds_of_shapes_that_no_memory_holds(n_features, n_classes):
    coef_size = n_features * n_classes
    for n_rows in HUGE:
        for itemsize in (4, 8):
            tile = partition.tile_rows(n_features, n_classes, itemsize)
            assert 16 <= tile <= partition.MAX_TILE_ROWS
            at_once = shared_gradient.rows_at_a_time(n_features, n_classes, itemsize)
            assert shared_gradient.MIN_ROWS <= at_once <= shared_gradient.MAX_ROWS
            for bounds in (
                partition.row_bounds(n_rows, coef_size, tile),
                partition.product_bounds(n_rows, coef_size),
            ):
                assert (bounds[0], bounds[-1]) == (0, n_rows)
                assert (np.diff(bounds) > 0).all()
                assert len(bounds) <= partition.MAX_PARTS + 1
            parts = len(partition.row_bounds(n_rows, coef_size, tile)) - 1
            assert parts == 1 or 8 * coef_size * parts <= partition.PARTIAL_SUMS_BYTES
    ranges = partition.class_bounds(min(n_classes, 2**24))
    assert np.diff(ranges).max() <= partition.CLASS_RANGE
