"""The few pieces that must come out as vector instructions: exp and the row maximum.

They are written so that LLVM turns a loop over them into whole-register code on any machine: no branch, no
call into a scalar math library, integer steps as bit operations of the width of the float.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from fastsoftmax.kernels.jit import jit

# Below these, e^x is smaller than the smallest normal number and is given as 0; above, it overflows.
LOWEST_FLOAT32 = np.float32(-87.336544)
HIGHEST_FLOAT32 = np.float32(88.722839)
LOWEST_FLOAT64 = np.float64(-708.39641853226408)
HIGHEST_FLOAT64 = np.float64(709.78271289338397)

# Adding 1.5 · 2^p (p bits of mantissa) rounds to the nearest integer and leaves it in the low bits.
MAGIC_FLOAT32 = np.float32(1.5 * 2**23)
MAGIC_FLOAT64 = np.float64(1.5 * 2**52)

# e^r = 1 + r + r² (c0 + c1 r + …): relative minimax fits on |r| ≤ ln 2 / 2 (Remez exchange in 50-digit
# arithmetic); they are off by 0.05 and 0.03 units in the last place.
EXP_FLOAT32 = tuple(
    np.float32(c)
    for c in (0.499999934321, 0.16666520399, 0.0416683907835, 0.00836874510894, 0.00138145401768)
)
EXP_FLOAT64 = tuple(
    np.float64(c)
    for c in (
        0.50000000000000106688,
        0.16666666666666411508,
        0.041666666666529728134,
        0.008333333333494977261,
        0.0013888888943759984011,
        0.00019841269505773806997,
        0.000024801492949617070769,
        2.7557586803847070697e-6,
        2.7630306255647857359e-7,
        2.5000018853083341953e-8,
    )
)


@intrinsic
def _times_power_of_two(typingctx, x, rounded):
    """X · 2ⁿ, where n sits in the low bits of the float `rounded`; x must lie in [½, 2)."""

    def codegen(context, builder, signature, arguments):
        bits, mantissa = (32, 23) if signature.return_type == types.float32 else (64, 52)
        integer = ir.IntType(bits)
        x, rounded = arguments
        exponent = builder.shl(builder.bitcast(rounded, integer), ir.Constant(integer, mantissa))
        scaled = builder.add(builder.bitcast(x, integer), exponent)
        return builder.bitcast(scaled, x.type)

    return x(x, rounded), codegen


@intrinsic
def maximum(typingctx, a, b):
    """Return the larger of two floats; NaN if either is (IEEE 754-2019 maximum).

    `max(a, b)` and `a if a > b else b` drop a NaN and do not vectorise as a reduction; this does.
    """

    def codegen(context, builder, signature, arguments):
        name = "llvm.maximum." + ("f32" if signature.return_type == types.float32 else "f64")
        kind = arguments[0].type
        function = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, arguments)

    return a(a, b), codegen


@jit(fastmath={"contract"})
def _exp_float32(x):
    # Clamped with a comparison that is false for NaN, so that NaN goes through the polynomial to the end.
    y = LOWEST_FLOAT32 if x < LOWEST_FLOAT32 else x
    y = HIGHEST_FLOAT32 if y > HIGHEST_FLOAT32 else y
    rounded = y * np.float32(1.4426950408889634) + MAGIC_FLOAT32
    n = rounded - MAGIC_FLOAT32
    r = y - n * np.float32(0.693359375)  # 9 bits of ln 2: the product is exact
    r = r - n * np.float32(-2.12194440e-4)
    p = EXP_FLOAT32[4]
    p = p * r + EXP_FLOAT32[3]
    p = p * r + EXP_FLOAT32[2]
    p = p * r + EXP_FLOAT32[1]
    p = p * r + EXP_FLOAT32[0]
    # 1 + r rounds; what it loses is added back with the small terms: 0.80 ulp instead of 1.02.
    one_r = np.float32(1.0) + r
    p = one_r + ((p * r) * r + (r - (one_r - np.float32(1.0))))
    value = _times_power_of_two(p, rounded)
    value = np.float32(0.0) if x < LOWEST_FLOAT32 else value
    value = np.float32(np.inf) if x > HIGHEST_FLOAT32 else value
    return value if x == x else x


@jit(fastmath={"contract"})
def _exp_float64(x):
    y: Any = LOWEST_FLOAT64 if x < LOWEST_FLOAT64 else x
    y = HIGHEST_FLOAT64 if y > HIGHEST_FLOAT64 else y
    rounded = y * np.float64(1.4426950408889634) + MAGIC_FLOAT64
    n = rounded - MAGIC_FLOAT64
    r = y - n * np.float64(0.693145751953125)  # 16 bits of ln 2
    r = r - n * np.float64(1.42860682030941723212e-6)
    p = EXP_FLOAT64[9]
    p = p * r + EXP_FLOAT64[8]
    p = p * r + EXP_FLOAT64[7]
    p = p * r + EXP_FLOAT64[6]
    p = p * r + EXP_FLOAT64[5]
    p = p * r + EXP_FLOAT64[4]
    p = p * r + EXP_FLOAT64[3]
    p = p * r + EXP_FLOAT64[2]
    p = p * r + EXP_FLOAT64[1]
    p = p * r + EXP_FLOAT64[0]
    one_r = 1.0 + r
    p = one_r + ((p * r) * r + (r - (one_r - 1.0)))
    value: Any = _times_power_of_two(p, rounded)
    value = 0.0 if x < LOWEST_FLOAT64 else value
    value = np.inf if x > HIGHEST_FLOAT64 else value
    return value if x == x else x


def _exp(x: Any) -> Any:
    with np.errstate(over="ignore"):
        value = np.exp(x)
    return value if value >= np.finfo(x.dtype).tiny or np.isnan(value) else x.dtype.type(0)


@overload(_exp)
def _exp_overload(x):
    if x == types.float32:
        return lambda x: _exp_float32(x)
    if x == types.float64:
        return lambda x: _exp_float64(x)
    return None


@jit(fastmath={"contract"})
def exp(x):
    """Return e^x, for use inside loops that are to be vectorised.

    Parameters
    ----------
    x : float32 or float64 scalar

    Returns
    -------
    scalar of the same type
        Results below the smallest normal number are 0, so that a −∞ mask gives an exact 0; NaN stays NaN.

    Notes
    -----
    Cody–Waite reduction x = n ln 2 + r, a minimax polynomial for e^r, and n added to the exponent bits [1]_.
    At most 0.81 ulp off over the whole range (float32: every value checked). No table, no branch.

    References
    ----------
    .. [1] W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", Prentice-Hall, 1980.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftmax.kernels.vector import exp
    >>> float(exp(np.float64(1.0)))
    2.718281828459045
    """
    return _exp(x)


@jit(fastmath={"nsz"})
def row_maximum(row):
    """Return the largest element of a row; NaN if there is one.

    Parameters
    ----------
    row : ndarray (K,), float32 or float64, K ≥ 1

    Returns
    -------
    scalar of the row's dtype
    """
    largest = row[0]
    for k in range(1, row.shape[0]):
        largest = maximum(largest, row[k])
    return largest


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def maximum(a, b):  # noqa: D103
        return a if a > b or math.isnan(a) else b
