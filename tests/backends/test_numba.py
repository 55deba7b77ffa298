"""In jitted functions of others the functions on logits give the bits that they give in Python."""

from __future__ import annotations

import os

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax import cross_entropy, cross_entropy_value_and_grad, log_softmax, logsumexp, softmax

numba = pytest.importorskip("numba", exc_type=ImportError)

from fastsoftmax.backends import numba as backend  # noqa: E402

pytestmark = pytest.mark.skipif(
    bool(numba.config.DISABLE_JIT), reason="jitted functions are plain Python, which call the functions"
)
backend.register()  # as the installed package's entry point does


# A prange takes as long to compile as all else here: `python -m tests.backends` asks for it.
@numba.njit(parallel=bool(os.environ.get("FASTSOFTMAX_BACKENDS")))
def by_rows(X, y, out):
    """All of the functions: of a row in a prange, of a matrix, and in a module's name."""
    sums = np.empty(len(X))
    for i in numba.prange(len(X)):
        softmax(X[i], out=out[i])
        sums[i] = logsumexp(X[i])
    value, grad = cross_entropy_value_and_grad(X, y)
    return sums, fastsoftmax.log_softmax(X, axis=1), logsumexp(X, axis=-1), value, grad, cross_entropy(X, y)


@pytest.mark.parametrize("n_classes", [5, 300])
def test_bits_are_those_of_python(n_classes):
    """Rows by a prange and whole matrices, few classes and many; an ignored row."""
    rng = np.random.default_rng(n_classes)
    X, y = rng.normal(size=(37, n_classes)), rng.integers(0, n_classes, 37)
    y[3] = -100
    out = np.empty_like(X)
    results = by_rows(X, y, out)
    rows = logsumexp(X, axis=1)
    expected = (rows, log_softmax(X, axis=1), rows, *cross_entropy_value_and_grad(X, y), cross_entropy(X, y))
    np.testing.assert_array_equal(out, softmax(X, axis=1))
    for result, right in zip(results, expected):
        np.testing.assert_array_equal(result, right)
    with pytest.raises(ValueError, match="target must hold labels"):
        by_rows(X, y + n_classes, out)


def test_callers_are_not_kept_on_disk():
    """What calls a kernel by its address, which is of this process, cannot be loaded by another."""

    @numba.njit(cache=True)
    def total(x):
        return logsumexp(x)

    with pytest.warns(numba.NumbaWarning, match="[Cc]annot cache"):
        assert total(np.zeros(1)) == 0.0


def test_what_kernels_do_not_take_is_a_typing_error():
    """Dtypes and dimensions, at compilation, in words."""
    call = numba.njit(lambda x: softmax(x))
    with pytest.raises(numba.TypingError, match="float32 or float64"):
        call(np.zeros((2, 2), np.int64))
    with pytest.raises(numba.TypingError, match="float32 or float64"):
        call(np.zeros((2, 2, 2)))
