"""Law: columns too long for a cache keep the bound, SciPy's special cases, and their bits everywhere.

Such columns are summed a block of rows at a time, with maxima that rise, in ranges of rows that are merged.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.special

import fastsoftmax
from fastsoftmax.kernels.cpu import columns, long_columns
from fastsoftmax.kernels.cpu.sizes import COLUMN_PANEL
from tests.functional.test_softmaxes_exactness import (
    N_ROWS,
    assert_within,
    at_address,
    bounds_of,
    check,
    exact_row,
    problem_of,
    rounding_of,
)

NAMES = ["softmax", "log_softmax", "logsumexp"]
FLOATS = [np.float32, np.float64]
SIZE = 4099  # the shortest columns of several ranges, and of a last block that is not whole
WIDTH = COLUMN_PANEL + 77  # two panels, and registers that are not full


def places_of(name):
    return ["new"] if name == "logsumexp" else ["new", "out", "in place"]


def columns_of(n_columns, dtype, n_rows=SIZE):
    return (3 * np.random.default_rng(n_columns).normal(size=(n_rows, n_columns))).astype(dtype)


@pytest.fixture
def tall_calls(monkeypatch):
    """Count what takes the way that is tested here."""
    calls = []

    def noted(*arguments):
        calls.append(arguments)
        return long_columns.tall_columns(*arguments)

    monkeypatch.setattr(sys.modules[columns.__module__], "tall_columns", noted)
    return calls


@pytest.mark.parametrize("past_cache", [False, True])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_all_kinds_of_columns(name, dtype, past_cache, monkeypatch, tall_calls):
    monkeypatch.setattr(long_columns, "PAST_CACHE_BYTES", 0 if past_cache else np.inf)
    problem = problem_of(SIZE, dtype)
    rows = np.random.default_rng(1).integers(N_ROWS, size=131)
    for place in places_of(name):
        check(name, "first", place, problem, rows)
    assert len(tall_calls) == len(places_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_f_ordered_rows(name, tall_calls):
    problem = problem_of(SIZE, np.float32)
    for place in places_of(name):
        check(name, "fortran", place, problem, np.arange(67) % N_ROWS)
    assert len(tall_calls) == len(places_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_an_axis_inside_and_slices(name, tall_calls):
    x, function = columns_of(67, np.float32), getattr(fastsoftmax, name)
    expected = function(x, axis=0)
    blocks = np.array([x, x[:, ::-1], x])
    ours = function(blocks, axis=1)
    assert len(tall_calls) == 1 + len(blocks)
    for block, same in zip(ours, (expected, expected[..., ::-1], expected)):
        np.testing.assert_array_equal(block, same)
    sliced = np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3]
    if name != "logsumexp":
        assert function(sliced, axis=0, out=sliced) is sliced
    ours = sliced if name != "logsumexp" else function(sliced, axis=0)
    np.testing.assert_allclose(ours, expected, rtol=6e-5)  # SIZE eps / 8, another order of adding


def rising(kind, dtype):
    """A column whose maximum comes at a particular place, the others far below it."""
    x = np.sort(np.random.default_rng(7).normal(size=SIZE))
    if kind == "in every row":
        return (30 * x).astype(dtype)
    if kind == "in no row":
        return (30 * x[::-1]).astype(dtype)
    x -= 40
    x[{"first": 0, "end of a block": 31, "begin of a block": 32, "last": -1}[kind]] = 5.0
    return x.astype(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "kind", ["in every row", "in no row", "first", "end of a block", "begin of a block", "last"]
)
def test_maxima_that_rise_early_and_late(kind, dtype):
    column = rising(kind, dtype)
    exact = exact_row(column)
    granted = bounds_of(column, exact)
    x = np.tile(column[:, None], 67)
    for name in NAMES:
        ours = np.atleast_2d(getattr(fastsoftmax, name)(x, axis=0)).T  # (67, …)
        first, second = getattr(exact, name)
        assert_within(ours, *(np.tile(a, (67, 1)) for a in (first, second, granted[name])), [kind] * 67)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_special_values_wherever_they_stand(name, dtype):
    least, most = np.finfo(dtype).min, np.finfo(dtype).max
    numbers = [np.nan, np.inf, -np.inf, 0.0, 1e4, least, most]
    filled = []
    for fill in (-np.inf, np.inf, 0.0, least, most):
        for number in numbers:
            for at in (0, 31, 32, 300, SIZE - 1):
                column = np.full(SIZE, fill)
                column[at] = number
                filled.append(column)
    for early, late in ((np.nan, np.inf), (np.inf, np.nan), (np.inf, np.inf), (-np.inf, np.inf)):
        column = columns_of(1, np.float64)[:, 0]
        column[5], column[4000] = early, late
        filled.append(column)
    x = np.array(filled, dtype=dtype).T.copy()
    with np.errstate(all="ignore"):
        theirs = getattr(scipy.special, name)(x.astype(np.float64), axis=0)
        ours = getattr(fastsoftmax, name)(x, axis=0)
        theirs = theirs.astype(dtype)
    tol = SIZE / 8 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(ours, theirs, rtol=tol, atol=tol)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_in_any_number_of_threads(name, dtype):
    x = columns_of(130, dtype)
    results = []
    for executor in ("inline", "threads", "auto"):
        fastsoftmax.set_executor(executor)
        try:
            for n_threads in (1, 2, 3):
                out = np.empty(x.shape[1:] if name == "logsumexp" else x.shape, dtype)
                columns(name, x, out, n_threads)
                results.append(out)
        finally:
            fastsoftmax.set_executor("auto")
    for result in results:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_in_any_column(name, dtype):
    seven = columns_of(7, dtype)
    result = getattr(fastsoftmax, name)(np.tile(seven, WIDTH // 7 + 1)[:, :WIDTH].copy(), axis=0)
    for first in range(7):
        same = result[..., first::7]
        np.testing.assert_array_equal(same, np.broadcast_to(same[..., :1], same.shape))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n_columns", [64, 67, 100])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_the_same_bits_wherever_it_is_written(name, n_columns, dtype, monkeypatch):
    x = columns_of(n_columns, dtype)
    function = getattr(fastsoftmax, name)
    expected = function(x, axis=0)
    in_place = x.copy()
    np.testing.assert_array_equal(function(in_place, axis=0, out=in_place), expected)
    for past_cache in (0, np.inf):
        monkeypatch.setattr(long_columns, "PAST_CACHE_BYTES", past_cache)
        for offset in (0, 8, 16, 40):
            buffer = at_address(np.full((SIZE + 2, n_columns), 7, dtype), offset)
            out = buffer[1:-1]
            np.testing.assert_array_equal(function(x, axis=0, out=out), expected)
            assert np.all(buffer[[0, -1]] == 7), "something was written outside"


@pytest.mark.parametrize("name", NAMES)
def test_so_large_that_narrow_stripes_do_not_do(name, tall_calls):
    x = columns_of(2100, np.float32, n_rows=1025)
    ours = getattr(fastsoftmax, name)(x, axis=0)
    theirs = getattr(scipy.special, name)(x.astype(np.float64), axis=0)
    assert len(tall_calls) == 1
    assert np.all(np.abs(ours - theirs) <= rounding_of(np.abs(theirs), 1025, np.float32))
