"""Law: sparse kernels follow indptr beyond 2³¹ stored entries.

The arrays are that long, and lie where nothing is written: only the pages at their ends ever exist.
"""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from fastsoftmax.contracts import Csr, Params, RowBlock
from fastsoftmax.kernels.cpu import csr
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
        pytest.skip(f"the address space has no room for arrays of 2^31 entries: {error}")
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
