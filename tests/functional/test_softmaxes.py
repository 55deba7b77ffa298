"""Law: softmax, log_softmax and logsumexp are SciPy's, in values, shapes, dtypes and special cases."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fastsoftmax
from tests import naive
from tests.tolerance import assert_as_accurate, eps_of

NAMES = ["softmax", "log_softmax", "logsumexp"]
FLOATS = [np.float32, np.float64]
CASES = [  # shape, axes: odd sizes, one on each side of a register's width, axes in front, inside and last
    ((), [None, ()]),
    ((1,), [None, 0]),
    ((17,), [None, 0, -1, (0,)]),
    ((5, 33), [None, 0, 1, -1, -2, (0, 1), (1, 0)]),
    ((257, 3), [0, 1]),
    ((3, 5, 7), [None, 0, 1, 2, -2, (0, 1), (0, 2), (-1, 0), (0, 1, 2)]),
    ((2, 3, 4, 5), [None, 0, 1, 2, 3, (1, 3), (0, 2, 3), (3, 1)]),
    ((1, 9, 1), [0, 1, 2, (0, 2)]),
]
SHAPE_AXIS = [(shape, axis) for shape, axes in CASES for axis in axes]


def draw(shape, dtype=np.float64, spread=3.0, seed=0):
    return (spread * np.random.default_rng(seed).normal(size=shape)).astype(dtype)


def same_as_scipy(name, x, /, dtype=None, **options):
    """Both results agree to a few eps in value, and wholly in shape and dtype."""
    with np.errstate(all="ignore"):
        ours = getattr(fastsoftmax, name)(x, **options)
        theirs = getattr(scipy.special, name)(x, **options)
    for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (ours, theirs)), strict=True):
        assert np.shape(a) == np.shape(b)
        assert a.dtype == (b.dtype if dtype is None else dtype)
        assert isinstance(a, np.ndarray) == isinstance(b, np.ndarray)
        # each side sums up to a few hundred terms: 16 eps of the result, or of 1 where a logarithm nears 0
        tol = 16 * eps_of(a.real.dtype)
        np.testing.assert_allclose(a, b, rtol=tol, atol=0 if name == "softmax" else tol)
    return ours


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "axis"), SHAPE_AXIS)
@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_axes(name, shape, axis, dtype):
    if axis == () and name != "logsumexp":
        axis = None
    same_as_scipy(name, draw(shape, dtype), axis=axis)


@pytest.mark.parametrize(("shape", "axis"), [((5, 33), 1), ((3, 5, 7), (0, 2)), ((17,), None)])
def test_logsumexp_keepdims(shape, axis):
    same_as_scipy("logsumexp", draw(shape), axis=axis, keepdims=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [np.float16, np.longdouble, np.complex64, np.complex128, object])
def test_dtypes_without_conversion(name, kind):
    x = draw((5, 7)).astype(kind)
    if kind is object:
        with pytest.raises(TypeError):  # as in SciPy
            getattr(scipy.special, name)(x, axis=1)
        with pytest.raises(TypeError):
            getattr(fastsoftmax, name)(x, axis=1)
        return
    if np.issubdtype(kind, np.complexfloating) and name != "logsumexp":
        x = x + 1j * draw((5, 7), seed=1).astype(x.real.dtype)
    same_as_scipy(name, x, axis=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [bool, np.int8, np.uint8, np.int16, np.uint32, np.int64])
def test_integers_and_booleans_are_taken_as_double(name, kind):
    x = (draw((5, 7), spread=20) > 0).astype(kind) * (1 if kind is bool else 100)
    ours = getattr(fastsoftmax, name)(x, axis=1)
    assert ours.dtype == np.float64
    np.testing.assert_array_equal(ours, getattr(fastsoftmax, name)(x.astype(np.float64), axis=1))


def test_half_is_computed_in_single():
    # the sum of 5003 equal terms does not fit the 11 bits of a half
    x = np.zeros(5003, dtype=np.float16)
    assert fastsoftmax.logsumexp(x) == np.float16(np.log(5003))
    assert fastsoftmax.log_softmax(x)[7] == np.float16(-np.log(5003))
    assert fastsoftmax.softmax(x)[7] == np.float16(1 / 5003)


@pytest.mark.parametrize("dtype", [np.float16, *FLOATS])
@pytest.mark.parametrize("name", NAMES)
def test_strides_do_not_matter_and_nothing_is_written(name, dtype):
    base = draw((13, 9, 22), dtype)
    base.flags.writeable = False
    function = getattr(fastsoftmax, name)
    views = [
        base[::2],
        base[:, ::-1],
        base[..., ::3],
        base.transpose(2, 0, 1),
        base.swapaxes(0, 2)[::-1, 1::2],
    ]
    views += [np.asfortranarray(base), np.broadcast_to(base[:1], (5, 9, 22))]
    for view in views:
        for axis in (0, 1, 2, (0, 2)):
            expected = function(np.ascontiguousarray(view), axis=axis)
            # another order of adding the same terms is allowed
            tol = 4 * eps_of(dtype)
            np.testing.assert_allclose(function(view, axis=axis), expected, rtol=tol, atol=tol)


@pytest.mark.parametrize("name", NAMES)
def test_unaligned_and_byteswapped_input(name):
    x = draw((7, 11))
    packed = np.zeros(7 * 11 * 8 + 1, dtype=np.uint8)
    unaligned = packed[1:].view(np.float64).reshape(7, 11)
    unaligned[:] = x
    expected = getattr(fastsoftmax, name)(x, axis=1)
    for array in (unaligned, x.astype(x.dtype.newbyteorder())):
        np.testing.assert_allclose(getattr(fastsoftmax, name)(array, axis=1), expected, rtol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_array_likes(name):
    same_as_scipy(name, [[1.0, 2.0, 3.5], [0.0, -1.0, 4.0]], axis=1)
    same_as_scipy(name, [1.0, 1000.0])
    np.testing.assert_allclose(getattr(fastsoftmax, name)([1000, 1]), getattr(scipy.special, name)([1000, 1]))
    np.testing.assert_allclose(getattr(fastsoftmax, name)(3), getattr(scipy.special, name)(3))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_out(name, axis, dtype):
    function = getattr(fastsoftmax, name)
    x = draw((6, 37), dtype)
    expected = function(x, axis=axis)
    close = partial(np.testing.assert_allclose, rtol=8 * eps_of(dtype), atol=8 * eps_of(dtype))
    out = np.full_like(x, np.nan)
    assert function(x, axis=axis, out=out) is out
    close(out, expected)
    strided = np.full((12, 74), 7, dtype=dtype)
    view = strided[::2, ::2]
    assert function(x, axis=axis, out=view) is view
    close(view, expected)
    assert np.all(strided[1::2] == 7)
    assert np.all(strided[:, 1::2] == 7), "something was written between the strides"
    place = x.copy()
    assert function(place, axis=axis, out=place) is place
    close(place, expected)
    turned = np.asfortranarray(x)
    function(turned, axis=axis, out=turned)
    close(turned, expected)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_out_that_overlaps_the_input(name, axis):
    base = draw((8, 9))
    expected = getattr(fastsoftmax, name)(base[:-1].copy(), axis=axis)
    getattr(fastsoftmax, name)(base[:-1], axis=axis, out=base[1:])
    np.testing.assert_allclose(base[1:], expected, rtol=1e-14)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize(
    ("out", "error"),
    [(np.empty((5, 6)), ValueError), (np.empty(35), ValueError), ([0.0], TypeError)],
    ids=["shape", "dimensions", "kind"],
)
def test_wrong_out_is_named(name, out, error):
    with pytest.raises(error, match="out"):
        getattr(fastsoftmax, name)(draw((5, 7)), axis=1, out=out)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_read_only_out_is_refused(name):
    out = np.empty((5, 7))
    out.flags.writeable = False
    with pytest.raises(ValueError, match=r"out|read-only"):
        getattr(fastsoftmax, name)(draw((5, 7)), axis=1, out=out)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 2, 3, 8, 9, 33, 1001])
@pytest.mark.parametrize("name", NAMES)
def test_special_values(name, size, dtype):
    rows = []
    for fill in (0.0, -np.inf, np.inf, 1e4, -1e4, np.finfo(dtype).max, np.finfo(dtype).min):
        for put in (fill, np.nan, np.inf, -np.inf, 1e4, -1e4):
            row = np.full(size, fill)
            row[size // 2] = put
            rows.append(row)
    x = np.array(rows, dtype=dtype)
    with np.errstate(all="ignore"):
        theirs = getattr(scipy.special, name)(x, axis=1)
        for axis, ours in ((1, getattr(fastsoftmax, name)(x, axis=1)), (0, None)):
            ours = getattr(fastsoftmax, name)(x.T, axis=0) if ours is None else ours
            ours = ours.T if axis == 0 and name != "logsumexp" else ours
            tol = 16 * eps_of(dtype)
            np.testing.assert_allclose(ours, theirs, rtol=tol, atol=tol, err_msg=f"along axis {axis}")


@pytest.mark.parametrize("name", NAMES)
def test_a_finite_row_warns_of_nothing(name):
    # warnings are errors here: overflow of exp, log of 0 and inf - inf must all be avoided
    x = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [700.0, 710.0, -745.0]])
    for dtype in FLOATS:
        assert np.all(np.isfinite(getattr(fastsoftmax, name)(x.astype(dtype), axis=1)))


@pytest.mark.parametrize(
    ("shape", "axis"), [((0,), None), ((0, 3), 1), ((3, 0), 0), ((0, 0), 1), ((2, 0, 3), 1)]
)
@pytest.mark.parametrize("name", NAMES)
def test_empty_arrays(name, shape, axis):
    x = np.empty(shape)
    try:
        theirs = getattr(scipy.special, name)(x, axis=axis)
    except ValueError:
        with pytest.raises(ValueError):
            getattr(fastsoftmax, name)(x, axis=axis)
    else:
        ours = getattr(fastsoftmax, name)(x, axis=axis)
        np.testing.assert_array_equal(ours, theirs)
        assert np.shape(ours) == np.shape(theirs)


@pytest.mark.parametrize("axis", [2, -3, (0, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_axis_out_of_range(name, axis):
    with pytest.raises(np.exceptions.AxisError):
        getattr(fastsoftmax, name)(draw((5, 7)), axis=axis)


@pytest.mark.parametrize("name", NAMES)
def test_axis_twice(name):
    with pytest.raises(ValueError):
        getattr(fastsoftmax, name)(draw((5, 7)), axis=(0, 0))


@pytest.mark.parametrize("return_sign", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("kind", ["positive", "signed", "zeros", "row", "column", "scalar", "integers"])
def test_logsumexp_with_factors(kind, axis, return_sign):
    a = draw((5, 17))
    rng = np.random.default_rng(3)
    b = {
        "positive": rng.uniform(0.1, 2, size=(5, 17)),
        "signed": rng.normal(size=(5, 17)),
        "zeros": np.where(rng.random((5, 17)) < 0.5, 0.0, 1.0),
        "row": rng.uniform(0.1, 2, size=17),
        "column": rng.normal(size=(5, 1)),
        "scalar": 2.5,
        "integers": rng.integers(-3, 4, size=(5, 17)),
    }[kind]
    with np.errstate(all="ignore"):
        ours = fastsoftmax.logsumexp(a, axis=axis, b=b, return_sign=return_sign)
        theirs = scipy.special.logsumexp(a, axis=axis, b=b, return_sign=return_sign)
    # terms of both signs cancel: the error is in eps of the largest term
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_logsumexp_signs_of_special_values():
    for a in ([np.inf], [-np.inf], [np.nan], [np.inf, -np.inf], [np.inf, np.inf], [1.0, 1.0]):
        same_as_scipy("logsumexp", np.array(a), return_sign=True)
        with np.errstate(all="ignore"):
            for b in (np.ones(len(a)), -np.ones(len(a)), np.zeros(len(a))):
                ours = fastsoftmax.logsumexp(np.array(a), b=b, return_sign=True)
                theirs = scipy.special.logsumexp(np.array(a), b=b, return_sign=True)
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 3, 17, 1000, 5003])
@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
def test_accuracy(size, spread, dtype):
    x = draw(size, dtype, spread, seed=size)
    for name in NAMES:
        exact = np.array(getattr(naive, f"{name}_exact")(x))
        plain = np.asarray(getattr(scipy.special, name)(x))
        ours = np.asarray(getattr(fastsoftmax, name)(x))
        if name == "softmax":  # each probability to its own size, where it is not flushed to zero
            keep = exact >= np.finfo(dtype).tiny
            ours, plain, exact = ours[keep] / exact[keep], plain[keep] / exact[keep], np.ones(keep.sum())
        # the shift by the maximum and the logarithm round at the size of the largest logit
        scale = None if name == "softmax" else 1 + np.max(np.abs(x))
        assert_as_accurate(ours, plain, exact, dtype=dtype, scale=scale)


def test_long_rows_in_single_do_not_lose_digits():
    # a running float32 sum of 131072 terms near 1 is off by 7.6e-6; summed in blocks by 1.1e-6 (numba.md)
    x = draw(131_072, np.float32, spread=0.01)
    exact = scipy.special.logsumexp(x.astype(np.float64))
    assert abs(float(fastsoftmax.logsumexp(x)) - exact) <= 2 * eps_of(np.float32) * exact
    total = fastsoftmax.softmax(x).sum(dtype=np.float64)
    assert abs(total - 1) <= 8 * eps_of(np.float32)


ROWS = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=19),
    elements=st.floats(-1e4, 1e4),
)


@given(ROWS)
def test_probabilities_sum_to_one(x):
    p = fastsoftmax.softmax(x, axis=1)
    assert np.all((p >= 0) & (p <= 1))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    rows = np.arange(len(x))
    np.testing.assert_array_equal(p[rows, np.argmax(x, axis=1)], p.max(axis=1))


@given(ROWS, st.integers(-1000, 1000))
def test_a_shift_of_the_row_changes_only_logsumexp(x, shift):
    x = np.round(x)  # whole numbers: the shift itself rounds nothing
    np.testing.assert_array_equal(fastsoftmax.softmax(x + shift, axis=1), fastsoftmax.softmax(x, axis=1))
    lse = fastsoftmax.logsumexp(x, axis=1)
    np.testing.assert_allclose(fastsoftmax.logsumexp(x + shift, axis=1), lse + shift, rtol=0, atol=1e-11)


@given(ROWS)
def test_the_three_fit_together(x):
    logp = fastsoftmax.log_softmax(x, axis=1)
    lse = fastsoftmax.logsumexp(x, axis=1, keepdims=True)
    np.testing.assert_allclose(logp, x - lse, rtol=0, atol=1e-11)  # numbers of 1e4: 1e4 · 4 eps
    np.testing.assert_allclose(np.exp(logp), fastsoftmax.softmax(x, axis=1), rtol=1e-11, atol=1e-300)
