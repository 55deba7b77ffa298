"""Law: float16 and bfloat16 logits are computed with in float32, and the result is rounded once.

So a narrow result is off from the float32 one by half a unit in its own last place, and by 8 eps of float32
(relative; of the largest slope, where a slope is a difference): the kernels may add in another order.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastsoftmax
from tests.tolerance import eps_of

N_ROWS = 37
SIZES = [1, 2, 3, 10, 17, 33, 130, 1001]
NAMES = ["softmax", "log_softmax", "logsumexp"]
FORMATS = {"float16": (11, -14), "bfloat16": (8, -126)}  # bits of the significand, least exponent


@pytest.fixture(params=FORMATS)
def narrow(request):
    """A dtype of 16 bits; bfloat16 is that of ml_dtypes."""
    if request.param == "float16":
        return np.dtype(np.float16)
    return np.dtype(pytest.importorskip("ml_dtypes").bfloat16)


def half_unit(values, dtype):
    """Half the distance between the neighbours of some float64 values in a narrow format."""
    bits, least = FORMATS[dtype.name]
    exponent = np.maximum(np.frexp(np.where(np.isfinite(values), values, 1.0))[1] - 1, least)
    return np.ldexp(0.5, exponent - bits + 1)


def assert_rounded(narrow_result, wide, dtype, *, scale=None):
    """Fail unless a narrow result is the float32 one, rounded once."""
    assert narrow_result.dtype == dtype
    assert np.shape(narrow_result) == np.shape(wide)
    with np.errstate(all="ignore"):
        cast = np.asarray(wide).astype(dtype).astype(np.float64)
        ours, wide = np.asarray(narrow_result).astype(np.float64), np.asarray(wide, dtype=np.float64)
        same = (ours == cast) | (np.isnan(ours) & np.isnan(cast))
        slack = 8 * eps_of(np.float32) * (np.abs(wide) if scale is None else scale)
        close = np.abs(ours - wide) <= half_unit(wide, dtype) + slack
    bad = np.argwhere(~same & ~(close & np.isfinite(ours)))
    if len(bad):
        at = tuple(int(i) for i in bad[0])
        raise AssertionError(f"{ours[at]} at {at}, not {cast[at]} ({wide[at]} rounded); {len(bad)} in all")


def draw(size, dtype, n=N_ROWS, special=True):
    """Logits of all sorts: ordinary, confident, masked, tiny, huge, subnormal, infinite, NaN."""
    rng = np.random.default_rng([size, n])
    x = 3 * rng.normal(size=(n, size))
    everywhere = np.arange(n)
    if special and n > 12:
        x[1] = -40 - np.abs(x[1])
        x[1, rng.integers(size)] = 0
        x[2] = np.where(rng.random(size) < 0.6, -np.inf, x[2])
        x[3] *= 1e-4
        x[4] = 6e4 * np.sign(x[4])
        x[5] = np.round(x[5]) * 2.0**-24
        x[6] = -np.inf
        x[7, size // 2] = np.inf
        x[8, size // 2] = np.nan
        x[9] = 2.5
        x[10] *= 10
    return x[rng.permutation(everywhere)].astype(dtype)


def quietly(function, *args, **kwargs):
    with np.errstate(all="ignore"):  # a row of infinities, and 16 bits that overflow, may warn as in SciPy
        return function(*args, **kwargs)


@pytest.mark.parametrize("axis", [0, 1, None])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_rounded_once(name, size, axis, narrow):
    function = getattr(fastsoftmax, name)
    x = draw(size, narrow, special=axis is not None)
    x = x.T.copy() if axis == 0 else x
    before = x.copy()
    wide = quietly(function, x.astype(np.float32), axis=axis)
    assert_rounded(quietly(function, x, axis=axis), wide, narrow)
    assert x.tobytes() == before.tobytes()
    if name == "logsumexp":
        assert_rounded(
            quietly(function, x, axis=axis, keepdims=True),
            quietly(function, x.astype(np.float32), axis=axis, keepdims=True),
            narrow,
        )
        return
    out = np.zeros_like(x)
    assert quietly(function, x, axis=axis, out=out) is out
    assert_rounded(out, wide, narrow)
    assert quietly(function, x, axis=axis, out=x) is x
    assert_rounded(x, wide, narrow)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("size", [3, 10, 33])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_rows(name, size, n, narrow):
    function, x = getattr(fastsoftmax, name), draw(size, narrow, n)
    assert_rounded(quietly(function, x, axis=1), quietly(function, x.astype(np.float32), axis=1), narrow)


@pytest.mark.parametrize("size", [3, 33, 1001])
@pytest.mark.parametrize("name", NAMES)
def test_as_many_rows_as_are_shared_among_threads(name, size, narrow):
    function, x = getattr(fastsoftmax, name), draw(size, narrow, 700_003 // size)
    wide = quietly(function, x.astype(np.float32), axis=1)
    assert_rounded(quietly(function, x, axis=1), wide, narrow)
    assert_rounded(quietly(function, x.T.copy(), axis=0), wide.T if name != "logsumexp" else wide, narrow)
    if name != "logsumexp":
        quietly(function, x, axis=1, out=x)
        assert_rounded(x, wide, narrow)


@pytest.mark.parametrize("name", NAMES)
def test_strides_and_shapes(name, narrow):
    function = getattr(fastsoftmax, name)
    base = draw(66, narrow, 18, special=False).reshape(6, 3, 11, 6)
    base.flags.writeable = False
    for view in (base[::2], base[..., ::-1], base.transpose(3, 1, 0, 2), np.asfortranarray(base)):
        for axis in (0, 1, -1, (0, 2), None):
            assert_rounded(function(view, axis=axis), function(view.astype(np.float32), axis=axis), narrow)
    for row in (base[0, 0, :, 0], base[0, 0, 0, :1], base[0, 0, 0, 0], base[0, 0, 0, 0, ...]):
        assert_rounded(function(row), function(row.astype(np.float32)), narrow)
    none = base[:0]
    assert_rounded(function(none, axis=2), function(none.astype(np.float32), axis=2), narrow)


def draw_target(kind, size, dtype, n=N_ROWS):
    rng = np.random.default_rng([1, size, n])
    if kind != "index":
        soft = rng.dirichlet(np.full(size, 0.7), size=n)
        return soft.astype(dtype if kind == "narrow soft" else np.float64)
    y = rng.integers(0, size, n)
    y[rng.random(n) < 0.2] = -100
    return y


OPTIONS = {
    "plain": {},
    "smoothed": {"label_smoothing": 0.1},
    "extras": {"label_smoothing": 0.1, "z_loss": 0.01, "softcap": 8.0},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", ["index", "soft", "narrow soft"])
@pytest.mark.parametrize("weights", ["", "class sample"])
@pytest.mark.parametrize("size", SIZES)
def test_cross_entropy(size, weights, kind, options, narrow):
    options = dict(OPTIONS[options])
    if weights:
        rng = np.random.default_rng(size)
        options["class_weight"] = rng.uniform(0.2, 3, size)
        options["sample_weight"] = rng.uniform(0.2, 3, N_ROWS)
    z, target = draw(size, narrow, special=False), draw_target(kind, size, narrow)
    wide, wide_target = z.astype(np.float32), target
    if kind == "narrow soft":
        wide_target = target.astype(np.float32)
    for reduction in ("mean", "sum", "none"):
        options["reduction"] = reduction
        expected, slopes = fastsoftmax.cross_entropy_value_and_grad(wide, wide_target, **options)
        value, grad = fastsoftmax.cross_entropy_value_and_grad(z, target, **options)
        alone = fastsoftmax.cross_entropy(z, target, **options)
        scale = np.max(np.abs(slopes))
        assert_rounded(grad, slopes, narrow, scale=scale)
        if reduction == "none":
            # a loss is a difference of logits: 8 eps of them
            largest = float(np.max(np.abs(wide)))
            assert_rounded(value, expected, narrow, scale=largest + np.abs(expected))
            np.testing.assert_array_equal(alone, value)
        else:  # sums are float64's, whatever the logits
            assert value == pytest.approx(expected, rel=8 * eps_of(np.float32))
            assert alone == value
        in_place = z.copy()
        again, same = fastsoftmax.cross_entropy_value_and_grad(in_place, target, out=in_place, **options)
        assert same is in_place
        np.testing.assert_array_equal(again, value)
        assert_rounded(same, slopes, narrow, scale=scale)


def test_confident_rows_keep_their_digits(narrow):
    # p − 1 in 16 bits would be off by 2^-12 or 2^-9: the slope is formed before it is rounded
    gap = np.array([[1.0], [4.0], [9.0], [11.0]])
    z = np.concatenate([np.zeros_like(gap), -gap, -gap, -gap], axis=1).astype(narrow)
    losses, grad = fastsoftmax.cross_entropy_value_and_grad(z, np.zeros(4, dtype=int), reduction="none")
    beside = 3 * np.exp(-gap[:, 0])
    # 8 eps of float32, relative, here as well: nothing cancels
    assert_rounded(losses, np.log1p(beside), narrow)
    assert_rounded(grad[:, 0], -beside / (1 + beside), narrow)
    assert_rounded(grad[:, 1], beside / 3 / (1 + beside), narrow)
    assert_rounded(fastsoftmax.log_softmax(z, axis=1)[:, 0], -np.log1p(beside), narrow)


def test_sums_do_not_run_in_sixteen_bits(narrow):
    # 5003 equal terms exceed the integers that either format holds
    for axis, shape in ((1, (2, 5003)), (0, (5003, 2))):
        x = np.zeros(shape, dtype=narrow)
        assert_rounded(fastsoftmax.logsumexp(x, axis=axis), np.full(2, np.log(5003)), narrow)
        assert_rounded(fastsoftmax.softmax(x, axis=axis), np.full(x.shape, 1 / 5003), narrow)
        assert_rounded(fastsoftmax.log_softmax(x, axis=axis), np.full(x.shape, -np.log(5003)), narrow)
    value = fastsoftmax.cross_entropy(np.zeros((70_001, 3), dtype=narrow), np.zeros(70_001, dtype=int))
    assert value == pytest.approx(np.log(3), rel=8 * eps_of(np.float32))


def test_a_wrong_out_is_named(narrow):
    z, other = draw(3, narrow, special=False), np.empty((N_ROWS, 3), dtype=np.float32)
    for call in (
        lambda: fastsoftmax.softmax(z, axis=1, out=other),
        lambda: fastsoftmax.cross_entropy_value_and_grad(z, np.zeros(N_ROWS, dtype=int), out=other),
    ):
        with pytest.raises(ValueError, match="out"):
            call()
