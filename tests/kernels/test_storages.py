"""Law: every verb on every storage and dtype is the oracle's, to the same bits whoever runs it.

Tiles are made small, so that few rows, which the oracle can take, are several parts of several tiles.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxRegression, devices
from fastsoftmax.contracts import Params, RowBlock
from fastsoftmax.data import validation
from fastsoftmax.kernels.cpu import partition
from fastsoftmax.losses import softmax
from fastsoftmax.runtime import executor as executor_module
from fastsoftmax.sources.array import with_transpose
from tests import naive
from tests.tolerance import assert_close

# With tiles of 64 rows, three parts of a tile and a bit: 19 or 20 rows, a register and a few. So are the
# features, two registers and 11.
N, D, K = 251, 43, 11
TILE = 64
EXECUTORS = ("inline", "threads", "prange")
# Threads, and how many nanoseconds of work to do at a time: 1 cuts it wherever it may be cut.
SETTINGS = ((1, 1), (2, 1e9), (4, 1), (8, 1e9))
DTYPES = ("uint8", "int8", "int16", "float16", "float32", "float64")


def with_index(A, kind):
    A.indices, A.indptr = A.indices.astype(kind), A.indptr.astype(kind)
    return A


def in_file(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


def read_only(X, folder):
    X = X.copy()
    X.flags.writeable = False
    return X


DENSE = {
    "C": lambda X, folder: X,
    "F": lambda X, folder: np.asfortranarray(X),
    "rows apart": lambda X, folder: np.repeat(X, 2, axis=0)[::2],
    "columns apart": lambda X, folder: np.repeat(X, 2, axis=1)[:, ::2],
    "rows of F": lambda X, folder: np.asfortranarray(np.vstack([X, X]))[: len(X)],
    "backwards": lambda X, folder: X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": read_only,
    "memory map": in_file,
}
SPARSE = {
    f"{name}-{index}": lambda X, folder, kind=kind, index=index: with_index(kind(X), np.dtype(index))
    for name, kind in (("CSR", sp.csr_array), ("CSC", sp.csc_array))
    for index in ("int32", "int64")
}
CASES = [(storage, dtype) for storage in DENSE for dtype in DTYPES]
CASES += [(storage, dtype) for storage in SPARSE for dtype in ("float32", "float64")]


@functools.cache
def numbers(dtype):
    """Rows that use what a dtype has: signs, large integers, fractions; and zeros, a whole row of them."""
    rng = np.random.default_rng(11)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        X = rng.normal(size=(N, D)).astype(kind)
    else:
        X = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, (N, D), dtype=kind, endpoint=True)
    X[rng.random((N, D)) < 0.4] = 0
    X[N // 2] = 0
    return X


def scale_of(dtype):
    """How large a number is: the parameters are made smaller by it, for logits of the usual size."""
    return float(max(1, np.abs(numbers(dtype).astype(np.float64)).max() / 2))


@functools.cache
def problem(dtype):
    rng = np.random.default_rng(12)
    here, along = (Params(rng.normal(size=(K, D)) / scale_of(dtype), rng.normal(size=K)) for _ in range(2))
    weight = np.where(np.arange(N) % 6 == 1, 0.0, rng.uniform(0.1, 4, N))
    return here, along, rng.integers(0, K, N), weight


def verbs(X, dtype, n_threads):
    """All that the verbs make of a matrix."""
    here, along, y, weight = problem(dtype)
    device = devices.get("cpu")
    block = RowBlock(with_transpose(validation.design_matrix(X)), y, weight)
    loss = softmax.for_targets(y, K)
    first = device.loss_grad(loss, here, block, n_threads)
    second = device.hessp(loss, here, along, block, n_threads)
    diagonal = device.diagonal(loss, here, block, n_threads)
    return {
        "value": np.float64(first.value),
        "gradient": first.coef,
        "gradient of b": first.intercept,
        "hessp": second.coef,
        "hessp of b": second.intercept,
        "diagonal": diagonal.coef,
        "diagonal of b": diagonal.intercept,
        "logits": device.logits(here, block.X, n_threads),
        "gram": np.tril(device.gram(loss, here, False, block, n_threads).coef),
    }


@functools.cache
def expected(dtype):
    here, along, y, weight = problem(dtype)
    X = numbers(dtype).astype(np.float64)
    total = weight.sum()
    value, *gradient = naive.objective(X, y, *here, sample_weight=weight)
    product = naive.hessp(X, *here, *along, sample_weight=weight)
    logits = np.array(naive.linear(X, *here))
    p = np.array([naive.softmax(row) for row in logits])
    curvature = weight[:, np.newaxis] * p * (1 - p)
    ones = np.column_stack([X, np.ones(N)])
    return {
        "value": total * value,
        "gradient": total * np.array(gradient[0]),
        "gradient of b": total * np.array(gradient[1]),
        "hessp": total * np.array(product[0]),
        "hessp of b": total * np.array(product[1]),
        "diagonal": curvature.T @ X**2,
        "diagonal of b": curvature.sum(axis=0),
        "logits": logits,
        "gram": np.tril(np.einsum("ik,ia,ib->kab", curvature, ones, ones)),
    }


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(partition, "MAX_TILE_ROWS", TILE)
    monkeypatch.setattr(executor_module, "SMALL_WORK", 0)


@pytest.mark.parametrize(("storage", "dtype"), CASES, ids=map("-".join, CASES))
def test_every_storage_and_dtype(storage, dtype, executor, small_tiles, tmp_path, monkeypatch):
    X = (DENSE | SPARSE)[storage](numbers(dtype), tmp_path)
    seen = {}
    for who in EXECUTORS:
        executor(who)
        for n_threads, slice_work in SETTINGS:
            monkeypatch.setattr(executor_module, "SLICE_WORK", slice_work)
            found = verbs(X, dtype, n_threads)
            for name, array in found.items():
                seen.setdefault(name, {}).setdefault(array.tobytes(), []).append((who, n_threads))
    for name, results in seen.items():
        assert len(results) == 1, f"{name}: {len(results)} different results: {list(results.values())}"
    single = dtype != "float64"
    for name, right in expected(dtype).items():
        assert_close(found[name], right, dtype=np.float32 if single else np.float64, n_terms=N)


@pytest.mark.parametrize(("storage", "dtype"), CASES, ids=map("-".join, CASES))
def test_few_rows_in_float64(storage, dtype, tmp_path):
    """What float32 products are checked by has the digits of float64, for every storage and dtype."""
    here, _, y, weight = problem(dtype)
    rows = with_transpose(validation.design_matrix((DENSE | SPARSE)[storage](numbers(dtype), tmp_path)))
    device, loss, block = devices.get("cpu"), softmax.for_targets(y, K), RowBlock(rows, y, weight)
    right = expected(dtype)
    alone = device.check(loss, here, None, block)
    assert_close(alone.value, right["value"], n_terms=N)
    assert (alone.coef.size, np.abs(alone.intercept).max()) == (0, 0.0)
    elsewhere = Params(np.zeros_like(here.coef), np.zeros_like(here.intercept))
    assert_close(device.check(loss, elsewhere, here, block).value, weight.sum() * np.log(K), n_terms=N)
    sums = device.check(loss, here, here, block)
    assert_close(sums.value, right["value"], n_terms=N)
    assert_close(sums.coef, right["gradient"], n_terms=N)
    assert_close(sums.intercept, right["gradient of b"], n_terms=N)
    assert_close(sums.weight, weight.sum(), n_terms=N)


def parameters_after_a_fit(X, dtype, n_threads):
    """SHA-256 of what a few steps of a fit come to."""
    _, _, y, weight = problem(dtype)
    model = SoftmaxRegression(n_threads=n_threads, max_iter=4, C=scale_of(dtype) ** -2)
    model.fit(X, y, sample_weight=weight)
    return hashlib.sha256(model.coef_.tobytes() + model.intercept_.tobytes()).hexdigest()


@pytest.mark.filterwarnings("ignore:.*failed to converge")
@pytest.mark.parametrize(
    ("storages", "dtype"),
    [(DENSE, dtype) for dtype in DTYPES] + [(SPARSE, dtype) for dtype in ("float32", "float64")],
    ids=[f"dense-{dtype}" for dtype in DTYPES] + ["sparse-float32", "sparse-float64"],
)
def test_fits_end_in_the_same_bits(storages, dtype, executor, small_tiles, tmp_path, monkeypatch):
    """However rows are stored, whoever computes, and from run to run."""
    seen = {}
    for storage, stored in storages.items():
        X = stored(numbers(dtype), tmp_path)
        for who in EXECUTORS:
            executor(who)
            for n_threads, slice_work in SETTINGS:
                monkeypatch.setattr(executor_module, "SLICE_WORK", slice_work)
                digest = parameters_after_a_fit(X, dtype, n_threads)
                seen.setdefault(digest, []).append((storage, who, n_threads))
    assert len(seen) == 1, f"{len(seen)} different results: {list(seen.values())}"
