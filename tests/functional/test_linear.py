"""Law: linear_cross_entropy is cross_entropy of X Wᵀ + b, whatever the storage and the options."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import fastsoftmax
from tests import naive
from tests.interpreter import PEAK_MEMORY, run_python
from tests.tolerance import assert_close

N, D, K = 37, 9, 5
STORAGES = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "strided": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "csr": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "csc": sp.csc_array,
}
OPTIONS = {
    "plain": {},
    "ignored": {"ignore_index": 2},
    "weights": {"class_weight": np.linspace(0.5, 2, K), "sample_weight": np.linspace(0, 2, N)},
    "smooth": {"label_smoothing": 0.2},
    "capped": {"z_loss": 0.02, "softcap": 4.0, "reduction": "sum"},
    "none": {"reduction": "none", "sample_weight": np.linspace(0, 2, N)},
}


def problem(dtype=np.float64, n=N, d=D, k=K):
    rng = np.random.default_rng(6)
    X = np.where(rng.random((n, d)) < 0.4, 0, rng.normal(size=(n, d))).astype(dtype)
    X[3] = 0  # an empty row
    return X, rng.normal(size=(k, d)).astype(dtype), rng.normal(size=k).astype(dtype), rng.integers(0, k, n)


def dense(grad):
    return grad.toarray() if sp.issparse(grad) else np.asarray(grad)


def exact(X, weight, bias, target, *, soft=False, **options):
    """Value and the three gradients by the oracle."""
    value, residual = naive.cross_entropy(naive.linear(X, weight, bias), target, soft=soft, **options)
    turned = naive.transpose(residual)
    return value, naive.matmul(residual, weight), naive.matmul(turned, X), [sum(column) for column in turned]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("options", OPTIONS)
def test_against_the_oracle(options, storage, dtype):
    X, weight, bias, target = problem(dtype)
    options = OPTIONS[options]
    stored = STORAGES[storage](X)
    wrt = ("X", "weight", "bias")
    value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(
        stored, weight, target, bias, wrt=wrt, **options
    )
    assert grads._fields == wrt
    expected, *gradients = exact(X, weight, bias, target, **options)
    size = 10 + np.max(np.abs(expected))
    assert np.shape(value) == np.shape(expected)
    assert_close(value, expected, dtype=dtype, n_terms=D, scale=size)
    for found, right in zip(grads, gradients, strict=True):
        found = dense(found)
        assert found.dtype == dtype
        assert_close(found, right, dtype=dtype, n_terms=N, scale=2 + np.max(np.abs(right)))
    again = fastsoftmax.linear_cross_entropy(stored, weight, target, bias, **options)
    assert_close(again, value, dtype=dtype, scale=size)


@pytest.mark.parametrize("storage", ["C", "csr"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_targets(storage, smoothing):
    X, weight, bias, _ = problem()
    soft = np.random.default_rng(7).dirichlet(np.ones(K), size=N)
    value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(
        STORAGES[storage](X), weight, soft, bias, label_smoothing=smoothing
    )
    expected, _, of_weight, of_bias = exact(X, weight, bias, soft, soft=True, label_smoothing=smoothing)
    assert_close(value, expected, n_terms=D, scale=10)
    assert_close(grads.weight, of_weight, n_terms=N)
    assert_close(grads.bias, of_bias, n_terms=N)


@pytest.mark.parametrize("wrt", [("weight", "bias"), ("weight",), ("bias",), ("X",), ("bias", "X"), ()])
def test_only_what_is_asked_for(wrt):
    X, weight, bias, target = problem()
    options = {"wrt": wrt}
    value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, target, bias, **options)
    everything = fastsoftmax.linear_cross_entropy_value_and_grad(
        X, weight, target, bias, wrt=("X", "weight", "bias")
    )
    assert value == everything[0]
    for name in ("X", "weight", "bias"):
        found = getattr(grads, name)
        if name in wrt:
            assert_close(found, getattr(everything[1], name), n_terms=N)
        else:
            assert found is None


def test_default_is_weight_and_bias():
    X, weight, bias, target = problem()
    _, grads = fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, target, bias)
    assert grads.X is None
    assert grads.weight.shape == (K, D)
    assert grads.bias.shape == (K,)


@pytest.mark.parametrize("storage", ["C", "csr"])
def test_no_bias_is_a_bias_of_zero(storage):
    X, weight, _, target = problem()
    X = STORAGES[storage](X)
    value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, target, wrt=("weight",))
    with_zero, zero_grads = fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, target, np.zeros(K))
    assert_close(value, with_zero)
    assert_close(grads.weight, zero_grads.weight)


def test_it_is_cross_entropy_of_the_logits():
    X, weight, bias, target = problem(n=1009, d=33, k=17)
    logits = X @ weight.T + bias
    value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, target, bias)
    same, residual = fastsoftmax.cross_entropy_value_and_grad(logits, target)
    assert_close(value, same, n_terms=33, scale=30)
    assert_close(grads.weight, residual.T @ X, n_terms=1009)
    assert_close(grads.bias, residual.sum(axis=0), n_terms=1009)


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_csr_with_unsorted_and_repeated_columns(index):
    X, weight, bias, target = problem()
    # each entry as two halves, the columns of a row from right to left, twice over
    columns = [np.tile(np.flatnonzero(row)[::-1], 2) for row in X]
    data = np.concatenate([row[c] / 2 for row, c in zip(X, columns)])
    indptr = np.cumsum([0, *map(len, columns)]).astype(index)
    A = sp.csr_array((data, np.concatenate(columns).astype(index), indptr), shape=X.shape)
    expected = fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, target, bias)
    before = A.indices.copy()
    found = fastsoftmax.linear_cross_entropy_value_and_grad(A, weight, target, bias)
    np.testing.assert_array_equal(A.indices, before)  # sorting in place would write to an input
    assert_close(found[0], expected[0], scale=10)
    assert_close(found[1].weight, expected[1].weight, n_terms=N)


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.float16, bool])
def test_narrow_X_is_read_as_it_is(kind):
    X, weight, bias, target = problem()
    X = np.abs(np.round(X)).astype(kind)
    value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, target, bias)
    wide, wide_grads = fastsoftmax.linear_cross_entropy_value_and_grad(X.astype(float), weight, target, bias)
    # whole numbers are exact in every dtype; float16 is computed in single
    dtype = np.float32 if kind is np.float16 else np.float64
    assert_close(value, wide, dtype=dtype, n_terms=D, scale=10)
    assert_close(grads.weight, wide_grads.weight, dtype=dtype, n_terms=N)


def test_no_rows():
    X, weight, bias, target = problem()
    for reduction, empty in (("mean", np.nan), ("sum", 0.0), ("none", np.empty(0))):
        value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(
            X[:0], weight, target[:0], bias, reduction=reduction
        )
        np.testing.assert_array_equal(value, empty)
        assert grads.weight.shape == (K, D)


@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_memory_does_not_grow_with_the_logits(storage):
    # 40009 x 1501 logits take 480 MB in double; 64 MiB and a few weight gradients (36 kB) are granted, and
    # 16 MiB for what the allocator and lazily loaded libraries take meanwhile
    pytest.importorskip("resource", reason="this system does not tell a process's peak memory")
    code = """
    import scipy.sparse
    X, weight = rng.normal(size=(40_009, 3)), rng.normal(size=(1501, 3))
    X = scipy.sparse.csr_array(X) if sys.argv[1] == "csr" else X
    target = rng.integers(0, 1501, 40_009)
    # enough rows for the kernels of many threads: compiling them takes memory of its own
    fastsoftmax.linear_cross_entropy_value_and_grad(X[:9999], weight, target[:9999])
    before = peak()
    fastsoftmax.linear_cross_entropy_value_and_grad(X, weight, target)
    print(peak() - before)
    """
    status, out, err = run_python(PEAK_MEMORY + code, storage)
    assert status == 0, err
    assert int(out) <= (64 + 16) * 2**20
