"""Law: float16 to float32 and back gives the same bits with an instruction for it and without one."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

from fastsoftmax.simd import half_precision
from fastsoftmax.simd.half_precision import _conversion, of_half_by_bits, to_half_by_bits

HALVES = np.arange(2**16, dtype=np.uint16)


@intrinsic
def widen_by_bits(typingctx, bits, out, later):
    return _conversion(of_half_by_bits, types.uint16, types.float32)(typingctx, bits, out, later)


@intrinsic
def narrow_by_bits(typingctx, x, out):
    return _conversion(to_half_by_bits, types.float32, types.uint16)(typingctx, x, out)


@numba.njit
def widened_by_bits(bits, out):
    widen_by_bits(bits, out, bits)


@numba.njit
def widened(bits, out):
    half_precision.widen_half(bits, out, bits)


@numba.njit
def narrowed_by_bits(x, out):
    narrow_by_bits(x, out)


@numba.njit
def narrowed(x, out):
    half_precision.narrow_half(x, out)


def widen(function, bits):
    out = np.empty(bits.size, np.float32)
    function(bits, out)
    return out


def narrow(function, x):
    out = np.empty(x.size, np.uint16)
    function(x, out)
    return out


def hard_floats():
    """Floats beside each half and beside each point in the middle of two, and bits at random."""
    halves = HALVES.view(np.float16).astype(np.float32)
    finite = np.sort(halves[np.isfinite(halves)])
    middles = (finite[1:] + finite[:-1]) / 2  # exact: one bit more than a half has
    # from 65520 on, the middle of the largest number and the next that there would be, it is infinity
    ends = np.array([65504, 65519.996, 65520, 65536, 1e38, np.inf, 2.0**-25, 2.0**-26, 2.0**-149], np.float32)
    near = np.concatenate([finite, middles, ends, -ends])
    beside = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
    random = np.random.default_rng(0).integers(0, 2**32, 300_007, dtype=np.uint32).view(np.float32)
    return np.concatenate([near, *beside, random])


@pytest.mark.parametrize("function", [widened_by_bits, widened])
def test_every_half(function):
    wide = widen(function, HALVES)
    nan = np.isnan(HALVES.view(np.float16))
    assert np.array_equal(
        wide[~nan].view(np.uint32), HALVES.view(np.float16)[~nan].astype(np.float32).view("u4")
    )
    # NaN keeps its sign and payload, and is quiet
    bits = HALVES[nan].astype(np.uint32)
    quiet = (bits & 0x8000) << 16 | 0x7FC00000 | (bits & 0x3FF) << 13
    assert np.array_equal(wide[nan].view(np.uint32), quiet)


@pytest.mark.parametrize("function", [narrowed_by_bits, narrowed])
def test_hard_floats(function):
    x = hard_floats()
    found = narrow(function, x)
    nan = np.isnan(x)
    with np.errstate(over="ignore", under="ignore"):
        assert np.array_equal(found[~nan], x[~nan].astype(np.float16).view(np.uint16))
    bits = x[nan].view(np.uint32)
    assert nan.sum() > 1000
    assert np.array_equal(found[nan], bits >> 16 & 0x8000 | 0x7E00 | bits >> 13 & 0x3FF)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 40])
def test_nothing_is_written_beyond_the_end(size):
    bits = HALVES[0x3C00 : 0x3C00 + size]
    out = np.full(size + 1, 7, np.float32)
    widened_by_bits(bits, out)
    assert np.array_equal(out[:size], bits.view(np.float16).astype(np.float32))
    back = np.full(size + 1, 7, np.uint16)
    narrowed_by_bits(out[:size], back)
    assert np.array_equal(back[:size], bits)
    assert out[size] == back[size] == 7
