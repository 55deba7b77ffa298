"""Law: the largest logits are those that a stable sort of all of them puts first, however they are found."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax.contracts import Csr, Params
from fastsoftmax.kernels import cpu
from fastsoftmax.kernels.cpu.partition import CLASS_RANGE
from fastsoftmax.runtime.jit import jit
from fastsoftmax.simd.ranking import first_above, first_equal, offer, put_in_order
from tests import naive
from tests.tolerance import assert_close

N_FEATURES = 5
CLASSES = [1, 2, 3, 150, 2000]  # thin products, BLAS (of AVX2's registers), and several ranges of classes


def _csr(X, dtype, index):
    S = sp.csr_array(X.astype(dtype))
    return Csr(S.data, S.indices.astype(index), S.indptr.astype(index), S.shape)


def _strided(X):
    wide = np.zeros((2 * len(X), N_FEATURES + 3))
    wide[::2, :N_FEATURES] = X
    return wide[::2, :N_FEATURES]


STORAGES = {
    "float32": lambda X: X.astype(np.float32),
    "float64": lambda X: X.astype(np.float64),
    "uint8": lambda X: X.astype(np.uint8),
    "F-float32": lambda X: np.asarray(X, np.float32, order="F"),
    "strided-float64": _strided,
    "csr-float32-int32": lambda X: _csr(X, np.float32, np.int32),
    "csr-float64-int64": lambda X: _csr(X, np.float64, np.int64),
}


@functools.cache
def small_integers(n_classes):
    """Rows, parameters and exact logits of small integers: equal logits abound, and products are exact.

    One row in 17 is empty; there are more rows than a tile holds.
    """
    rng = np.random.default_rng(n_classes)
    X = rng.integers(0, 3, size=(17, N_FEATURES)) * rng.integers(0, 2, size=(17, N_FEATURES))
    X[4] = 0
    params = Params(
        rng.integers(-2, 3, size=(n_classes, N_FEATURES)).astype(float),
        rng.integers(-1, 2, size=n_classes).astype(float),
    )
    logits = np.array(naive.linear(X, params.coef, params.intercept))
    return np.tile(X, (70, 1)), params, np.tile(logits, (70, 1))


def expected(logits, k):
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(logits, order, axis=1)


@pytest.mark.parametrize("n_classes", CLASSES)
@pytest.mark.parametrize("storage", STORAGES)
def test_equal_logits_come_in_the_order_of_the_classes(storage, n_classes):
    X, params, logits = small_integers(n_classes)
    X = STORAGES[storage](X)
    lse = np.tile([naive.logsumexp(row) for row in logits[:17]], 70)
    for k in sorted({1, min(2, n_classes), min(7, n_classes), n_classes}):
        found = cpu.top(params, X, k, with_totals=True)
        order, largest = expected(logits, k)
        np.testing.assert_array_equal(found.classes, order)
        np.testing.assert_array_equal(found.logits, largest)
        assert_close(
            found.logits[:, 0] + np.log(found.totals), lse, dtype=found.logits.dtype, n_terms=n_classes
        )
        assert cpu.top(params, X, k).totals.size == 0


@pytest.mark.parametrize("n_classes", [3, 150, 800, 2000])
@pytest.mark.parametrize("storage", STORAGES)
def test_logits_are_those_of_all_classes_to_the_bit(storage, n_classes):
    rng = np.random.default_rng(1)
    X = STORAGES[storage](rng.integers(0, 256, size=(701, N_FEATURES)))
    params = Params(rng.normal(size=(n_classes, N_FEATURES)), rng.normal(size=n_classes))
    logits = cpu.logits(params, X)
    buffer = np.empty_like(logits)
    assert cpu.logits(params, X, out=buffer) is buffer
    np.testing.assert_array_equal(buffer, logits)
    for k in (1, 3, n_classes):
        order, largest = expected(logits, k)
        found = cpu.top(params, X, k)
        np.testing.assert_array_equal(found.classes, order)
        np.testing.assert_array_equal(found.logits, largest)


@pytest.mark.parametrize("storage", ["float32", "F-float32", "csr-float64-int64"])
@pytest.mark.parametrize("n_classes", [11, 1601])
def test_bits_do_not_depend_on_executor_or_threads(n_classes, storage, executor):
    rng = np.random.default_rng(2)
    X = STORAGES[storage](rng.integers(0, 9, size=(9001, N_FEATURES)))
    params = Params(rng.normal(size=(n_classes, N_FEATURES)), rng.normal(size=n_classes))
    for k in (1, 3):
        seen = set()
        for who in ("prange", "threads", "inline"):
            executor(who)
            for n_threads in (1, 2, 4):
                found = cpu.top(params, X, k, n_threads, with_totals=True)
                seen.add(b"".join(a.tobytes() for a in found))
        assert len(seen) == 1


def test_infinite_logits():
    # Products of 1e30 and 1e20 overflow in single; with −inf added they leave NaN, which comes last.
    n_classes = 2 * CLASS_RANGE
    coef, intercept = np.zeros((n_classes, 2)), np.zeros(n_classes)
    X = np.full((3, 2), 1e30, np.float32)
    X[2] = 1.0

    def top(k):
        return cpu.top(Params(coef, intercept), X, k, with_totals=True)

    coef[:CLASS_RANGE, 0] = -1e20  # a whole range of −inf; 768 zeros in the other
    found = top(3)
    np.testing.assert_array_equal(found.classes, CLASS_RANGE + np.tile([0, 1, 2], (3, 1)))
    np.testing.assert_array_equal(found.logits, 0)
    np.testing.assert_array_equal(found.totals, CLASS_RANGE)
    found = top(CLASS_RANGE + 2)
    np.testing.assert_array_equal(found.classes[0, -3:], [n_classes - 1, 0, 1])
    coef[5, 0], intercept[5] = 1e20, -np.inf  # NaN
    np.testing.assert_array_equal(np.isnan(top(1).totals), [True, True, False])
    np.testing.assert_array_equal(top(1).classes, CLASS_RANGE)
    np.testing.assert_array_equal(top(CLASS_RANGE + 7).classes[0, -7:], [0, 1, 2, 3, 4, 5, 6])
    coef[5, 0], intercept[5] = -1e20, 0
    coef[-3:-1, 0] = 1e20
    found = top(3)
    np.testing.assert_array_equal(
        found.classes[:2], np.tile([n_classes - 3, n_classes - 2, CLASS_RANGE], (2, 1))
    )
    assert np.all(np.isnan(found.totals[:2]))
    coef[:] = [-1e20, 0]
    found = top(1)
    np.testing.assert_array_equal(found.classes, 0)
    np.testing.assert_array_equal(np.isnan(found.totals), [True, True, False])


@jit
def place_above(row, start, bound):
    return first_above(row, start, bound)


@jit
def place_equal(row, start, value):
    return first_equal(row, start, value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_first_element_that_is_sought(dtype):
    rng = np.random.default_rng(3)
    for length in (1, 7, 8, 15, 16, 17, 33, 100):
        row = rng.integers(0, 6, size=length).astype(dtype)
        row[rng.integers(0, length)] = np.nan
        for start in {0, 1, length // 2, length}:
            for value in (-1, 3, 5, 6):
                for search, hits in ((place_above, row > value), (place_equal, row == value)):
                    places = np.flatnonzero(hits[start:])
                    found = start + places[0] if places.size else length
                    assert search(row, start, dtype(value)) == found, (search, row, start, value)


@jit
def offered(row, first, values, places):
    offer(row, first, values, places)


@jit
def put(values, places):
    put_in_order(values, places)


@pytest.mark.parametrize("cuts", [[0, 40], [0, 1, 2, 40], [0, 17, 18, 39, 40]])
def test_a_row_may_come_in_pieces(cuts):
    rng = np.random.default_rng(4)
    for rows in (rng.integers(0, 9, size=(20, 40)), np.arange(40)[None], -np.arange(40)[None]):
        for row in rows.astype(np.float64):
            for k in (2, 3, 8, 39, 40):
                values, places = np.empty(k), np.empty(k, np.int64)
                for left, right in itertools.pairwise(cuts):
                    offered(row[left:right], left, values, places)
                put(values, places)
                order, largest = expected(row[None], k)
                np.testing.assert_array_equal(places, order[0])
                np.testing.assert_array_equal(values, largest[0])
