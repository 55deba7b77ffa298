"""Law: a sparse matrix of either format is read without a copy; only its missing transpose is built."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax.contracts import RowBlock, row_slice
from fastsoftmax.data import validation
from fastsoftmax.sources.array import ArraySource, with_transpose

KINDS = {"csr_array": sp.csr_array, "csr_matrix": sp.csr_matrix, "csc_array": sp.csc_array}
KINDS["csc_matrix"] = sp.csc_matrix
N, D = 23, 7


def dense(dtype=np.float32):
    """Whole numbers, which all dtypes hold, with empty rows and columns among them."""
    rng = np.random.default_rng(15)
    X = np.where(rng.random((N, D)) < 0.5, 0, rng.integers(1, 99, (N, D))).astype(dtype)
    X[4:7] = 0
    X[:, [0, 3]] = 0
    return X


def disordered(A):
    """The same matrix with each entry as two halves, those of a row (or column) in descending order."""
    runs = [slice(*A.indptr[i : i + 2]) for i in range(len(A.indptr) - 1)]
    order = np.concatenate([np.tile(np.arange(run.start, run.stop)[::-1], 2) for run in runs])
    B = type(A)(A.shape, dtype=A.dtype)
    B.data, B.indices, B.indptr = A.data[order] / A.dtype.type(2), A.indices[order], 2 * A.indptr
    return B


def stored(kind, dtype=np.float32, index=np.int32):
    A = KINDS[kind](dense(dtype))
    A.indices, A.indptr = A.indices.astype(index), A.indptr.astype(index)
    return A


def read_only(A):
    for array in (A.data, A.indices, A.indptr):
        array.flags.writeable = False
    return A


def as_dense(X):
    """A `Csr` entry by entry; how often a place is stored."""
    out, count = np.zeros(X.shape), np.zeros(X.shape, int)
    for i in range(X.shape[0]):
        for e in range(X.indptr[i], X.indptr[i + 1]):
            out[i, X.indices[e]] += X.data[e]
            count[i, X.indices[e]] += 1
    return out, count


@pytest.mark.parametrize(
    ("order", "dtype"),
    [("disordered", np.float32), ("disordered", np.float64)]
    + [("sorted", dtype) for dtype in (np.float32, np.float64, np.int32, np.uint8, bool)],
)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_columns_are_the_matrix(kind, order, index, dtype):
    A = stored(kind, dtype, index)
    A = read_only(disordered(A) if order == "disordered" else A)
    X = with_transpose(validation.design_matrix(A))
    right = dense(dtype).astype(float)
    for half, expected in ((X, right), (X.transpose, right.T)):
        found, count = as_dense(half)
        np.testing.assert_array_equal(found, expected)
        assert half.data.dtype == (np.float32 if dtype == np.float32 else np.float64)
        assert half.indices.dtype == half.indptr.dtype == index
    assert count.max() == 1, "entries in parts, whose squares do not add up to the square"


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_not_copied(kind, index):
    A = stored(kind, np.float32, index)
    X = validation.design_matrix(A)
    half = X if A.format == "csr" else X.transpose
    for name in ("data", "indices", "indptr"):
        assert np.shares_memory(getattr(half, name), getattr(A, name)), name
    source = ArraySource(RowBlock(X, np.zeros(N, int), np.ones(N)), None, 2)
    (block,) = (block.X for block in source._blocks)
    assert block.data is X.data
    if A.format == "csc":
        assert block.transpose is X.transpose


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_rows_have_columns_of_their_own(kind):
    X = validation.design_matrix(stored(kind))
    rows = RowBlock(X, np.zeros(N, int), np.ones(N))
    pieces = [block.X for block in ArraySource(rows, None, 2, block_rows=10)._blocks]
    assert [piece.shape for piece in pieces] == [(10, D), (10, D), (3, D)]
    for start, piece in zip((0, 10, 20), pieces, strict=True):
        right = dense()[start : start + 10]
        np.testing.assert_array_equal(as_dense(piece)[0], right)
        np.testing.assert_array_equal(as_dense(piece.transpose)[0], right.T)
    assert row_slice(X, 0, 10).transpose is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_halves_are_checked(value):
    X = dense(np.float16)
    X[11, 2] = value
    for layout in (X, np.asfortranarray(X), X[::-1, ::2]):
        with pytest.raises(ValueError, match="X"):
            validation.design_matrix(layout)
    largest = np.full((2, 3), np.finfo(np.float16).max)
    assert np.shares_memory(validation.design_matrix(largest).bits, largest)
