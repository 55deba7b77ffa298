"""Law: softmax, log_softmax and logsumexp are within 2 ulp + K·eps/8 (relative) of the exact result.

It is that of an exponential good to an ulp, a sum of K rounded terms and two roundings of the result, and is
taken literally, with two exceptions:

- logsumexp = max + log Σ cancels where the maximum is negative: its ulp is that of the larger of the two, the
  result and log Σ.
- A result below the smallest normal number may be flushed: it may err by that number.

In particular x − max, which rounds, must not spoil e^(x − max): half an ulp of 30 would be 16 ulp of that.
Special rows (NaN, +inf, all -inf) have SciPy's results.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
import scipy.special

import fastsoftmax
from tests import naive

NAMES = ["softmax", "log_softmax", "logsumexp"]
FLOATS = [np.float32, np.float64]
# one, both sides of the widths of registers and of tiles, of a power of ten, and a row of several sum blocks
SIZES = [1, 2, 3, 7, 10, 16, 17, 31, 32, 33, 63, 64, 100, 128, 129, 1000, 4099]
N_ROWS = 37  # no multiple of a tile's rows, and more than the kinds of rows


class Exact(NamedTuple):
    """Correct results of a row, in two parts (the second is what the first lacks); and log Σ e^(x − max)."""

    softmax: tuple
    log_softmax: tuple
    logsumexp: tuple
    log_total: float


def in_two_parts(numbers):
    first = [float(v) for v in numbers]
    return np.array(first), np.array([0.0 if np.isinf(a) else float(v - a) for v, a in zip(numbers, first)])


def exact_row(row):
    """All three of a row with a finite maximum, by mpmath; keeps the digits of log(1 + tiny)."""
    with mpmath.workdps(naive.DIGITS):
        row = [mpmath.mpf(float(v)) for v in row]
        top = max(row)
        count = row.count(top)
        others = mpmath.fsum(mpmath.exp(v - top) for v in row if v != top)
        log_total = mpmath.log(count) + mpmath.log1p(others / count)
        return Exact(
            in_two_parts([mpmath.exp(v - top) / (count + others) for v in row]),
            in_two_parts([(v - top) - log_total for v in row]),
            in_two_parts([top + log_total]),
            float(log_total),
        )


def ordinary_rows(size, dtype, rng):
    """Rows with a finite maximum, by what is particular about them."""
    normal = rng.normal(size=size)
    sign = rng.choice([-1.0, 1.0], size)
    masked = np.where(rng.random(size) < 0.6, -np.inf, 3 * normal)
    masked[rng.integers(size)] = 1.5
    confident = -np.abs(40 + 3 * normal)
    confident[rng.integers(size)] = 0.0
    rows = {
        "normal": 3 * normal,
        "grid": np.round(3 * normal * 1024) / 1024,  # x − max is exact: the bound with nothing added
        "negative": -np.abs(normal),
        "equal": np.full(size, normal[0]),
        "wide": 25 * normal,
        "confident": confident,
        "shifted": confident - 7,
        "tiny": 1e-6 * normal,
        "tinier": 1e-30 * normal,
        "subnormal": np.round(9 * normal) * float(np.finfo(dtype).smallest_subnormal),
        "huge": 1e4 * sign,
        "huger": 1e30 * sign,
        "masked": masked,
    }
    return {kind: row.astype(dtype) for kind, row in rows.items()}


def special_rows(size, dtype, rng):
    """Rows without a finite maximum or with a NaN."""
    rows = {}
    for kind, put in (("nan", np.nan), ("inf", np.inf)):
        rows[kind] = rng.normal(size=size)
        rows[kind][rng.integers(size)] = put
    rows["all -inf"] = np.full(size, -np.inf)
    rows["all inf"] = np.full(size, np.inf)
    rows["-inf and nan"] = np.where(np.arange(size) == size // 2, np.nan, -np.inf)
    return {kind: row.astype(dtype) for kind, row in rows.items()}


class Problem(NamedTuple):
    """Logits (n, K) of all kinds in a random order, and for each name the result and the error granted."""

    kinds: np.ndarray
    x: np.ndarray
    result: dict
    granted: dict


@functools.cache
def problem_of(size, dtype, seed=0):
    rng = np.random.default_rng([seed, size, np.dtype(dtype).itemsize])
    ordinary, special = ordinary_rows(size, dtype, rng), special_rows(size, dtype, rng)
    kinds = [*ordinary, *special]
    x = np.array([*ordinary.values(), *special.values()])
    result = {name: [] for name in NAMES}
    granted = {name: [] for name in NAMES}
    for row in ordinary.values():
        exact = exact_row(row)
        bounds = bounds_of(row, exact)
        for name in NAMES:
            result[name].append(getattr(exact, name))
            granted[name].append(bounds[name])
    for row in special.values():
        for name in NAMES:
            with np.errstate(all="ignore"):
                value = np.atleast_1d(getattr(scipy.special, name)(row)).astype(np.float64)
            result[name].append((value, np.zeros_like(value)))
            granted[name].append(np.full(value.shape, np.finfo(dtype).tiny))
    order = rng.permutation(np.concatenate([np.arange(len(x)), rng.integers(len(x), size=N_ROWS - len(x))]))
    x = x[order]
    x.flags.writeable = False  # it is kept for other tests
    return Problem(
        np.array(kinds)[order],
        x,
        {name: np.swapaxes(np.array(result[name]), 0, 1)[:, order] for name in NAMES},
        {name: np.array(granted[name])[order] for name in NAMES},
    )


def rounding_of(exact, n_terms, dtype):
    """2 ulp + n_terms·eps/8 of a result; the smallest normal number for one that is smaller."""
    size, kind = np.abs(exact), np.finfo(dtype)
    bound = 2 * np.spacing(size.astype(dtype)).astype(np.float64) + n_terms * float(kind.eps) / 8 * size
    return np.where(size < float(kind.tiny), float(kind.tiny), bound)


def bounds_of(row, exact):
    """The error granted to each result of a row."""
    logp, lse = exact.log_softmax[0], exact.logsumexp[0]
    scales = {
        "softmax": exact.softmax[0],
        "log_softmax": np.where(np.isfinite(logp), logp, 0.0),
        "logsumexp": np.maximum(np.abs(lse), exact.log_total),
    }
    return {name: rounding_of(scale, len(row), row.dtype) for name, scale in scales.items()}


def assert_within(ours, first, second, granted, kinds):
    """Fail, naming the kind of row, if ours errs from first + second by more than is granted."""
    ours = ours.astype(np.float64)
    assert ours.shape == first.shape == granted.shape
    with np.errstate(invalid="ignore"):
        excess = np.abs((ours - first) - second) / granted
    same = (ours == first) | (np.isnan(ours) & np.isnan(first))
    excess = np.where(np.isfinite(first) & np.isfinite(ours), excess, np.where(same, 0.0, np.inf))
    at = np.unravel_index(np.argmax(excess), excess.shape)
    assert excess[at] <= 1, (
        f"{kinds[at[0]]} row {at[0]}, {[int(i) for i in at[1:]]}: {ours[at]} for {first[at]} is off by "
        f"{excess[at]:.3g} times what is granted"
    )


def check(name, how, place, problem, rows=slice(None)):
    """A function of some of the rows, laid out and written in some way, against what they should give."""
    ours = along(name, problem.x[rows], how, place)
    rows = np.arange(N_ROWS)[rows]
    rows = np.tile(rows, 2) if how == "middle" else rows
    first, second = problem.result[name][:, rows]
    assert_within(ours.reshape(first.shape), first, second, problem.granted[name][rows], problem.kinds[rows])


def along(name, x, how, place):
    """Result of a function by rows, of x laid out in some way and written to some place."""
    laid = {
        "last": lambda a: a.copy(),
        "first": lambda a: a.T.copy(),
        "middle": lambda a: np.stack([a.T, a[::-1].T]),
        "fortran": lambda a: np.array(a, order="F"),
        "strided": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    }[how](x)
    axis = {"last": 1, "first": 0, "middle": 1, "fortran": 1, "strided": 1}[how]
    options = {}
    if place == "out":
        options["out"] = np.full_like(laid, 7)
    elif place == "in place":
        options["out"] = laid
    with np.errstate(all="ignore"):
        y = getattr(fastsoftmax, name)(laid, axis=axis, **options)
    assert y is options.get("out", y)
    assert y.dtype == x.dtype
    if how == "middle":  # the second block has the rows in the opposite order
        y = np.concatenate([y[0], y[1][..., ::-1]], axis=-1)
    return y.T if how in ("first", "middle") and name != "logsumexp" else y


@pytest.mark.parametrize("how", ["last", "first", "middle", "fortran", "strided"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_all_kinds_of_rows(name, size, dtype, how):
    problem = problem_of(size, dtype)
    for place in ["new"] if name == "logsumexp" else ["new", "out", "in place"]:
        check(name, how, place, problem)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [2, 3, 10, 33])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_rows(name, size, dtype):
    # a tile that is not full: each number of rows from 1 to more than a register's, from any row on
    problem = problem_of(size, dtype)
    for n in range(1, N_ROWS):
        rows = slice(N_ROWS - n, None)
        for how in ("last", "first"):
            check(name, how, "new", problem, rows)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [3, 10, 33, 129])
@pytest.mark.parametrize("name", NAMES)
def test_as_many_rows_as_are_shared_among_threads(name, size, dtype):
    problem = problem_of(size, dtype)
    rows = np.random.default_rng(1).integers(N_ROWS, size=700_003 // size)
    for how, place in (("last", "new"), ("last", "in place"), ("first", "new"), ("first", "in place")):
        if name != "logsumexp" or place == "new":
            check(name, how, place, problem, rows)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [2, 10, 33])
@pytest.mark.parametrize("name", NAMES)
def test_many_draws_of_ordinary_rows(name, size, dtype):
    for seed in range(1, 9):
        problem = problem_of(size, dtype, seed)
        check(name, "last", "new", problem)


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_class(dtype):
    x = problem_of(1, dtype).x
    x = x[np.isfinite(x)][:, None]
    np.testing.assert_array_equal(fastsoftmax.softmax(x, axis=1), 1)
    np.testing.assert_array_equal(fastsoftmax.log_softmax(x, axis=1), 0)
    np.testing.assert_array_equal(fastsoftmax.logsumexp(x, axis=1), x[:, 0])


def exact_losses(problem, target, dtype):
    """Losses and slopes by the oracle, each with the error granted: those of −log_softmax and softmax.

    A slope of the target is −Σ pⱼ over the other classes, relative to which it errs as they do.
    """
    n, every = len(target), np.arange(len(target))
    p, more_p = problem.result["softmax"]
    loss, more_loss = (-part[every, target] for part in problem.result["log_softmax"])
    slopes, more_slopes = p.copy(), more_p.copy()
    granted = problem.granted["softmax"].copy()
    for i in range(n):
        others = np.arange(p.shape[1]) != target[i]
        with mpmath.workdps(naive.DIGITS):
            beside = -mpmath.fsum(mpmath.mpf(v) for part in (p, more_p) for v in part[i, others])
            (slopes[i, target[i]],), (more_slopes[i, target[i]],) = in_two_parts([beside])
        granted[i, target[i]] = rounding_of(slopes[i, target[i]], p.shape[1], dtype)
    return (loss, more_loss, problem.granted["log_softmax"][every, target]), (slopes, more_slopes, granted)


@pytest.mark.parametrize("which", ["confident", "any"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_losses_and_slopes_of_confident_and_other_rows(size, dtype, which):
    # confident: the loss log(1 + tiny) and the slope p − 1 keep their digits
    problem = problem_of(size, dtype)
    ordinary = np.isfinite(problem.x.max(axis=1))
    if which == "confident":
        target = np.argmax(problem.x, axis=1)
    else:
        target = np.random.default_rng(2).integers(size, size=N_ROWS)
    problem = Problem(
        problem.kinds[ordinary],
        problem.x[ordinary],
        {name: parts[:, ordinary] for name, parts in problem.result.items()},
        {name: error[ordinary] for name, error in problem.granted.items()},
    )
    x, all_targets, target = problem_of(size, dtype).x, target, target[ordinary]
    each, mean = (
        fastsoftmax.cross_entropy_value_and_grad(x, all_targets, reduction=reduction)
        for reduction in ("none", "mean")
    )
    losses = fastsoftmax.cross_entropy(x, all_targets, reduction="none")
    assert losses.dtype == each[1].dtype == mean[1].dtype == dtype
    assert not np.isfinite(losses[~ordinary]).any()
    of_losses, of_slopes = exact_losses(problem, target, dtype)
    assert_within(losses[ordinary], *of_losses, problem.kinds)
    np.testing.assert_array_equal(each[0], losses)
    assert_within(each[1][ordinary], *of_slopes, problem.kinds)
    slopes, more, granted = (part / N_ROWS for part in of_slopes)
    granted += rounding_of(slopes, 0, dtype)  # 1/n rounds, and the product with it
    assert_within(mean[1][ordinary], slopes, more, granted, problem.kinds)


def at_address(a, offset):
    """A copy of an array that begins so many bytes after a multiple of 64."""
    buffer = np.zeros(a.nbytes + 128, dtype=np.uint8)
    start = -buffer.ctypes.data % 64 + offset
    copy = buffer[start : start + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [3, 33, 129, 256, 1000, 4099])
@pytest.mark.parametrize("name", [*NAMES, "cross_entropy_value_and_grad"])
def test_the_same_bits_wherever_the_logits_lie(name, size, dtype):
    # An allocator gives 16 bytes more or less from call to call: a program's results must not follow that.
    rows = 3 * np.random.default_rng(size).normal(size=(17, size))
    x, target = np.tile(rows, (4, 1)).astype(dtype), np.zeros(4 * 17, dtype=int)  # each row at four addresses
    function = getattr(fastsoftmax, name)
    options = {"target": target, "reduction": "none"} if name.startswith("cross") else {"axis": 1}
    results = [as_tuple(function(at_address(x, offset), **options)) for offset in range(0, 64, 16)]
    for result in results:
        for ours, first in zip(result, results[0]):
            np.testing.assert_array_equal(ours, first)
            np.testing.assert_array_equal(ours, np.concatenate(4 * [ours[:17]]))


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("weights", ["none", "sample", "class"])
@pytest.mark.parametrize("n", [10_007, 100_003])
@pytest.mark.parametrize("size", [3, 33])
def test_sums_over_many_rows_keep_their_digits(size, n, weights):
    # Equal terms are the worst for a running sum: 0.1 a hundred thousand times drifts by thousands of eps.
    # NumPy sums in pairs, within log2(n)/2 eps: twice that, and 4 eps.
    options = {}
    if weights == "sample":
        options["sample_weight"] = np.full(n, 0.1)
    elif weights == "class":
        options["class_weight"] = np.full(size, 0.1)
    z, y = np.zeros((n, size)), np.zeros(n, dtype=int)
    granted = (np.log2(n) + 4) * float(np.finfo(float).eps)
    total = fastsoftmax.cross_entropy(z, y, reduction="sum", **options)
    assert total == pytest.approx((0.1 if options else 1.0) * n * math.log(size), rel=granted)
    mean, slopes = fastsoftmax.cross_entropy_value_and_grad(z, y, **options)
    assert mean == pytest.approx(math.log(size), rel=granted)
    np.testing.assert_allclose(slopes[::999, 1], 1 / (n * size), rtol=granted)


def test_the_oracle_here_is_the_naive_one():
    row = 3 * np.random.default_rng(5).normal(size=17)
    for name in NAMES:
        exact = getattr(naive, f"{name}_exact")(row)
        np.testing.assert_array_equal(getattr(exact_row(row), name)[0], np.atleast_1d(exact))
