"""Law: no index reaches a kernel unchecked, and nothing that a call writes is what it still has to read.

Each case is one that fuzzing or a reading of the sources has found.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import scipy.sparse as sp

import fastsoftmax
from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.kernels.cpu.index_checks import sparse_faults

X = np.eye(4)
Y = np.array([0, 1, 2, 1])


def lying(form, **arrays):
    A = sp.csr_array(X).asformat(form)
    for name, array in arrays.items():
        setattr(A, name, np.asarray(array))
    return A


# Neighbours of int32 whose differences wrap around to something positive.
WRAPPED = np.array([0, 2**31 - 1, -(2**31), -1, 4], dtype=np.int32)
FALSE = {
    "differences that wrap around": {"indptr": WRAPPED},
    "falling": {"indptr": np.array([0, 3, 1, 2, 4], np.int32)},
    "falling, unsigned": {"indptr": np.array([0, 3, 1, 2, 4], np.uint64)},
    "beyond int64": {"indices": np.array([0, 1, 2, 2**63], np.uint64)},
    "negative index": {"indices": np.array([0, 1, 2, -1], np.int32)},
    "index too large": {"indices": np.array([0, 1, 2, 4], np.int64)},
    "not from zero": {"indptr": np.array([1, 1, 2, 3, 4], np.int32)},
    "more than there are": {"indptr": np.array([0, 1, 2, 3, 5], np.int32)},
    "ends below zero": {"indptr": np.array([0, 0, 0, 0, -1], np.int32)},
    "floats": {"indptr": np.arange(5.0)},
    "a matrix of data": {"data": np.ones((4, 1))},
    "complex, and more than there are": {
        "data": np.ones(4, complex),
        "indptr": np.array([0, 1, 2, 3, 2**30]),
    },
}


@pytest.mark.parametrize("case", FALSE)
def test_index_arrays_that_lie(case):
    A, B = (lying(form, **FALSE[case]) for form in ("csr", "csc"))
    for call in (
        lambda: SoftmaxObjective(A, Y),
        lambda: SoftmaxRegression().fit(A, Y),
        lambda: SoftmaxRegression().fit(X, Y).predict(A),
        lambda: fastsoftmax.linear_cross_entropy(A, np.ones((3, 4)), Y),
        lambda: SoftmaxObjective(B, Y),
    ):
        with pytest.raises(ValueError, match=r"X: .*(cs[rc]) matrix"):
            call()


@pytest.mark.parametrize("place", [-1, 4, 2**31 - 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_places_that_scipy_would_follow(axis, place):
    A = sp.coo_array(X)
    A.coords[axis][2] = place
    with pytest.raises(ValueError, match="coo matrix"):
        SoftmaxRegression().fit(A, Y)
    B = sp.bsr_array(X, blocksize=(2, 2))
    B.indices[0] = place
    with pytest.raises(ValueError, match="bsr matrix"):
        SoftmaxObjective(B, Y)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_every_place_of_long_index_arrays_is_looked_at(kind):
    # several parts, the index arrays of different lengths
    for n, nnz in ((300_000, 1_000), (1_000, 300_000), (200_001, 200_000)):
        indptr, indices = np.linspace(0, nnz, n + 1).astype(kind), np.arange(nnz, dtype=kind) % 97
        assert sparse_faults(indptr, indices, 97) == (False, False)
        for at in (0, 1, n // 2, n - 1):
            spoilt = indptr.copy()
            spoilt[at] = nnz + 1
            assert sparse_faults(spoilt, indices, 97) == (True, False), at
        for at in (0, nnz // 2, nnz - 1):
            for value in (-1, 97, np.iinfo(kind).min, np.iinfo(kind).max):
                spoilt = indices.copy()
                spoilt[at] = value
                assert sparse_faults(indptr, spoilt, 97) == (False, True), (at, value)


@pytest.mark.parametrize("label", [2**63, 2**64 - 100, 2**64 - 1])
def test_labels_beyond_int64_do_not_become_negative(label):
    y = np.array([0, 1, label, 1], np.uint64)  # 2⁶⁴ − 100 would be the default ignore_index
    for call in (
        lambda: SoftmaxObjective(X, y),
        lambda: fastsoftmax.cross_entropy(X, y),
        lambda: fastsoftmax.cross_entropy_value_and_grad(X, y),
        lambda: fastsoftmax.linear_cross_entropy(X, X, y),
    ):
        with pytest.raises(ValueError, match=r"must (lie in|hold integers)"):
            call()


def test_labels_that_are_whole_floats():
    right = SoftmaxObjective(X, Y).value(np.zeros(15))
    for dtype in (np.float16, np.float32, np.float64, np.longdouble):
        assert SoftmaxObjective(X, Y.astype(dtype)).value(np.zeros(15)) == right
    for label in (2.0**63, 1e300, np.longdouble("1e400"), np.inf, np.nan, 0.5):
        with pytest.raises(ValueError, match="y must hold integers"):
            SoftmaxObjective(X, np.array([0, 1, label, 1]))


@pytest.mark.parametrize("index", [2**63, -(2**63) - 1, 10**30])
def test_ignore_index_beyond_int64(index):
    with pytest.raises(ValueError, match="ignore_index"):
        fastsoftmax.cross_entropy_value_and_grad(X, Y, ignore_index=index)


@pytest.mark.parametrize("n", [5, 3000])  # the small call's path, and the others'
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_gradients_over_the_logits_or_what_else_is_read(n, reduction):
    rng = np.random.default_rng(0)
    memory = rng.normal(size=12 * n + 3)
    x, y = memory[: 12 * n].reshape(n, 12), np.arange(n) % 12
    right = fastsoftmax.cross_entropy_value_and_grad(x.copy(), y, reduction=reduction)
    for shift in (0, 1, 3):
        buffer = np.zeros(12 * n + 3)
        logits = buffer[: 12 * n].reshape(n, 12)
        logits[...] = x
        out = buffer[shift : shift + 12 * n].reshape(n, 12)
        value, grad = fastsoftmax.cross_entropy_value_and_grad(logits, y, reduction=reduction, out=out)
        np.testing.assert_array_equal(value, right[0])
        np.testing.assert_array_equal(grad, right[1])
    targets = rng.dirichlet(np.ones(12), size=n)
    right = fastsoftmax.cross_entropy_value_and_grad(x, targets)
    value, grad = fastsoftmax.cross_entropy_value_and_grad(x, targets, out=targets)
    assert value == right[0]
    np.testing.assert_array_equal(grad, right[1])
    buffer = np.zeros(12 * n)
    labels = buffer.view(np.int64)[:n]
    labels[...] = y
    value, grad = fastsoftmax.cross_entropy_value_and_grad(x, labels, out=buffer.reshape(n, 12))
    np.testing.assert_array_equal(grad, fastsoftmax.cross_entropy_value_and_grad(x, y)[1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_arrays_at_odd_addresses(dtype):
    def odd(a):
        buffer = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
        buffer[...] = a
        return buffer

    x = np.random.default_rng(0).normal(size=(70, 9)).astype(dtype)
    y = np.arange(70) % 9
    for axis in (0, 1):
        for function in (fastsoftmax.softmax, fastsoftmax.log_softmax):
            right = function(x, axis=axis)
            np.testing.assert_array_equal(function(odd(x), axis=axis), right)
            np.testing.assert_array_equal(function(x, axis=axis, out=odd(x)), right)
    right = fastsoftmax.cross_entropy_value_and_grad(x, y)
    found = fastsoftmax.cross_entropy_value_and_grad(odd(x), odd(y), out=odd(x))
    assert found[0] == right[0]
    np.testing.assert_array_equal(found[1], right[1])
    objective, other = SoftmaxObjective(x, y), SoftmaxObjective(odd(x), odd(y))
    params = np.linspace(-1, 1, objective.n_params)
    assert other.value(params) == objective.value(params)


def test_masks_are_not_dropped():
    masked = np.ma.array(X, mask=X > 0)
    weight = np.ma.array(np.ones(4), mask=[True, False, False, False])
    model = SoftmaxRegression().fit(X, Y)
    for name, call in {
        "X": lambda: SoftmaxRegression().fit(masked, Y),
        "X ": lambda: model.predict(masked),
        "y": lambda: SoftmaxObjective(X, np.ma.array(Y, mask=Y == 1)),
        "y ": lambda: SoftmaxRegression().fit(X, np.ma.array(Y, mask=Y == 1)),
        "logits": lambda: fastsoftmax.cross_entropy(masked, Y),
        "target": lambda: fastsoftmax.cross_entropy(X, np.ma.array(Y, mask=Y == 1)),
        "sample_weight": lambda: SoftmaxObjective(X, Y, sample_weight=weight),
        "weight": lambda: fastsoftmax.linear_cross_entropy(X, masked, Y),
    }.items():
        with pytest.raises(ValueError, match=f"{name.strip()} holds masked"):
            call()
    assert fastsoftmax.cross_entropy(np.ma.array(X), Y) == fastsoftmax.cross_entropy(X, Y)


def test_what_is_no_real_number_is_not_made_one():
    for weight in (np.ones(4) + 1j, np.array(["1"] * 4), np.array([0, 1, 2, 3], "M8[s]")):
        with pytest.raises(TypeError, match="sample_weight"):
            fastsoftmax.cross_entropy(X, Y, sample_weight=weight)
        with pytest.raises(TypeError, match="sample_weight"):
            SoftmaxObjective(X, Y, sample_weight=weight)
        with pytest.raises(TypeError, match="params"):
            SoftmaxObjective(X, Y).value(np.resize(weight, 15))
    for rows in ([[10**400]], np.array([[10**400]], object)):
        for call in (SoftmaxObjective, SoftmaxRegression().fit):
            with pytest.raises(ValueError, match="X"):
                call(rows, [0])
    with pytest.raises(ValueError, match="X"):
        SoftmaxObjective(np.full((1, 1), np.longdouble("1e400")), [0])


@pytest.mark.parametrize("weight", [1e308, 5e-324])
def test_weights_whose_sum_cannot_divide(weight):
    weights = np.full(4, weight)
    with pytest.raises(ValueError, match="weights"):
        fastsoftmax.cross_entropy(X, Y, sample_weight=weights)
    with pytest.raises(ValueError, match="sample_weight"):
        SoftmaxObjective(X, Y, sample_weight=weights)


def test_coefficients_that_do_not_fit():
    for name, value in {
        "coef_": np.zeros((3, 9)),
        "intercept_": np.zeros(1),
        "classes_": np.arange(2),
    }.items():
        model = SoftmaxRegression().fit(X, Y)
        setattr(model, name, value)
        for call in (model.predict, model.predict_proba, model.decision_function):
            with pytest.raises(ValueError, match="coef_"):
                call(X)


def test_rows_whose_objective_overflows():
    for rows in (X * 1e300, sp.csr_array(X * 1e300)):
        model = SoftmaxRegression()
        with pytest.raises(ValueError, match="too large"):
            model.fit(rows, Y)
        assert not hasattr(model, "coef_")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, bool])
@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_integers_without_axes_or_elements_are_float64(dtype, shape):
    for function in (fastsoftmax.softmax, fastsoftmax.log_softmax):
        assert function(np.ones(shape, dtype), axis=-1 if shape else None).dtype == np.float64


@pytest.mark.parametrize(
    "what",
    [None, object(), np.array(None), memoryview(np.ones(3, ">i2"))],
    ids=lambda value: type(value).__name__,
)
def test_what_scipy_stumbles_over(what):
    with pytest.raises((TypeError, ValueError)):
        fastsoftmax.logsumexp(what)
    for function in (fastsoftmax.softmax, fastsoftmax.log_softmax):
        with contextlib.suppress(TypeError, ValueError):  # SciPy takes the memory of these
            assert np.shape(function(what)) == (3,)
    with pytest.raises(ValueError, match="axis 2"):
        fastsoftmax.logsumexp(np.ones((3, 0)), axis=2)
