"""Law: the scalar exp keeps its digits and the special values."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest

from fastsoftmax.simd import exp as vector
from tests.naive import exp_exact
from tests.tolerance import ulps

FLOATS = [np.float32, np.float64]


@numba.njit
def exp_of_each(x, out):
    for i in range(x.size):
        out[i] = vector.exp(x[i])


def exp(x):
    out = np.empty_like(x)
    exp_of_each(x, out)
    return out


def grid(dtype, n):
    """Points over the whole range where exp neither overflows nor is subnormal, and densely around 0."""
    info = np.finfo(dtype)
    low, high = math.log(info.tiny), math.log(info.max)
    wide = np.linspace(low * (1 - 1e-6), high * (1 - 1e-6), n)
    near = np.geomspace(1e-12, 1.0, n // 10)
    # the argument is reduced to |r| <= ln2/2: its integer changes at the odd multiples of ln2/2
    integers = np.arange(math.ceil(low / math.log(2)) + 1, math.floor(high / math.log(2)) - 1)
    ties = (integers + 0.5) * math.log(2)
    ties = np.concatenate([ties, np.nextafter(ties, np.inf), np.nextafter(ties, -np.inf)])
    hard = np.array([59.26477, 59.26526, -59.923176, -38.451553])  # where a short polynomial erred most
    return np.concatenate([wide, near, -near, ties, hard]).astype(dtype)


def test_exp_in_single_is_within_an_ulp():
    x = grid(np.float32, 2_000_003)
    exact = np.exp(x.astype(np.float64))  # 2^29 times finer than what is judged
    assert exp(x).dtype == np.float32
    assert np.max(ulps(exp(x), exact)) <= 1


def test_exp_in_double_is_within_an_ulp():
    x = grid(np.float64, 4001)
    y = exp(x)
    assert y.dtype == np.float64
    # correctly rounded values are themselves half an ulp off
    assert np.max(ulps(y, [exp_exact(v) for v in x])) <= 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_keeps_the_dtype(dtype):
    y = exp(np.ones(1, dtype))
    assert y.dtype == dtype
    assert abs(float(y[0]) - math.e) <= np.spacing(dtype(math.e))


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_of_special_values(dtype):
    x = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0], dtype=dtype)
    np.testing.assert_array_equal(exp(x), np.array([0, np.inf, np.nan, 1, 1], dtype=dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_of_tiny_arguments_is_one(dtype):
    tiny = np.finfo(dtype).tiny
    x = np.array([tiny, -tiny, tiny / 2, 1e-30], dtype=dtype)
    np.testing.assert_array_equal(exp(x), np.ones(4, dtype=dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_underflows_to_zero_and_overflows_to_infinity(dtype):
    info = np.finfo(dtype)
    low, high = math.log(info.smallest_subnormal), math.log(info.max)
    far = np.array([low - 1, 2 * low, 1e4 * low, info.min], dtype=dtype)
    np.testing.assert_array_equal(exp(far), np.zeros(4, dtype=dtype))
    big = np.array([high + 1, 2 * high, 1e4 * high, info.max], dtype=dtype)
    np.testing.assert_array_equal(exp(big), np.full(4, np.inf, dtype=dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_where_the_result_is_subnormal_is_right_or_zero(dtype):
    info = np.finfo(dtype)
    x = np.linspace(math.log(info.smallest_subnormal) - 1, math.log(info.tiny) - 1e-3, 1009).astype(dtype)
    y = exp(x).astype(np.float64)
    exact = np.array([exp_exact(v) for v in x])
    assert np.all((y == 0) | (np.abs(y - exact) <= info.smallest_subnormal))


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_up_to_the_last_number(dtype):
    # the largest arguments whose exponential is finite: scaling by 2**128 (or 2**1024) would overflow
    top = dtype(math.log(np.finfo(dtype).max))
    while float(top) > math.log(np.finfo(dtype).max):
        top = np.nextafter(top, dtype(0))
    x = np.linspace(top - dtype(0.5), top, 101, dtype=dtype)
    y = exp(x)
    assert np.all(np.isfinite(y))
    assert np.max(ulps(y, [exp_exact(v) for v in x])) <= 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_exp_rises(dtype):
    x = np.sort(grid(dtype, 20_011))
    y = exp(x).astype(np.float64)
    # neighbours may swap within the error of an ulp each, never more
    assert np.all(np.diff(y) >= -2 * np.spacing(y[1:].astype(dtype)))
    marks = np.array([-np.inf, -1000, -10, -1, 0, 1, 10, 1000, np.inf], dtype=dtype)
    assert np.all(np.diff(exp(marks)[1:-1]) >= 0)
